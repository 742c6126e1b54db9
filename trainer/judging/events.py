"""How a model is judged: by the device's own event logic, on whole recordings.

Recall is the share of shot recordings in which an event is confirmed; false alarms are events per hour of sound
without shots. Never accuracy over windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detection.event import Rule, Timing
from edge.detection.events import EventLogic
from edge.settings import DetectionSettings

RATE_HZ = 16_000


CERTAIN_ABOVE = 2.2
"""Margin over the threshold from which one window is enough, where nothing was chosen on recordings."""


@dataclass(frozen=True)
class Judged:
    """Margins of one recording's windows, in order, and its length."""

    recording: str
    margins: NDArray[np.float64]
    seconds: float


def events(
    margins: NDArray[np.float64], threshold: float, release: float, hits: int, hop_s: float,
    certain_above: float = CERTAIN_ABOVE,
) -> int:  # fmt: skip
    """Events that the device would confirm in these windows, ``margins`` float64 [n], ``hop_s`` apart. ``threshold``
    and ``release`` are margins, and so is ``certain_above``, over the threshold, from which one window is enough."""
    return len(confirmed(margins, threshold, release, hits, hop_s, certain_above))


def confirmed(
    margins: NDArray[np.float64], threshold: float, release: float, hits: int, hop_s: float,
    certain_above: float = CERTAIN_ABOVE,
) -> list[int]:  # fmt: skip
    """The windows with which `events` are confirmed, in order."""
    if not len(margins) or margins.max() < threshold:
        return []
    settings = DetectionSettings(hop_s=hop_s)
    # The logic wants scores between 0 and 1: any monotonic map gives the same events.
    scores = 1 / (1 + np.exp(-(margins - threshold)))
    certain = float(1 / (1 + np.exp(-certain_above)))
    rule = Rule("gun_shot", 0.5, float(1 / (1 + np.exp(threshold - release))), hits, certain)
    logic = EventLogic([rule], Timing.of(settings, RATE_HZ, 0.975))
    hop = round(hop_s * RATE_HZ)
    return [
        number
        for number, score in enumerate(scores)
        for event in logic.observe(number * hop, [float(score)])
        if event.phase == "new"
    ]


def false_alarms_per_hour(
    quiet: Sequence[Judged], threshold: float, release: float, hits: int, hop_s: float,
    certain_above: float = CERTAIN_ABOVE,
) -> float:  # fmt: skip
    """Events per hour in recordings that hold no shot."""
    hours = sum(one.seconds for one in quiet) / 3600
    found = sum(events(one.margins, threshold, release, hits, hop_s, certain_above) for one in quiet)
    return found / hours if hours else 0.0


def recall(
    shots: Sequence[Judged], threshold: float, release: float, hits: int, hop_s: float,
    certain_above: float = CERTAIN_ABOVE,
) -> tuple[float, ...]:  # fmt: skip
    """Share of recordings with an event, and its 90 % interval by a bootstrap over recordings."""
    counts = [events(one.margins, threshold, release, hits, hop_s, certain_above) for one in shots]
    found = np.array([count > 0 for count in counts], np.float64)
    if not len(found):
        return (0.0, 0.0, 1.0)
    again = np.random.default_rng(0).choice(found, (2000, len(found))).mean(axis=1)
    return tuple(round(float(x), 3) for x in (found.mean(), *np.percentile(again, [5, 95])))


def threshold_at(
    quiet: Sequence[Judged], per_hour: float, release_below: float, hits: int, hop_s: float,
    certain_above: float = CERTAIN_ABOVE,
) -> float:  # fmt: skip
    """The lowest threshold, a margin, to 0.01, at which ``quiet`` gives at most ``per_hour`` false alarms.

    ``release_below``: how far under the threshold the release stands.
    """
    low, high = -10.0, 30.0
    while high - low > 0.01:
        middle = (low + high) / 2
        if false_alarms_per_hour(quiet, middle, middle - release_below, hits, hop_s, certain_above) <= per_hour:
            high = middle
        else:
            low = middle
    return math.ceil(high * 100) / 100  # rounded down, the loudest false alarm could slip in again
