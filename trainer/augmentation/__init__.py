"""What the field does to a sound, and variants of it to listen to."""
