"""How sure a figure is: intervals by recording, bounds of rates, calibration.

Clips of one recording resemble each other, so the unit that chance draws is the recording, never the clip or the
window: every bootstrap here draws recordings with replacement (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, ch. 13). Two models are compared on the same draws, which takes out what makes a recording hard
for both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.90
"""Of every two-sided interval. Its lower end is thus a one-sided bound at 95 %."""
UPPER = 0.95
"""Confidence of the bounds of rates."""
ROUNDS = 2000
CHUNK = 250
"""Draws at once: memory stays small with thousands of recordings."""


@dataclass(frozen=True)
class Interval:
    """An estimate and where it might as well lie, at `LEVEL`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Scores between ``low`` and ``high``."""

    low: float
    high: float
    count: int
    mean_score: float
    share: float
    """Of them, how many were shots."""


def share_by_recording(found: Sequence[float], total: Sequence[float], seed: int = 0) -> Interval:
    """A share (recall) pooled over recordings, its interval by a bootstrap over them.

    ``found`` and ``total`` have one entry a recording. Where all or nothing was found every draw says the same; the
    exact bound for so many recordings stands in (Clopper and Pearson, Biometrika 26, 1934). One recording says next
    to nothing, and none nothing: between 0 and 1.

    Raises:
        ValueError: of different lengths, or more found than there is.
    """
    some, of = _pairs(found, total)
    value = float(some.sum() / of.sum()) if len(of) else 0.0
    if not len(of):
        return Interval(0.0, 0.0, 1.0)
    tail = ((1 - LEVEL) / 2) ** (1 / len(of))
    if value == 0:
        return Interval(0.0, 0.0, 1 - tail)
    if value == 1:
        return Interval(1.0, tail, 1.0)
    if len(of) == 1:
        return Interval(value, 0.0, 1.0)
    drawn = _draws([some, of], seed)
    low, high = _ends(drawn[0] / drawn[1])
    return Interval(value, low, high)


def difference_by_recording(
    found_b: Sequence[float], found_a: Sequence[float], total: Sequence[float], seed: int = 0
) -> Interval:
    """Share of B minus share of A, paired: both on the same recordings in every draw.

    One recording decides nothing: between -1 and 1.

    Raises:
        ValueError: of different lengths: these are not the same recordings.
    """
    a, of = _pairs(found_a, total)
    b, _ = _pairs(found_b, total)
    if len(of) < 2:
        return Interval(float((b - a).sum() / of.sum()) if len(of) else 0.0, -1.0, 1.0)
    drawn = _draws([b - a, of], seed)
    low, high = _ends(drawn[0] / drawn[1])
    return Interval(float((b - a).sum() / of.sum()), low, high)


def rate_difference(
    events_b: Sequence[float], events_a: Sequence[float], hours: Sequence[float], seed: int = 0
) -> Interval:
    """Events per hour of B minus those of A, paired: both at the same sites in every draw. One site says nothing.

    Raises:
        ValueError: of different lengths: these are not the same sites.
    """
    more = np.asarray(events_b, np.float64) - np.asarray(events_a, np.float64)
    of = np.asarray(hours, np.float64)
    if more.shape != of.shape:
        raise ValueError(f"events at {len(more)} sites, hours of {len(of)}")
    value = float(more.sum() / of.sum()) if of.sum() else 0.0
    if len(of) < 2:
        return Interval(value, -math.inf, math.inf)
    drawn = _draws([more, of], seed)
    low, high = _ends(drawn[0] / drawn[1])
    return Interval(value, low, high)


def upper_rate(events: int, hours: float, confidence: float = UPPER) -> float:
    """Upper confidence bound of a rate an hour of which ``events`` were counted in ``hours``.

    Exact for a Poisson process (Garwood, Biometrika 28, 1936): 3.0 / T for none in T hours. Infinite in no time.

    Raises:
        ValueError: a negative number.
    """
    from scipy.special import gammaincinv

    if events < 0 or hours < 0:
        raise ValueError(f"{events} events in {hours} hours: neither can be negative")
    return float(gammaincinv(events + 1, confidence)) / hours if hours else math.inf


def calibration(
    scores: NDArray[np.floating], outcomes: NDArray[np.bool_], bins: int = 10
) -> tuple[float, tuple[Bin, ...]]:
    """The expected calibration error of scores [n] against outcomes [n], and the bins that hold something, of equal
    width between 0 and 1.

    The error is the mean distance between a bin's score and its share of shots, weighted by its count (Naeini,
    Cooper and Hauskrecht, AAAI 2015). 0 of nothing.
    """
    scores = np.asarray(scores, np.float64)
    place = np.minimum((scores * bins).astype(np.intp), bins - 1)
    made = []
    for number in range(bins):
        inside = place == number
        count = int(inside.sum())
        if count:
            mean, share = float(scores[inside].mean()), float(outcomes[inside].mean())
            made.append(Bin(number / bins, (number + 1) / bins, count, mean, share))
    error = sum(one.count * abs(one.mean_score - one.share) for one in made) / max(len(scores), 1)
    return error, tuple(made)


def _pairs(found: Sequence[float], total: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    some, of = np.asarray(found, np.float64), np.asarray(total, np.float64)
    if some.shape != of.shape:
        raise ValueError(f"found in {len(some)} recordings, looked for in {len(of)}")
    if np.any(some > of) or np.any(some < 0):
        raise ValueError("more was found in a recording than it holds")
    holds = of > 0
    return some[holds], of[holds]


def _draws(columns: Sequence[NDArray[np.float64]], seed: int) -> NDArray[np.float64]:
    """Sums of each column over ``ROUNDS`` draws of recordings, float64 [columns, rounds]."""
    random = np.random.default_rng(seed)
    table = np.stack(columns)
    count = table.shape[1]
    drawn = [table[:, random.integers(count, size=(CHUNK, count))].sum(axis=2) for _ in range(ROUNDS // CHUNK)]
    return np.concatenate(drawn, axis=1)


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
