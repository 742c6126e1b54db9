"""What every source of sound has in common, and how the configured one is opened.

A source runs in its own thread and pushes mono float32 frames, full scale ±1, into a sink (the ring, behind
`Capture`). It knows nothing of detection. When the sound is lost it raises; whoever runs it tries again.

    source = open_source(settings)
    source.run(sink, stop)      # blocks until the recording ends, or `stop` is set, or the sound is lost
"""

import math
import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.settings import AudioSettings

BLOCK_S = 0.24
"""Live sound comes in blocks of this length at most. Each wakes the processor, mostly to cold caches."""
BETWEEN_RECORDINGS = "next_recording"
"""The one reason for a gap that is no loss: two files of a folder are not continuous sound."""


class Sink(Protocol):
    """Takes the sound. Called from the capture thread or PortAudio's callback, so it only copies."""

    def write(self, frames: NDArray[np.float32]) -> None:
        """Mono float32 ``[n]``, full scale ±1. The array may be reused by the caller after the return."""

    def gap(self, frames: int, reason: str) -> None:
        """``frames`` frames were lost: the index advances without sound."""


class SourceLost(Exception):  # noqa: N818 - a lost microphone is an expected state, not an error
    """The sound is gone for now; try again later.

    ``reason`` is a short code for health (``not_found``, ``unplugged``, ``server_lost``, ``stalled``, …).
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class SourceError(Exception):
    """The configuration or the recording cannot work. The message is for a person; ``reason`` is a short code."""

    def __init__(self, message: str, reason: str = "configuration") -> None:
        super().__init__(message)
        self.reason = reason


class Source(Protocol):
    sample_rate_hz: int
    """Rate of the frames it writes."""
    live: bool
    """False for recordings: their end is an end, and they wait for the reader instead of losing sound."""
    description: str
    """For the log: what is listened to."""
    latency_s: float
    """How long before the call of ``write`` its last frame was at the microphone, as well as the source knows."""

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Push sound until the recording ends or ``stop`` is set.

        Raises:
            SourceLost: try again later.
            SourceError: trying again changes nothing until a person does.
        """


def block_s_for(hop_s: float) -> float:
    """The length of a live source's blocks for windows every ``hop_s``: as many whole ones in a hop as need be.

    A block a hop costs an alert nothing, since the detector places its windows to end where blocks do.
    """
    return hop_s / math.ceil(hop_s / BLOCK_S - 1e-9)


def open_source(settings: AudioSettings, block_s: float = BLOCK_S) -> Source:
    """The configured source. A microphone need not be there yet: it is looked for in ``run``.

    ``block_s``: the length of its blocks; a recording that is played fast has longer ones.

    Raises:
        SourceError: a recording that cannot be read, a missing program.
    """
    if settings.source == "microphone":
        from edge.audio.microphone import Microphone

        return Microphone(settings, block_s)
    if settings.source in ("stdin", "url"):
        from edge.audio.streams import FfmpegStream, StdinStream

        return StdinStream(settings, block_s=block_s) if settings.source == "stdin" else FfmpegStream(settings, block_s)
    if "://" in settings.location:
        raise SourceError(f"audio.source is {settings.source!r}, but audio.location is an address: set source: url")
    from edge.audio.recordings import FileSource, FolderSource

    return FileSource(settings, block_s) if settings.source == "file" else FolderSource(settings, block_s)
