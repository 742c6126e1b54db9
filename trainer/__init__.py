"""From recordings to a model that a device can run."""
