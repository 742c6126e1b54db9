"""How much has been sent today, kept across restarts: a thin link is paid by the byte."""

import json
import logging
from pathlib import Path

from edge import durable
from edge.audio.clock import Clock

log = logging.getLogger(__name__)


class DailyBytes:
    """Bytes sent on the present UTC day. Used by one thread; ``spent`` may be read by any."""

    def __init__(self, path: Path, clock: Clock, limit: int | None) -> None:
        """``limit``: bytes a day; None counts without limiting. A file that cannot be read counts from 0."""
        self._path = path
        self._clock = clock
        self._limit = limit
        self._day, self._spent = self._read()

    @property
    def spent(self) -> int:
        """Bytes sent today."""
        return self._spent if self._day == self._today() else 0

    def allows(self, size_bytes: int) -> bool:
        """Whether so many bytes more may be sent today."""
        return self._limit is None or self.spent + size_bytes <= self._limit

    def ever_allows(self, size_bytes: int) -> bool:
        """Whether so many bytes fit into a whole day."""
        return self._limit is None or size_bytes <= self._limit

    def charge(self, size_bytes: int) -> None:
        """Note bytes that were sent, on disk."""
        if size_bytes <= 0:
            return
        self._spent = self.spent + size_bytes
        self._day = self._today()
        try:
            durable.make_folder(self._path.parent)
            durable.commit_bytes(self._path, json.dumps({"day": self._day, "bytes": self._spent}).encode())
        except OSError as error:
            log.warning("the bytes sent today cannot be noted in %s: %s", self._path, error)

    def _today(self) -> str:
        return f"{self._clock.now().utc:%Y-%m-%d}"

    def _read(self) -> tuple[str, int]:
        try:
            noted = json.loads(self._path.read_bytes())
            return str(noted["day"]), max(0, int(noted["bytes"]))
        except FileNotFoundError:
            return "", 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read, today counts from 0: %s", self._path, error)
            return "", 0
