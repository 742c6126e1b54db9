"""Which clips are to be uploaded now: they may leave, are asked for where they must be, and fit the day's budget."""

import logging
import time

from edge.delivery.budget import DailyBytes
from edge.delivery.outbox import ClipRow, Outbox
from edge.settings import StorageSettings

log = logging.getLogger(__name__)

BATCH = 16
"""Clips looked at together."""


class UploadQueue:
    """Takes its order from the outbox. Used by the storage's thread; ``request`` by any."""

    def __init__(self, settings: StorageSettings, outbox: Outbox, sent: DailyBytes) -> None:
        """``sent`` counts against the budget, which is asked before each clip."""
        self._settings = settings
        self._outbox = outbox
        self._sent = sent
        self._later: dict[str, float] = {}
        """Clips with a fault of their own, and when (monotonic) to try again."""
        self._over_budget: frozenset[str] = frozenset()
        """Clips that no day's budget is enough for."""

    @property
    def problems(self) -> list[str]:
        """``storage:over_budget`` while a clip waits that is larger than the budget of a day."""
        return ["storage:over_budget"] if self._over_budget else []

    def due(self) -> list[ClipRow]:
        """Up to `BATCH` clips, oldest first."""
        asked = True if self._settings.metered.clips_on_request else None
        now_s = time.monotonic()
        for alert_id in [one for one, at_s in list(self._later.items()) if at_s <= now_s]:
            self._later.pop(alert_id, None)
        # With a budget, a small clip may fit that stands behind many large ones.
        metered = self._settings.metered.bytes_per_day is not None
        limit = -1 if metered else BATCH + len(self._later)
        rows = self._outbox.clips(["kept"], may_leave=True, requested=asked, limit=limit)
        self._note_over_budget(rows)
        due = [r for r in rows if self._later.get(r.clip.alert_id, 0.0) <= now_s]
        return [r for r in due if self._sent.allows(r.clip.size_bytes)][:BATCH]

    def put_off(self, alert_id: str) -> None:
        """The storage does not take this clip; it is tried again after the longest pause."""
        self._later[alert_id] = time.monotonic() + self._settings.retry_max_s

    def request(self, alert_id: str) -> str:
        """Somebody asks for this clip: it is due at once. Returns why it will not be uploaded; empty: it will."""
        kind = self._settings.kind
        if kind != "s3":
            return f"this device uploads no clips (storage.kind is {kind})"
        row = self._outbox.clip(alert_id)
        if row is None:
            return f"no clip of alert {alert_id} is on this device"
        if not self._sent.ever_allows(row.clip.size_bytes):
            return f"its {row.clip.size_bytes} bytes are more than storage.metered.bytes_per_day"
        if not self._outbox.request_upload(alert_id):
            # Asked only now: it may have been evicted meanwhile.
            row = self._outbox.clip(alert_id) or row
            because = f": {row.clip.reason}" if row.clip.reason else ""
            return f"the clip of alert {alert_id} is {row.clip.state}{because}"
        self._later.pop(alert_id, None)
        return ""

    def _note_over_budget(self, rows: list[ClipRow]) -> None:
        # A budget of 0 means that none is wanted, not that something is amiss.
        if self._settings.metered.bytes_per_day == 0:
            return
        too_large = frozenset(r.clip.alert_id for r in rows if not self._sent.ever_allows(r.clip.size_bytes))
        for alert_id in sorted(too_large - self._over_budget):
            log.warning("clip %s is larger than storage.metered.bytes_per_day: it stays here", alert_id)
        self._over_budget = too_large
