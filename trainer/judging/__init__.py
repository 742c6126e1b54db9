"""How good a model is: events on continuous sound, by the device's own detector."""
