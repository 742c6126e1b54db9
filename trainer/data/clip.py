"""One recorded clip, as everything in the trainer knows it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """A file of sound with one label."""

    path: Path
    source: str
    """The collection it comes from."""
    label: str
    recording: str
    """The split group: clips of one recording never stand on both sides of a split."""
    seconds: float
    licence: str
    """As its source quotes it; ``trainer.data.licences`` reads it."""
    sha256: str
    """Of the file (hex)."""
    site: str = ""
    """Where it was heard, if that is known."""
    sample_rate_hz: int = 0
    """Of the file; 0 where it is not known."""
    provenance: str = ""
    """How it came here, for people."""
