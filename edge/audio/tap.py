"""Between a source and the ring: gaps measured by the clock, reports to the clock, patience with a slow reader."""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.audio.resampled import Resampled
from edge.audio.ring import Ring
from edge.audio.source import Source

OBSERVE_S = 0.5
"""How often the clock hears of the index."""
LOOK_S = 0.5
"""How often a recording that waits for its reader looks whether it should stop."""


class Tap:
    """The sink of one run of a source. It is fenced when the run is over: a callback of a stream that failed to
    close must not write beside its successor."""

    def __init__(
        self, source: Source, ring: Ring, clock: Clock, stop: threading.Event, on_sound: Callable[[], None]
    ) -> None:
        """``on_sound`` is called after each write, when all of it is in the ring."""
        self.live = source.live
        self.heard = False
        """Whether anything came yet."""
        self.fenced = False
        self.waiting = False
        """A recording waits for its reader: that no frame comes is no fault."""
        self.missing_frames = 0
        """Set by the watching thread: sound lost unnoticed, to be accounted for before the next frames."""
        self.slip_seen_at = clock.newest_point
        self.resampled: Resampled | None = None
        # Most writes only copy; the clock is told twice a second.
        self._look_every = round(OBSERVE_S * ring.sample_rate_hz)
        self._look_at = 0
        self._source = source
        self._ring = ring
        self._clock = clock
        self._stop = stop
        self._on_sound = on_sound

    def write(self, frames: NDArray[np.float32]) -> None:
        """Mono float32 ``[n]`` at the ring's rate."""
        ring = self._ring
        if ring.end < self._look_at and not self.missing_frames and not self.fenced and (self.live or ring.has_room):
            ring.write(frames)
            self._on_sound()
            return
        if self.fenced:
            return
        latency_s = self._source.latency_s
        if self.resampled is not None:
            latency_s += self.resampled.held_back_s
        boot_s = self._clock.time_source.boot_s() - latency_s
        if not self.heard:
            self.heard = True
            if self.live and ring.end:
                # Since the last frame before the loss, this much time has passed without sound.
                since_s = boot_s - self._clock.boot_s_of(ring.end)
                ring.gap(round(since_s * ring.sample_rate_hz) - len(frames), "reopened")
        if self.missing_frames:
            ring.gap(self.missing_frames, "slipped")
            self.missing_frames = 0
        if not self.live:
            self._wait_for_room()
        end = ring.end + len(frames)
        self._clock.observe(end, boot_s)
        self._look_at = end + self._look_every
        # Last, since it wakes the reader: what came after would keep the interpreter from it.
        ring.write(frames)
        self._on_sound()

    def gap(self, frames: int, reason: str) -> None:
        if not self.fenced:
            self._ring.gap(frames, reason)

    def _wait_for_room(self) -> None:
        """A recording can wait where a microphone overwrites."""
        while not self._ring.wait_for_room(0.0) and not self._stop.is_set():
            self.waiting = True
            self._ring.wait_for_room(LOOK_S)
        self.waiting = False
