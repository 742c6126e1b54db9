"""Whether a run is worth it: new recordings, a model that does worse than it did, or time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainer.judging.gate import Limits
from trainer.judging.metrics import Metrics
from trainer.models.log import Entry
from trainer.models.store import Store
from trainer.retraining.holding import in_use
from trainer.retraining.request import Trigger

RECORDINGS = "recordings.json"
"""Beside a model: the recordings that there were when it was made."""
WATCHED_PER_HOUR = 3.0
DAY_S = 86_400.0


@dataclass(frozen=True)
class Verdict:
    """Why a run is worth it, or all that was looked at and is not enough."""

    reason: str
    """Empty: nothing is to be done."""
    looked_at: tuple[str, ...]


def verdict(
    trigger: Trigger,
    store: Store,
    entries: Sequence[Entry],
    recordings: Sequence[str],
    judge_again: Callable[[Metrics, bytes], Metrics | None],
    now: datetime,
) -> Verdict:
    """``judge_again``: judges the model in use on the test part as it is now; None where that cannot be, or where
    nothing has come since it was judged. It is asked last: it takes longest.

    Raises StoreError, LogError, OSError.
    """
    runs = [entry for entry in entries if entry.action in ("retrained", "refused")]
    if not runs:
        return Verdict("the first run", ())
    last = runs[-1]
    new = _new(store, last, recordings)
    told = [f"{new} new recordings since {last.at:%Y-%m-%d %H:%M} ({trigger.min_new} make a run)"]
    if new >= trigger.min_new:
        return Verdict(f"{new} new recordings ({trigger.min_new} make a run)", tuple(told))
    if trigger.every_days is not None:
        days = (now - last.at).total_seconds() / DAY_S
        told.append(f"{days:.1f} days since the last run (every {trigger.every_days:g})")
        if days >= trigger.every_days:
            return Verdict(f"{days:.1f} days since the last run (every {trigger.every_days:g})", tuple(told))
    return _quality(store, told, judge_again)


def recordings_file(recordings: Sequence[str]) -> bytes:
    """For `RECORDINGS`."""
    return json.dumps({"schema_version": 1, "recordings": list(recordings)}, indent=1, ensure_ascii=False).encode()


def _new(store: Store, last: Entry, recordings: Sequence[str]) -> int:
    try:
        known = json.loads((store.root / last.version / RECORDINGS).read_bytes())["recordings"]
    except (OSError, ValueError, KeyError, TypeError):
        # The folder is gone; the log still knows how many there were.
        return max(0, len(recordings) - int(last.details.get("recordings", 0)))
    return len(set(recordings) - set(known))


def _quality(store: Store, told: list[str], judge_again: Callable[[Metrics, bytes], Metrics | None]) -> Verdict:
    before = in_use(store)
    if before is None:
        told.append("no model is in use, so none is watched")
        return Verdict("", tuple(told))
    now = judge_again(before.metrics, before.data)
    was = before.metrics.recall_at(WATCHED_PER_HOUR).recalls.all.value
    if now is None:
        told.append(f"recall of {before.version} was {was:.3f}; nothing has come that it could be judged on anew")
        return Verdict("", tuple(told))
    found = now.recall_at(WATCHED_PER_HOUR).recalls.all.value
    lost = was - found
    line = (
        f"recall of {before.version} at {WATCHED_PER_HOUR:g} false alarms per hour was {was:.3f} and is {found:.3f} "
        f"on the test part as it is now"
    )
    told.append(line)
    return Verdict(f"quality fell: {line}" if lost > Limits().recall_loss else "", tuple(told))
