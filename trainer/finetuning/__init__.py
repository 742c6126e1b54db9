"""A network that is there, trained further on one's own recordings, end to end: for whoever has many and a night."""
