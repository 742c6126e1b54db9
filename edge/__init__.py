"""The detector daemon: sound in, gunshot alerts out. The ground floor, which imports nothing else of ours."""

__version__ = "0.1.0"
