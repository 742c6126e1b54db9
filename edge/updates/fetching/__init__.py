"""What the repository wants of this device, and its files: a short-lived process that is asked and answers."""
