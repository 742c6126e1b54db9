"""Fitted classifiers as arrays, to be kept between runs: as they ship and in float32; and what lies between the two."""

from collections.abc import Sequence
from typing import Any

from trainer.data.labels import SHOT
from trainer.judging.events import events
from trainer.judging.metrics import Quantisation
from trainer.judging.statistics import difference_by_recording
from trainer.learning.learner import FOLDS, HOP_S, RELEASE_BELOW, Decided, Fitted, Heard, decide
from trainer.learning.perceptron import Classifier
from trainer.retraining.kept import Arrays

PARTS = ("weights", "biases", "hidden_weights", "hidden_biases")


def arrays_of(fitted: Fitted, prefix: str = "") -> Arrays:
    """One entry for each part of each classifier; the final one comes last."""
    return {
        f"{prefix}{part}_{number}": value
        for number, one in enumerate([*fitted.without, fitted.final])
        for part in PARTS
        if (value := getattr(one, part)) is not None
    }


def fitted_of(found: Arrays, prefix: str = "") -> Fitted:
    """What `arrays_of` gave. Raises KeyError: it is not in there."""

    def classifier(number: int) -> Classifier:
        parts: dict[str, Any] = {part: found[name] for part in PARTS if (name := f"{prefix}{part}_{number}") in found}
        return Classifier(**parts)

    return Fitted(tuple(classifier(number) for number in range(FOLDS)), classifier(FOLDS))


def quantisation_of(int8: Sequence[Heard], decided: Decided, float32: Sequence[Heard], per_hour: float) -> Quantisation:
    """What the head's int8 steps cost: the same sounds heard with and without, each at its own threshold."""
    other = decide(float32, per_hour, [(decided.hits, decided.certain_above)])
    found_int8, total = _found(int8, decided)
    found_float, _ = _found(float32, other)
    names = sorted(total)
    counts, of = [[some[name] for name in names] for some in (found_float, found_int8)], [total[name] for name in names]
    shots = max(1, sum(of))
    return Quantisation(
        per_hour=per_hour,
        recall_float=sum(counts[0]) / shots,
        recall_int8=sum(counts[1]) / shots,
        lost=difference_by_recording(counts[0], counts[1], of),
        recordings=len(names),
    )


def _found(heard: Sequence[Heard], decided: Decided) -> tuple[dict[str, int], dict[str, int]]:
    """Shots found and shots, by recording."""
    found: dict[str, int] = {}
    total: dict[str, int] = {}
    release, how = decided.threshold - RELEASE_BELOW, (decided.hits, HOP_S, decided.certain_above)
    for one in heard:
        if one.spec.label == SHOT:
            name = one.spec.recording
            told = events(one.judged.margins, decided.threshold, release, *how) > 0
            found[name], total[name] = found.get(name, 0) + told, total.get(name, 0) + 1
    return found, total
