"""What ``ecosight-convert`` is made of: a file for each kind of conversion."""
