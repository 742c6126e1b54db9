"""A new model: tried, listened to beside the current one, put in its place, watched, and taken back."""
