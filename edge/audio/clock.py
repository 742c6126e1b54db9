"""Samples are the clock; UTC is a mapping beside it.

Two mappings, kept apart so that nothing moves when the wall clock does:

- frame index → seconds since boot. Every write reports "this index is there by now". Reports come late by
  scheduling and buffers, never early, so the earliest of each ten seconds is kept and the points are joined
  by straight lines. The sound card's drift falls out as the slope.
- seconds since boot → UTC: one offset. When the wall clock is stepped, or set from outside for the first
  time in this boot, the offset is taken anew under the next ``epoch``. A Pi has no clock that survives
  power loss: before the first synchronisation UTC may be years off, and `correct` puts right afterwards
  what was said in this boot.
"""

import threading
from bisect import bisect_right
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.audio.system_time import SystemTime
from edge.delivery.messages import Moment

STEP_S = 0.5
"""A larger change between wall clock and boot time is a step. NTP slews smaller ones (128 ms in ntpd,
0.4 s in timesyncd), and these are followed without a new epoch."""
BUCKET_S = 10.0
"""Of the reports within this long, the earliest is kept."""
BUCKETS_KEPT = 360
"""An hour of points: more than any ring, and enough to know the drift to under 1 ppm."""
DRIFT_SPAN_S = 60.0
"""With less than this the drift is not known."""
DRIFT_LIMIT_PPM = 1000.0
"""No crystal is this far off (100 ppm is a bad one); what is, is a step or a recording played fast."""
EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


class TimeSource(Protocol):
    def utc_s(self) -> float:
        """Wall clock, seconds since 1970."""

    def boot_s(self) -> float:
        """CLOCK_BOOTTIME, seconds."""

    def synchronised(self) -> bool:
        """Whether the wall clock was set from outside."""

    def boot_id(self) -> str:
        """Kernel boot id."""


class Clock:
    """Index → boot time → UTC. Thread-safe: one writer (`observe`), any number of readers, one `poll` at a time."""

    def __init__(self, sample_rate_hz: int, time_source: TimeSource | None = None) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.time_source: TimeSource = time_source if time_source is not None else SystemTime()
        self.boot_id = self.time_source.boot_id()
        self.synchronised = self.time_source.synchronised()
        """Whether the wall clock had been set from outside at the last `poll`."""
        self._was_synchronised = self.synchronised
        self.epoch = int(self.synchronised)
        """Raised by one at each step of the wall clock and at the first synchronisation."""
        self._utc_minus_boot_s = self._offset_now_s()
        self._polling = threading.Lock()
        # Closed buckets as (index, boot_s - index / rate), and the open one's best and the time it closes.
        self._points: deque[tuple[int, float]] = deque(maxlen=BUCKETS_KEPT)
        self._best: tuple[int, float] | None = None
        self._bucket_ends_s = 0.0

    def observe(self, index: int, boot_s: float) -> None:
        """The frames before ``index`` were there at ``boot_s``. Called with every write: it only compares."""
        late_s = boot_s - index / self.sample_rate_hz
        best = self._best
        if best is not None and index <= best[0]:
            return
        if best is None or boot_s >= self._bucket_ends_s:
            if best is not None:
                self._points.append(best)
            self._bucket_ends_s = boot_s + BUCKET_S
            self._best = (index, late_s)
        elif late_s < best[1]:
            self._best = (index, late_s)

    def boot_s_of(self, index: int) -> float:
        """Seconds since boot at which frame ``index`` was at the microphone; the present before any report."""
        points = self._known()
        if not points:
            return self.time_source.boot_s()
        at = bisect_right(points, index, key=lambda point: point[0])
        if at == 0:
            late_s = points[0][1]
        elif at == len(points):
            late_s = points[-1][1]
        else:
            (before, late_before_s), (after, late_after_s) = points[at - 1], points[at]
            late_s = late_before_s + (late_after_s - late_before_s) * (index - before) / (after - before)
        return index / self.sample_rate_hz + late_s

    def moment(self, index: int) -> Moment:
        """When frame ``index`` sounded, under the present epoch."""
        return self._moment_at(self.boot_s_of(index), index)

    def now(self) -> Moment:
        """The present. No sound is meant: ``sample`` is 0."""
        return self._moment_at(self.time_source.boot_s(), 0)

    def poll(self) -> bool:
        """Look at the wall clock; True when it was stepped or synchronised for the first time (a new epoch)."""
        with self._polling:
            self.synchronised = self.time_source.synchronised()
            first = self.synchronised and not self._was_synchronised
            offset_s = self._offset_now_s()
            stepped = abs(offset_s - self._utc_minus_boot_s) > STEP_S
            # Slewing is followed: the wall clock is getting better, and UTC stays within the epoch's step limit.
            self._utc_minus_boot_s = offset_s
            if first:
                self._was_synchronised = True
            if first or stepped:
                self.epoch += 1
            return first or stepped

    def correct(self, moment: Moment) -> Moment:
        """The same instant under the present epoch. A moment of another boot cannot be corrected and is returned."""
        if moment.boot_id != self.boot_id:
            return moment
        return self._moment_at(moment.boot_s, moment.sample)

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than nominal the sound card's clock runs; None until a minute is known.

        An incomplete Theil-Sen regression (Theil 1950, Sen 1968): the median of the slopes of pairs that lie a sixth
        of the known span apart (two minutes at least, if known). A step at a badly measured gap stands between few
        of these pairs, so it does not bend the result.
        """
        points = self._known()
        if len(points) < 4 or (points[-1][0] - points[0][0]) / self.sample_rate_hz < DRIFT_SPAN_S:
            return None
        table = np.array(points, np.float64)
        apart = max(len(table) // 6, min(len(table) // 2, 12))
        seconds = (table[apart:, 0] - table[:-apart, 0]) / self.sample_rate_hz
        later_s = table[apart:, 1] - table[:-apart, 1]
        drift_ppm = -1e6 * _median(later_s / seconds)
        return drift_ppm if abs(drift_ppm) <= DRIFT_LIMIT_PPM else None

    def slip_s(self) -> float:
        """By how much the newest ten closed seconds came later than the ten before: sound that was lost unnoticed.

        Drift stays under a few milliseconds here; what buffers and scheduling delay is caught up within the bucket.
        """
        while True:
            try:
                points = list(self._points)[-2:]
                break
            except RuntimeError:  # appended meanwhile
                continue
        return points[1][1] - points[0][1] if len(points) == 2 else 0.0

    @property
    def newest_point(self) -> int:
        """Index of the newest closed point, by which a slip is known; -1 before the first."""
        return self._points[-1][0] if self._points else -1

    def _known(self) -> list[tuple[int, float]]:
        """All points, the open bucket's best included, by rising index."""
        while True:
            try:
                best, points = self._best, list(self._points)
                break
            except RuntimeError:  # appended meanwhile
                continue
        if best is not None and (not points or best[0] > points[-1][0]):
            points.append(best)
        return points

    def _offset_now_s(self) -> float:
        # The boot time is read before and after: the wall clock belongs to the middle.
        before_s = self.time_source.boot_s()
        utc_s = self.time_source.utc_s()
        return utc_s - (before_s + self.time_source.boot_s()) / 2

    def _moment_at(self, boot_s: float, index: int) -> Moment:
        utc = EPOCH_START + timedelta(seconds=boot_s + self._utc_minus_boot_s)
        return Moment(
            utc=utc,
            clock_synchronised=self.synchronised,
            clock_epoch=self.epoch,
            boot_id=self.boot_id,
            boot_s=max(0.0, boot_s),
            sample=index,
        )


def _median(values: NDArray[np.float64]) -> float:
    """As ``np.median``, which imports all of ``numpy.ma`` at its first call: 2 MiB for one number."""
    ordered = np.sort(values)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2)
