"""A sink that brings sound to another rate on its way: for a device or a file that does not have the configured one."""

import numpy as np
from numpy.typing import NDArray

from edge.audio.source import Sink


class Resampled:
    """Streams float32 from ``source_rate_hz`` to ``sink_rate_hz`` by soxr's high quality.

    soxr's output is aligned with its input (output ``k`` is the instant ``k / rate``); it only comes later, by
    `held_back_s`. A gap flushes what is held back, so that sound before and after it does not run together.
    """

    def __init__(self, sink: Sink, source_rate_hz: int, sink_rate_hz: int) -> None:
        import soxr

        self._soxr = soxr
        self._sink = sink
        self._source_rate_hz = source_rate_hz
        self._sink_rate_hz = sink_rate_hz
        self._stream = soxr.ResampleStream(source_rate_hz, sink_rate_hz, 1, dtype="float32")
        self._frames_in = 0
        self._frames_out = 0

    @property
    def held_back_s(self) -> float:
        """Sound that went in and has not come out."""
        return max(0.0, self._frames_in / self._source_rate_hz - self._frames_out / self._sink_rate_hz)

    def write(self, frames: NDArray[np.float32]) -> None:
        """Mono float32 ``[n]`` at the source's rate."""
        self._frames_in += len(frames)
        self._pass_on(self._stream.resample_chunk(frames))

    def gap(self, frames: int, reason: str) -> None:
        """``frames`` lost frames at the source's rate."""
        self.flush()
        self._sink.gap(round(frames * self._sink_rate_hz / self._source_rate_hz), reason)

    def flush(self) -> None:
        """The sound ends here: push out what is held back."""
        self._pass_on(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        self._stream = self._soxr.ResampleStream(self._source_rate_hz, self._sink_rate_hz, 1, dtype="float32")
        self._frames_in = self._frames_out = 0

    def _pass_on(self, frames: NDArray[np.float32]) -> None:
        self._frames_out += len(frames)
        if len(frames):
            self._sink.write(frames)
