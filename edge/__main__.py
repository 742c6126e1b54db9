"""``python -m edge``: the same as ``ecosight-edge``."""

from edge.cli import app

app()
