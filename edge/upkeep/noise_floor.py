"""Whether a microphone slowly goes deaf: its noise floor against that of its first days.

The floor of an hour is the level under which a tenth of its seconds lie. Of each day the loudest hour counts, so
that quiet nights are no fault; of the first three days the median, so that one of rain does not matter. Deafening
means that *no* hour of the last day came near that reference. State is one small file, written once an hour, so
that restarts forget nothing.
"""

import json
import logging
import statistics
from pathlib import Path

LOG = logging.getLogger(__name__)

QUIETEST_DBFS = -120
HOUR_S = 3600.0
REFERENCE_HOURS = 72
RECENT_HOURS = 24
FLOOR_SHARE = 0.1
FIRST_FLOOR_LEVELS = 60
"""Seconds of levels from which a floor is stated at all."""


class NoiseFloor:
    """Feed it a level every few seconds of sound.

    Args:
        deafening_db: how far below the reference every hour of a day must stay.
        file: where the hours are remembered; None: nowhere.
        microphone: its configured identity. Another one starts anew.
        hour_s: length of an hour, for tests.
    """

    def __init__(
        self, deafening_db: float, file: Path | None = None, microphone: str = "", hour_s: float = HOUR_S
    ) -> None:
        self._deafening_db = deafening_db
        self._file = file
        self._microphone = microphone
        self._hour_s = hour_s
        self._counts = [0] * (1 - QUIETEST_DBFS)
        self._hour_began_s: float | None = None
        self._first_days: list[float] = []
        self._recent: list[float] = []
        self._load()

    @property
    def now_dbfs(self) -> float | None:
        """Floor of the present hour, or of the one before it until 60 levels of this one are known."""
        if sum(self._counts) >= FIRST_FLOOR_LEVELS:
            return self._floor()
        return self._recent[-1] if self._recent else None

    @property
    def reference_dbfs(self) -> float | None:
        """Median of the first days' loudest hourly floors; None before the first day is complete."""
        starts = range(0, len(self._first_days) - RECENT_HOURS + 1, RECENT_HOURS)
        days = [max(self._first_days[start : start + RECENT_HOURS]) for start in starts]
        return statistics.median(days) if days else None

    @property
    def deafening(self) -> bool:
        """Whether the whole last day stayed `deafening_db` under the reference."""
        reference = self.reference_dbfs
        if reference is None or len(self._recent) < RECENT_HOURS:
            return False
        return max(self._recent) < reference - self._deafening_db

    def add(self, now_s: float, level_dbfs: float) -> None:
        """RMS level of about one second of sound, at ``now_s`` (monotonic)."""
        if self._hour_began_s is None:
            self._hour_began_s = now_s
        elif now_s - self._hour_began_s >= self._hour_s:
            if sum(self._counts) >= FIRST_FLOOR_LEVELS:
                self._close_hour(self._floor())
            self._counts = [0] * len(self._counts)
            self._hour_began_s = now_s
        self._counts[max(QUIETEST_DBFS, min(0, round(level_dbfs))) - QUIETEST_DBFS] += 1

    def _floor(self) -> float:
        below = FLOOR_SHARE * sum(self._counts)
        for step, count in enumerate(self._counts):
            below -= count
            if below < 0:
                return float(QUIETEST_DBFS + step)
        return 0.0

    def _close_hour(self, floor_dbfs: float) -> None:
        if len(self._first_days) < REFERENCE_HOURS:
            self._first_days.append(floor_dbfs)
        self._recent = [*self._recent, floor_dbfs][-RECENT_HOURS:]
        if self._file is None:
            return
        state = {"microphone": self._microphone, "first_days_dbfs": self._first_days, "recent_dbfs": self._recent}
        new = self._file.with_name(f".{self._file.name}.new")
        try:
            new.write_text(json.dumps(state), encoding="utf-8")
            new.replace(self._file)
        except OSError as error:  # a full disk must not deafen the device
            LOG.warning("the noise floor cannot be remembered in %s: %s", self._file, error)

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            first, recent = ([float(x) for x in state[key]] for key in ("first_days_dbfs", "recent_dbfs"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            LOG.warning("%s is damaged (%r); the noise floor is learnt anew", self._file, error)
            return
        if state.get("microphone") == self._microphone:
            self._first_days, self._recent = first[:REFERENCE_HOURS], recent[-RECENT_HOURS:]
