"""Labels that mean something to the code; all others are only kinds of sound."""

SHOT = "gun_shot"
BACKGROUND = "background"
"""Ambience: what other sounds are heard over. Nothing else is in it."""
SPEECH = "speech"
