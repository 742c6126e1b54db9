"""Recordings: what they are, whose, under which licence, and on which side of the split."""
