"""What each effect of the field is worth: heads that learned without it, on the same sounds.

Judged out of fold over everything that is learned from: the test part alone holds too few recordings of shots to tell
an effect from chance. Intervals draw recordings of shots and of other sounds, the same for both heads, and each draw
has the threshold that it needs for the rate: with shots alone drawn, the few events that set a threshold pass for an
effect. Renderings for which an effect was not drawn are the same with and without it; their embeddings come from the
cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation.field import FIELD
from trainer.data.labels import SHOT
from trainer.judging.events import Judged, events, threshold_at
from trainer.judging.metrics import RATES_PER_HOUR, Ablation
from trainer.judging.statistics import LEVEL, Interval
from trainer.learning.learner import HOP_S, RELEASE_BELOW, Decided, Heard, of_the_field
from trainer.retraining.telling import Telling

ROUNDS = 1000
STEP = 0.1
"""Between thresholds, a margin."""
BEYOND = 4.0
"""Factor by which draws may want other rates than the stated ones."""


@dataclass(frozen=True)
class _Counts:
    """Of one head, by recording and threshold."""

    found: NDArray[np.float64]
    """Shots found, [recordings of shots, thresholds]."""
    shots: NDArray[np.float64]
    alarms: NDArray[np.float64]
    """Events, [recordings of other sounds, thresholds]."""
    hours: NDArray[np.float64]

    def recall(self, per_hour: float, of_shots: NDArray[np.float64], of_others: NDArray[np.float64]) -> float:
        """At the lowest threshold from which on there are no more than ``per_hour`` false alarms. How often each
        recording counts: ``of_shots`` [recordings of shots], ``of_others`` [recordings of other sounds]."""
        over = np.flatnonzero(of_others @ self.alarms > per_hour * (of_others @ self.hours))
        at = min(int(over[-1]) + 1 if len(over) else 0, self.found.shape[1] - 1)
        return float(of_shots @ self.found[:, at] / (of_shots @ self.shots))


def ablations(
    whole: Sequence[Heard], decided: Decided, without: Callable[[str], Sequence[Heard]], telling: Telling
) -> list[Ablation]:
    """A row for each effect and rate. ``whole``: what was heard out of fold with all of them. ``decided``: the
    rule. ``without``: the same by heads that learned without one; each takes about as long as a run's learning."""
    if not any(of_the_field(one.spec.label) for one in whole):
        telling.note("no ablations: there are no other sounds of the field, so no rate of false alarms to hold")
        return []
    random = np.random.default_rng(0)
    before = _counts(whole, decided)
    ones = [np.ones(len(count)) for count in (before.shots, before.hours)]
    drawn = [[random.multinomial(len(one), one / len(one)).astype(float) for one in ones] for _ in range(ROUNDS)]
    rows = []
    for number, effect in enumerate(FIELD, 1):
        with telling.step(f"ablation {number} of {len(FIELD)}: without {effect}"):
            now = _counts(without(effect), decided)
        for per_hour in RATES_PER_HOUR:
            recall = now.recall(per_hour, *ones)
            differences = [now.recall(per_hour, *some) - before.recall(per_hour, *some) for some in drawn]
            low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            difference = Interval(recall - before.recall(per_hour, *ones), float(low), float(high))
            rows.append(Ablation(without=effect, per_hour=per_hour, recall=recall, difference=difference))
    return rows


def _counts(heard: Sequence[Heard], decided: Decided) -> _Counts:
    how = decided.hits, HOP_S, decided.certain_above
    shots = [one.judged for one in heard if one.spec.label == SHOT]
    others = [one.judged for one in heard if of_the_field(one.spec.label)]
    low, high = (
        threshold_at(others, per_hour, RELEASE_BELOW, *how)
        for per_hour in (BEYOND * max(RATES_PER_HOUR), min(RATES_PER_HOUR) / BEYOND)
    )
    thresholds = np.arange(low, high + 3 * STEP, STEP)

    def counted(some: Sequence[Judged], most: float) -> NDArray[np.float64]:
        names = sorted({one.recording for one in some})
        table = np.zeros((len(names), len(thresholds)))
        for one in some:
            for at, threshold in enumerate(thresholds):
                told = events(one.margins, float(threshold), float(threshold) - RELEASE_BELOW, *how)
                table[names.index(one.recording), at] += min(told, most)
        return table

    return _Counts(
        counted(shots, 1), _summed(shots, [1.0] * len(shots)),
        counted(others, np.inf), _summed(others, [one.seconds / 3600 for one in others]),
    )  # fmt: skip


def _summed(some: Sequence[Judged], values: Sequence[float]) -> NDArray[np.float64]:
    """By recording, in the order of their names."""
    names = sorted({one.recording for one in some})
    return np.array([sum(v for one, v in zip(some, values, strict=True) if one.recording == name) for name in names])
