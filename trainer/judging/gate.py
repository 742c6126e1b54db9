"""The gate: whether a model may follow the one before it.

Every rule says what it measured and what it was held against, so that a refusal can be understood and a pass be
doubted. What cannot be measured (no model before, too few recordings, nothing timed) passes and says so. ``--force``
goes past a closed gate, and the log keeps that for ever (`trainer.models.log`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.judging.comparison import comparable, recall_difference
from trainer.judging.metrics import Gate, Metrics, Rule


@dataclass(frozen=True)
class Limits:
    """What is still good enough."""

    per_hour: tuple[float, ...] = (3.0,)
    """Rates of false alarms at which recall is compared."""
    recall_loss: float = 0.05
    """The lower end of the paired difference may be this far under zero: non-inferiority at 95 %."""
    least_recall: float = 0.10
    """Of any model, at those rates: under it something is broken."""
    over_promise: float = 3.0
    """Measured false alarms over promised ones."""
    least_allowed: float = 3.0
    """False alarms that this would allow in the hours that were heard: where it is fewer, one by chance decides, and it
    is not judged."""
    class_recordings: int = 20
    """A class with fewer recordings in the test is not judged."""
    class_floor: float = 0.30
    """Least recall of a class that is judged."""
    class_floors: Mapping[str, float] = field(default_factory=dict)
    """Of single classes, in place of ``class_floor``."""
    class_loss: float = 0.10
    """Most that a class may lose against the model before."""
    quantisation_loss: float = 0.02
    """Most recall that int8 may cost."""
    growth: float = 1.10
    """Size over that of the model before."""
    largest_bytes: int = 8 << 20
    """Size of any model."""
    slower: float = 1.25
    """Time per window over that of the model that it was timed against."""


def judge(candidate: Metrics, current: Metrics | None, limits: Limits | None = None) -> Gate:
    """Hold a candidate against the model that is in use, both judged on the same frozen sounds.

    Raises:
        NotComparableError: they were judged on other sounds, or in another way.
    """
    limits = limits or Limits()
    if current is not None:
        comparable(current, candidate)
    rules = [
        *_recall(candidate, current, limits),
        *_false_alarms(candidate, current, limits),
        *_classes(candidate, current, limits),
        _quantisation(candidate, limits),
        _size(candidate, current, limits),
        _speed(candidate, current, limits),
    ]
    return Gate(against=current.model.version if current else None, rules=rules)


def at_least(name: str, limit: float, measured: float, note: str = "") -> Rule:
    return Rule(name=name, limit=limit, measured=measured, passed=measured >= limit, sense="at least", note=note)


def at_most(name: str, limit: float, measured: float, note: str = "") -> Rule:
    return Rule(name=name, limit=limit, measured=measured, passed=measured <= limit, sense="at most", note=note)


def _not_judged(rule: Rule, why: str) -> Rule:
    return rule.model_copy(update={"limit": None, "passed": True, "note": why})


def _recall(candidate: Metrics, current: Metrics | None, limits: Limits) -> list[Rule]:
    rules = []
    for rate in limits.per_hour:
        now = candidate.recall_at(rate).recalls.all.value
        rules.append(at_least(f"recall at {rate:g} false alarms per hour", limits.least_recall, now))
        name = f"recall at {rate:g} false alarms per hour, against the model before, lower bound"
        if current is None:
            rule = Rule(name=name, limit=None, measured=None, passed=True, sense="at least", note="no model before it")
        else:
            found = recall_difference(current, candidate, rate)
            assert found.difference is not None
            rule = at_least(name, -limits.recall_loss, found.difference.low, f"{found.a:.3f} before, {found.b:.3f} now")
        rules.append(rule)
    return rules


def _false_alarms(candidate: Metrics, current: Metrics | None, limits: Limits) -> list[Rule]:
    found, promised = candidate.shipped.false_alarms, candidate.shipped.promised_per_hour
    told = f"{found.events} in {found.hours:.2f} h"
    against_promise = at_most(
        f"false alarms per hour, against {limits.over_promise:g} times the promise",
        limits.over_promise * (promised or 0.0),
        found.per_hour,
        told,
    )
    if promised is None:
        against_promise = _not_judged(against_promise, f"{told}; nothing was promised")
    elif limits.over_promise * promised * found.hours < limits.least_allowed:
        against_promise = _not_judged(against_promise, f"{told}; too short to judge {promised:g} per hour by")
    name = "false alarms per hour, against the upper bound of the model before"
    if current is None:
        before = _not_judged(at_most(name, 0.0, found.per_hour), f"{told}; no model before it")
    else:
        limit = current.shipped.false_alarms.upper_per_hour or 0.0
        before = at_most(name, limit, found.per_hour, f"{told}; {current.shipped.false_alarms.events} before")
    return [against_promise, before]


def _classes(candidate: Metrics, current: Metrics | None, limits: Limits) -> list[Rule]:
    before = {one.label: one.recall.value for one in current.classes} if current else {}
    rules = []
    for one in candidate.classes:
        if one.label == candidate.model.target:
            continue  # its shots are judged as events, above
        floor = limits.class_floors.get(one.label, limits.class_floor)
        floor = max(floor, before.get(one.label, 0.0) - limits.class_loss)
        # Of two runs that differ in nothing but their draws, one found 13 of 29 sounds of a class and the other 7: only
        # what is surely under its floor closes the gate.
        told = f"{one.recall.value:.3f} of {one.recordings} recordings; upper bound"
        rule = at_least(f"recall of {one.label}", floor, one.recall.high, told)
        if one.recordings < limits.class_recordings:
            rule = _not_judged(rule, f"{one.recordings} recordings; {limits.class_recordings} are needed to judge")
        rules.append(rule)
    return rules


def _quantisation(candidate: Metrics, limits: Limits) -> Rule:
    name = "recall lost from float to int8"
    found = candidate.quantisation
    if found is None:
        return Rule(name=name, limit=None, measured=None, passed=True, sense="at most", note="there is no float model")
    note = f"at {found.per_hour:g} false alarms per hour"
    if found.lost is None:
        return at_most(name, limits.quantisation_loss, found.loss, note)
    # Two thresholds that were each set on events differ by chance: only what is surely lost closes the gate.
    told = f"{note}: {found.recall_float:.3f} in float32, {found.recall_int8:.3f} in int8; lower bound of the loss"
    rule = at_most(name, limits.quantisation_loss, found.lost.low, told)
    if found.recordings is not None and found.recordings < limits.class_recordings:
        few = f"{told}; {found.recordings} recordings of shots; {limits.class_recordings} are needed to judge"
        return _not_judged(rule, few)
    return rule


def _size(candidate: Metrics, current: Metrics | None, limits: Limits) -> Rule:
    limit = min(limits.largest_bytes, limits.growth * current.model.size_bytes) if current else limits.largest_bytes
    return at_most("size, bytes", round(limit), candidate.model.size_bytes)


def _speed(candidate: Metrics, current: Metrics | None, limits: Limits) -> Rule:
    name = "time per window, ratio"
    if candidate.speed is None:
        return Rule(name=name, limit=None, measured=None, passed=True, sense="at most", note="not timed")
    against = f"against {candidate.speed.against}"
    rule = at_most(name, limits.slower, candidate.speed.ratio, against)
    return rule if current is not None else _not_judged(rule, f"{against}; no model before it")
