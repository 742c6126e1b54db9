"""Whether the daemon has grown since another model came."""

import os
import time
from pathlib import Path

LOOKS = 6
EVERY_S = 10.0
"""A clip that is being written is no growth: what counts is the least of the last looks."""


class Growth:
    """Memory of this process beyond what it was when this was made."""

    def __init__(self) -> None:
        self._first = _resident_bytes()
        self._last: list[int] = []
        self._looked_s = 0.0

    def look(self) -> None:
        """Now and then; more often than every ten seconds does nothing."""
        if time.monotonic() - self._looked_s >= EVERY_S:
            self._looked_s = time.monotonic()
            self._last = [*self._last, _resident_bytes()][-LOOKS:]

    @property
    def bytes(self) -> int:
        """0 until it was looked at for a minute."""
        return max(0, min(self._last) - self._first) if len(self._last) == LOOKS else 0


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
