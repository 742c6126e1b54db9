"""Sound from physics and a seed: shots, forests, and things that are no shots."""
