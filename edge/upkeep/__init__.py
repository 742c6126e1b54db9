"""What keeps a box on a tree alive: health, liveness, the watchdog, commands and checks."""
