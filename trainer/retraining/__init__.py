"""From recordings to a model in use: every step, in one command that goes on where it was cut off."""
