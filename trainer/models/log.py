"""``models/retraining_log.json``: what was done, by whom and why, and whether the gate was forced. For ever.

One JSON document with one entry a line. Each entry carries the SHA-256 of the one before it and its own, so that an
entry that was changed or taken out of the middle is noticed. To append, the whole document is written under a temporary
name, fsynced and renamed (`edge.durable.commit`): kill -9 or a full disk leaves the old one or the new one, whole. A
damaged log is never written to.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from edge.durable import commit_bytes, make_folder
from trainer.judging.metrics import Gate, Metrics, rate_name

NAME = "retraining_log.json"
FIRST = "0" * 64
Action = Literal["retrained", "refused", "promoted", "rolled back"]


class LogError(RuntimeError):
    """The log cannot be trusted. The text is for a person."""


class Entry(BaseModel):
    """One thing that was done."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)

    at: AwareDatetime
    action: Action
    """``retrained``: a model was made and passed the gate; ``refused``: it was made and did not."""
    version: str
    before: str | None = None
    """The version in use until then."""
    reason: str = ""
    """Why: what set the run off, or what a person gave as their reason."""
    who: str = ""
    forced: bool = False
    """The gate was closed and somebody went past it."""
    gate: Gate | None = None
    recall: dict[str, float] = {}
    """By false alarms per hour."""
    false_alarms_per_hour: float | None = None
    """At the shipped threshold."""
    dataset: str = ""
    """SHA-256 of the sounds that it was judged on."""
    details: dict[str, Any] = {}
    """Anything else worth keeping of a run: seed, numbers of recordings, seconds."""
    previous: str = ""
    """Digest of the entry before; filled in by `append`."""
    sha256: str = ""
    """Digest of this entry without this field; filled in by `append`."""


def entry_of(action: Action, metrics: Metrics, at: datetime, **more: Any) -> Entry:
    """An entry with the figures of a model. ``more``: other fields of `Entry`."""
    return Entry(
        at=at,
        action=action,
        version=metrics.model.version,
        **{
            "gate": metrics.gate,
            "recall": {rate_name(one.per_hour): round(one.recalls.all.value, 4) for one in metrics.at_rates},
            "false_alarms_per_hour": round(metrics.shipped.false_alarms.per_hour, 4),
            "dataset": metrics.dataset.sha256,
            **more,
        },
    )


def read(root: Path) -> list[Entry]:
    """All entries, oldest first; none where there is no log.

    Raises:
        LogError: it is no such log, or an entry was changed, taken out or put between others.
        OSError: it cannot be read.
    """
    path = root / NAME
    try:
        document = json.loads(path.read_bytes())
        entries = [Entry.model_validate(one) for one in document["entries"]]
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        raise LogError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; restore it from a copy") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LogError(f"{path} is no log of models: {error}; restore it from a copy") from error
    previous = FIRST
    for number, (entry, raw) in enumerate(zip(entries, document["entries"], strict=True), 1):
        if entry.previous != previous or entry.sha256 != _digest(raw):
            raise LogError(f"{path}: entry {number} was changed or does not follow the one before it; restore a copy")
        previous = entry.sha256
    return entries


def append(root: Path, entry: Entry) -> Entry:
    """Add an entry; it is on the disk when this returns. Hold `Store.locked` meanwhile.

    Raises:
        LogError: the log is damaged; it is left as it is.
        OSError: no space, no permission, …; the log is as it was.
    """
    make_folder(root)
    last = read(root)
    raws = json.loads((root / NAME).read_bytes())["entries"] if last else []
    raw = entry.model_copy(update={"previous": last[-1].sha256 if last else FIRST}).model_dump(mode="json")
    raw["sha256"] = _digest(raw)
    commit_bytes(root / NAME, _text([*raws, raw]))
    return Entry.model_validate(raw)


def _text(raws: Sequence[dict[str, Any]]) -> bytes:
    lines = ",\n".join("  " + json.dumps(raw, ensure_ascii=False, sort_keys=True) for raw in raws)
    return f'{{\n "schema_version": 1,\n "entries": [\n{lines}\n ]\n}}\n'.encode()


def _digest(raw: dict[str, Any]) -> str:
    """Of what stands in the file, known fields or not: a later version may say more."""
    content = {key: value for key, value in raw.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
