"""The last seconds of sound in memory, addressed by frame index.

One writer (the capture thread) and any number of readers. The writer never waits: it overwrites the oldest.
A reader copies and then checks that its range was not overwritten meanwhile. Nothing here allocates on the
writer's side, and a reader is woken exactly once, when the frame that it waits for is there.

Index 0 is the first frame ever written; a gap advances the index, and its frames read as zeros.
"""

import threading
import time
from collections import deque
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from edge.audio.source import BETWEEN_RECORDINGS

SLACK_S = 1.0
"""Room beyond the promised seconds, so that the oldest of them survive while they are copied."""
LEAD_S = 2.0
"""How far a recording played fast runs ahead of its reader: the rest of the ring is for clips, which look back."""
GAPS_KEPT = 1024
"""Gaps remembered. More than this within one ring is sound that nobody can use."""


class Overwritten(LookupError):  # noqa: N818 - reads as what happened
    """The range has left the ring."""


class _Waiter:
    """One sleep until a frame is there. A bare lock, released by the writer: an Event is three times the work, on
    both sides and mostly from cold caches."""

    __slots__ = ("_reached", "stop")

    def __init__(self, stop: int) -> None:
        self.stop = stop
        self._reached = threading.Lock()
        self._reached.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # the writer and `close` at once
            if self._reached.locked():
                self._reached.release()

    def sleep(self, timeout_s: float) -> None:
        self._reached.acquire(timeout=timeout_s)


class Ring:
    """A sink that remembers ``capacity_s`` seconds of mono float32 sound."""

    def __init__(self, sample_rate_hz: int, capacity_s: float) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.capacity = round((capacity_s + SLACK_S) * sample_rate_hz)
        """Frames that fit."""
        self.end = 0
        """Index after the newest frame."""
        self.lost_frames = 0
        """Frames that a source lost (gaps)."""
        self.gap_count = 0
        self.overruns = 0
        """Reads that came too late (`Overwritten`)."""
        self.newest_at_s = time.monotonic()
        """``time.monotonic()`` of the last write; of the creation before the first."""
        self.closed = False
        self._frames = np.empty(self.capacity, np.float32)
        self._frames.fill(0)  # unlike np.zeros, which leaves it to each first write to ask the system for memory
        # Everything before `_claimed - capacity` may be overwritten at this moment. Raised before the copy,
        # as `end` is raised after it: between the two the oldest frames are in doubt.
        self._claimed = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=GAPS_KEPT)
        self._waiters: tuple[_Waiter, ...] = ()
        self._waiters_lock = threading.Lock()
        self._reader_position: int | None = None
        self._lead = min(self.capacity // 2, round(LEAD_S * sample_rate_hz))
        self._room: threading.Event | None = None

    @property
    def oldest(self) -> int:
        """Index of the oldest frame that can still be read."""
        return max(0, self._claimed - self.capacity)

    def write(self, frames: NDArray[np.float32]) -> None:
        """Append mono float32 ``[n]``, overwriting the oldest."""
        count, at = len(frames), self.end % self.capacity
        if at + count > self.capacity:
            self._append(frames, count)
            return
        # The usual case, on its own because it runs in the audio callback a dozen times a second.
        self._claimed = end = self.end + count
        self._frames[at : at + count] = frames
        self.end = end
        self.newest_at_s = time.monotonic()
        if self._waiters:
            self._wake(end)

    def gap(self, frames: int, reason: str) -> None:
        """Advance by ``frames`` lost frames. At most one ring of zeros is written, however long the gap."""
        if frames <= 0:
            return
        self.gap_count += 1
        if reason != BETWEEN_RECORDINGS:
            self.lost_frames += frames
        self._gaps.append((self.end, self.end + frames))
        self._append(None, frames)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """A copy of the frames ``[start, stop)`` as float32.

        Raises:
            Overwritten: ``start`` has left the ring, before or during the copy.
            ValueError: the range lies beyond ``end``, before 0, or backwards.
        """
        copy = self.look(start, stop).copy()
        self.held(start)
        return copy

    def look(self, start: int, stop: int) -> NDArray[np.float32]:
        """The frames ``[start, stop)``, not copied where they lie in one piece: to be used at once and not written to,
        and worth something only if ``held`` raises nothing afterwards. Raises as ``read`` does."""
        if not 0 <= start <= stop <= self.end:
            raise ValueError(f"frames {start} to {stop} are not all written yet (end is {self.end})")
        self.held(start)
        at = start % self.capacity
        if at + stop - start <= self.capacity:
            return self._frames[at : at + stop - start]
        return np.concatenate((self._frames[at:], self._frames[: at + stop - start - self.capacity]))

    def held(self, start: int) -> None:
        """Raises Overwritten where frame ``start`` has left the ring."""
        if start < self._claimed - self.capacity:
            self.overruns += 1
            raise Overwritten(f"frame {start} has left the ring (oldest is {self.oldest})")

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The lost ranges ``(start, stop)``, whole, that touch ``[start, stop)``; they read as zeros."""
        if not self._gaps:
            return []
        while True:
            try:
                return [(a, b) for a, b in self._gaps if a < stop and b > start]
            except RuntimeError:  # the writer appended while we looked
                continue

    def wait(self, stop: int, timeout_s: float) -> bool:
        """Sleep until ``end >= stop``; False after ``timeout_s`` or when the ring is closed before."""
        if self.end >= stop:
            return True
        if self.closed:
            return False
        waiter = _Waiter(stop)
        with self._waiters_lock:
            self._waiters = (*self._waiters, waiter)
        try:
            # Looked at again now that the writer knows of us: a write in between wakes nobody.
            if self.end < stop and not self.closed:
                waiter.sleep(timeout_s)
        finally:
            with self._waiters_lock:
                self._waiters = tuple(other for other in self._waiters if other is not waiter)
        return self.end >= stop

    @property
    def reader_position(self) -> int | None:
        """Index up to which the slowest reader has read; set by it. None: nobody waits for a reader."""
        return self._reader_position

    @reader_position.setter
    def reader_position(self, index: int) -> None:
        self._reader_position = index
        room = self._room
        if room is not None:
            room.set()

    @property
    def has_room(self) -> bool:
        """Whether the reader is less than `LEAD_S` behind."""
        position = self._reader_position
        return position is None or self.end - position < self._lead or self.closed

    def wait_for_room(self, timeout_s: float) -> bool:
        """For a writer that can wait (a recording): until the reader is less than `LEAD_S` behind."""
        if self.has_room:
            return True
        room = self._room = threading.Event()
        try:
            if not self.has_room:
                room.wait(timeout_s)
            return self.has_room
        finally:
            self._room = None

    def close(self) -> None:
        """The source has ended: nothing more will be written, and nobody waits any longer."""
        self.closed = True
        with self._waiters_lock:
            for waiter in self._waiters:
                waiter.wake()

    def _append(self, frames: NDArray[np.float32] | None, count: int) -> None:
        capacity = self.capacity
        end = self.end + count
        self._claimed = end
        kept = min(count, capacity)
        at = (end - kept) % capacity
        first = min(kept, capacity - at)
        if frames is None:
            self._frames[at : at + first] = 0
            self._frames[: kept - first] = 0
        else:
            self._frames[at : at + first] = frames[count - kept : count - kept + first]
            if kept > first:
                self._frames[: kept - first] = frames[count - kept + first :]
        self.end = end
        self.newest_at_s = time.monotonic()
        self._wake(end)

    def _wake(self, end: int) -> None:
        for waiter in self._waiters:
            if end >= waiter.stop:
                waiter.wake()
