"""Which model is in use: put one to use, go back to the one before.

What is to be done is logged first and done then. A death between the two leaves the pointer as it was, and the same
command does it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from trainer.judging.comparison import NotComparableError
from trainer.judging.gate import Limits, judge
from trainer.judging.metrics import Gate, Metrics, Rule
from trainer.models.log import Entry, append, entry_of, read
from trainer.models.store import Store, StoreError

METRICS = "performance_metrics.json"


class RefusedError(RuntimeError):
    """The gate is closed. The text names the rules."""


@dataclass(frozen=True)
class Change:
    """The version in use has changed."""

    before: str | None
    now: str
    entry: Entry


def metrics_of(store: Store, version: str) -> Metrics:
    """Of a stored version. Raises StoreError."""
    return read_metrics(store.folder(version) / METRICS)


def read_metrics(path: Path) -> Metrics:
    """``performance_metrics.json``. Raises StoreError."""
    try:
        return Metrics.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def promote(
    store: Store,
    name: str,
    at: datetime,
    who: str = "",
    reason: str = "",
    force: bool = False,
    limits: Limits | None = None,
    held: Gate | None = None,
) -> Change:
    """Put a version to use, if the gate lets it follow the one that is in use now.

    The gate is held again, against that very one: it may be another than when the model was made. ``held``: the gate as
    it was held just now, which stands if the model in use is still the one that it was held against. So does the
    version's own, where the two were judged on different sounds: data grows, and then it was held on the newer ones.

    Raises:
        StoreError: no such version, damaged, or in use already.
        RefusedError: the gate is closed and ``force`` is not given.
        LogError, OSError: as `trainer.models.log.append`.
    """
    with store.locked():
        version, before = _ready(store, name), store.current()
        if version == before:
            raise StoreError(f"{version} is in use already")
        metrics = metrics_of(store, version)
        if held is None or held.against != before:
            held = _gate(metrics, metrics_of(store, before) if before else None, limits)
        gate = held
        broken = [rule for rule in gate.rules if not rule.passed]
        if broken and not force:
            raise RefusedError(f"{version} does not pass the gate:{_told(broken)}\nuse it all the same with --force")
        more = {"before": before, "who": who, "reason": reason, "gate": gate, "forced": bool(broken)}
        entry = append(store.root, entry_of("promoted", metrics, at, **more).model_copy(update={"version": version}))
        store.point_to(version)
        return Change(before, version, entry)


def rollback(store: Store, at: datetime, to: str | None = None, who: str = "", reason: str = "") -> Change:
    """Go back to the version that was in use before, or to another that once was. No gate: it was let in then.

    Raises:
        StoreError: nothing was in use before, no such version, or damaged.
        LogError, OSError: as `trainer.models.log.append`.
    """
    with store.locked():
        now = store.current()
        used = in_use_before(read(store.root), now)
        if to is None:
            if not used:
                raise StoreError(f"no other model was in use before {now or 'this'} in {store.root}")
            to = used[-1]
        version = _ready(store, to)
        if version == now:
            raise StoreError(f"{version} is in use already")
        if version not in used:
            raise StoreError(
                f"{version} was not in use before {now}; put it to use with `ecosight-trainer promote {version}`"
            )
        more = {"before": now, "who": who, "reason": reason}
        entry = append(
            store.root,
            entry_of("rolled back", metrics_of(store, version), at, **more).model_copy(update={"version": version}),
        )
        store.point_to(version)
        return Change(now, version, entry)


def in_use_before(entries: Sequence[Entry], now: str | None) -> list[str]:
    """Versions that were in use before ``now`` was, in the order in which one would go back, the nearest last."""
    used: list[str] = []
    for entry in entries:
        if entry.action == "promoted":
            if entry.before is not None and entry.before != entry.version:
                used.append(entry.before)
        elif entry.action == "rolled back" and entry.version in used:
            del used[len(used) - 1 - used[::-1].index(entry.version) :]
    return [version for version in used if version != now]


def _ready(store: Store, name: str) -> str:
    version = store.find(name)
    damage = store.damage(version)
    if damage:
        raise StoreError(f"{store.root / version} is damaged: {', '.join(damage[:3])}; make the model again")
    return version


def _gate(metrics: Metrics, current: Metrics | None, limits: Limits | None) -> Gate:
    try:
        return judge(metrics, current, limits)
    except NotComparableError as error:
        if metrics.gate is not None and current is not None and metrics.gate.against == current.model.version:
            return metrics.gate
        rule = Rule(
            name="judged on the same sounds", limit=None, measured=None, passed=False, sense="at least", note=str(error)
        )
        alone = judge(metrics, None, limits)
        return Gate(against=current.model.version if current else None, rules=[rule, *alone.rules])


def _told(rules: Sequence[Rule]) -> str:
    lines = []
    for rule in rules:
        values = "" if rule.measured is None else f" is {rule.measured:.4g}, must be {rule.sense} {rule.limit:.4g}"
        lines.append(f"\n  {rule.name}{values}" + (f" ({rule.note})" if rule.note else ""))
    return "".join(lines)
