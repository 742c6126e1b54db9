"""Figures as people read them."""

import math

from trainer.judging.metrics import FalseAlarms, Metrics, Recall
from trainer.judging.statistics import Interval


def share(recall: Recall | Interval) -> str:
    """``0.52 (0.45 to 0.60)``; what is in brackets stays in one line."""
    return f"{recall.value:.2f} ({recall.low:.2f}\u00a0to\u00a0{recall.high:.2f})"


def signed(interval: Interval) -> str:
    return f"{interval.value:+.2f} ({interval.low:+.2f}\u00a0to\u00a0{interval.high:+.2f})"


def number(value: float | None) -> str:
    """Three digits that count, more for whole numbers; a dash for none."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", "\u202f")


def rate(found: FalseAlarms) -> str:
    """``1.4 (below 2.9)``."""
    upper = found.upper_per_hour
    return number(round(found.per_hour, 2)) + ("" if upper is None else f" (below {math.ceil(upper * 100) / 100:.2f})")


def counted(count: int, one: str, many: str = "") -> str:
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def headline(metrics: Metrics) -> str:
    """The one sentence that a ranger's chief would ask for."""
    shipped = metrics.shipped
    found, wrong = shipped.recalls.all, shipped.false_alarms
    per_hour, upper = round(wrong.per_hour, 2), wrong.upper_per_hour
    return (
        f"At its own threshold it found {share(found)} of the shots, with {number(per_hour)} false alarms per hour"
        + ("" if upper is None else f" (below {upper:.2f} with 95\u00a0% confidence)")
        + f" of {metrics.dataset.name}."
    )
