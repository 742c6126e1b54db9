"""Two models on the same frozen sounds: what differs, and whether chance explains it.

It needs nothing but their metrics, which hold what each recording gave. Thresholds are those that each model needs
for the rate on all rated sounds; the bootstrap draws recordings of shots, the same for both.
"""

from dataclasses import dataclass

from trainer.judging.metrics import ByRecording, Metrics, rate_name
from trainer.judging.statistics import Interval, difference_by_recording
from trainer.judging.tally import SHIPPED


class NotComparableError(ValueError):
    """The two were not judged alike. The text is for a person."""


@dataclass(frozen=True)
class Difference:
    """One figure of both."""

    what: str
    a: float
    b: float
    difference: Interval | None
    """B minus A, 90 % by recording; None where it is no share of recordings."""

    @property
    def verdict(self) -> str:
        """Which is better, if the interval leaves out zero."""
        if self.difference is None:
            return ""
        if self.difference.low > 0:
            return "B is better"
        return "A is better" if self.difference.high < 0 else "no difference shown"


@dataclass(frozen=True)
class Comparison:
    a: str
    b: str
    dataset: str
    rows: tuple[Difference, ...]


def comparable(a: Metrics, b: Metrics) -> None:
    """Raises NotComparableError where the two were judged on other sounds, or in another way."""
    for what, of_a, of_b in (
        ("the sounds", _sounds(a), _sounds(b)),
        ("the tolerance", f"{a.tolerance_s:g} s", f"{b.tolerance_s:g} s"),
        ("the label", a.model.target, b.model.target),
    ):
        if of_a != of_b:
            raise NotComparableError(
                f"{name_of(a)} and {name_of(b)} were not judged alike: {what} were {of_a} and {of_b}; "
                "judge both again on the same data"
            )


def compare(a: Metrics, b: Metrics) -> Comparison:
    """B against A. Raises NotComparableError."""
    comparable(a, b)
    rows = []
    for one in a.at_rates:
        if any(other.per_hour == one.per_hour for other in b.at_rates):
            rows.append(recall_difference(a, b, one.per_hour))
    rows.append(_shares("recall at the shipped threshold", a, b, SHIPPED))
    wrong_a, wrong_b = a.shipped.false_alarms, b.shipped.false_alarms
    rows.append(Difference("false alarms per hour at the shipped threshold", wrong_a.per_hour, wrong_b.per_hour, None))
    rows.append(Difference("size, KiB", a.model.size_bytes / 1024, b.model.size_bytes / 1024, None))
    if a.speed is not None and b.speed is not None:
        rows.append(Difference("ms per window", a.speed.ms_per_window, b.speed.ms_per_window, None))
    return Comparison(name_of(a), name_of(b), f"{a.dataset.name} {a.dataset.version}".strip(), tuple(rows))


def recall_difference(a: Metrics, b: Metrics, per_hour: float) -> Difference:
    """B's recall minus A's where each gives so many false alarms per hour. Raises NotComparableError, KeyError."""
    comparable(a, b)
    for one in (a, b):
        one.recall_at(per_hour)
    return _shares(f"recall at {per_hour:g} false alarms per hour", a, b, rate_name(per_hour))


def name_of(metrics: Metrics) -> str:
    return f"{metrics.model.name} {metrics.model.version}"


def _shares(what: str, a: Metrics, b: Metrics, key: str) -> Difference:
    of_a, of_b = _shots(a), _shots(b)
    names = sorted(of_a)
    total = [of_a[name].bursts for name in names]
    found_a, found_b = ([of[name].found[key] for name in names] for of in (of_a, of_b))
    shots = max(sum(total), 1)
    return Difference(
        what, sum(found_a) / shots, sum(found_b) / shots, difference_by_recording(found_b, found_a, total)
    )


def _shots(metrics: Metrics) -> dict[str, ByRecording]:
    return {one.recording: one for one in metrics.recordings if one.bursts}


def _sounds(metrics: Metrics) -> str:
    data = metrics.dataset
    return f"{data.name} {data.version} ({data.sha256[:8]}…)"
