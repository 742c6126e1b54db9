"""Classifiers cross-fitted over folds, and what each hears of recordings that it did not learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.head import Head, in_steps
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT
from trainer.data.split import fold_of
from trainer.embedding.embedder import Embedder
from trainer.judging.benchmark import once_without_bed
from trainer.judging.events import Judged
from trainer.learning.learner import FOLDS, NEUTRAL, Fitted, Heard, hear, learn, table_of
from trainer.learning.made import made_beside
from trainer.learning.perceptron import Classifier, Recipe, hidden_for
from trainer.learning.reading import Reading
from trainer.learning.renderings import Spec, judged, learned
from trainer.learning.unheard import as_if_unheard, known_too_well
from trainer.retraining.fitted_arrays import arrays_of, fitted_of
from trainer.retraining.kept import Arrays, Kept, digest_of
from trainer.retraining.request import Request
from trainer.retraining.telling import Telling

EXACT = "exact_"
"""Before the names of what is kept of the head in float32."""
SCALE = 2.0
"""Divisor of margins before the sigmoid: scores near 1 stay apart."""


@dataclass(frozen=True)
class CrossFitted:
    """Classifiers, and what they know of recordings that they never heard."""

    labels: tuple[str, ...]
    """The shot first."""
    windows: int
    recipe: Recipe
    fitted: Fitted
    heard: Sequence[Heard]
    as_unheard: Sequence[Heard]
    """The same, as if the network had not learned from any of them: what the threshold is set on."""
    in_float: Sequence[Heard]
    """Likewise, by hidden weights in float32; empty where that is not asked for, or there are none."""


def folds_of(clips: Sequence[Clip]) -> dict[str, int]:
    """The fold of each recording."""
    return {clip.recording: fold_of(clip.recording, FOLDS) for clip in clips}


def judged_specs(clips: Sequence[Clip], seed: int) -> list[Spec]:
    """What is heard out of fold: whole clips over ambience of their own fold."""
    folds = folds_of(clips)
    return once_without_bed(judged(clips, _beds(clips, folds), folds, seed))


def cross_fitted(
    clips: Sequence[Clip],
    reading: Reading,
    embedder: Embedder,
    request: Request,
    kept: Kept,
    telling: Telling,
    without: frozenset[str] = frozenset(),
    known: frozenset[str] = frozenset(),
) -> CrossFitted:
    """``embedder``: of ``reading``'s graph. ``without``: effects of the field that are left out, for an ablation; then
    nothing is heard in float32. ``known``: recordings that the network itself has learned from.

    Raises:
        LearningError: there is not enough to learn from.
        EmbeddingError, StoreError, ClusterError, OSError.
    """
    made = made_beside(clips, request.of_shots)
    folds = folds_of(clips) | {one.name: fold_of(one.name, FOLDS) for one in made}
    asked = request.variants, request.of_shots, request.seed
    learned_from = list(learned(clips, _beds(clips, folds), folds, *asked, without, made))
    recipe, scales = Recipe(hidden_for(embedder.width), seed=request.seed), reading.scales()
    key = digest_of([embedder.backbone.identity, repr(recipe), *(f"{one.key} {one.label}" for one in learned_from)])

    def fit() -> Arrays:
        request.work.mkdir(parents=True, exist_ok=True)
        out = request.work / "windows.npy"
        try:
            with telling.step(f"{len(learned_from)} renderings to learn from"):
                table = table_of(learned_from, folds, embedder, out, telling.progress)
            with telling.step(f"learning from {len(table.label)} windows, {FOLDS + 1} times"):
                exact = learn(table, recipe, telling.progress, request.processes)
                fitted = Fitted(
                    tuple(_as_it_ships(one, scales) for one in exact.without), _as_it_ships(exact.final, scales)
                )
        finally:
            for left in request.work.glob("windows.*"):
                left.unlink()
        found = {**arrays_of(fitted), **arrays_of(exact, EXACT)}
        return {**found, "labels": np.array(table.labels), "windows": np.array(len(table.label))}

    fitted = fitted_of(found := kept.arrays("fitted", key, fit))
    to_hear = judged_specs(clips, request.seed)
    labels = tuple(str(label) for label in found["labels"])
    counted = labels if neutral_among(labels) else ()
    heard = _heard(to_hear, folds, fitted, embedder, key, kept, telling, counted)
    if raised := known_too_well(heard, known):
        telling.say(f"the network knows {len(known)} recordings: their margins count as {raised:g} higher")
    in_float: list[Heard] = []
    if fitted.final.hidden_weights is not None and not without:
        exact = fitted_of(found, EXACT)
        in_float = _heard(to_hear, folds, exact, embedder, f"{EXACT}{key}", kept, telling, counted)
    return CrossFitted(
        labels,
        int(found["windows"].item()),
        recipe,
        fitted,
        heard,
        as_if_unheard(heard, known, raised),
        as_if_unheard(in_float, known, raised),
    )


def neutral_among(labels: Sequence[str]) -> list[str]:
    """Labels that do not count against a shot; none of them where nothing else would."""
    return [label for label in labels if label in NEUTRAL] if set(labels) - NEUTRAL - {SHOT} else []


def _beds(clips: Sequence[Clip], folds: Mapping[str, int]) -> dict[int, list[Clip]]:
    beds: dict[int, list[Clip]] = {}
    for clip in clips:
        if clip.label == BACKGROUND:
            beds.setdefault(folds[clip.recording], []).append(clip)
    return beds


def _heard(
    specs: Sequence[Spec], folds: Mapping[str, int], fitted: Fitted, embedder: Embedder, key: str, kept: Kept,
    telling: Telling, labels: Sequence[str],
) -> list[Heard]:  # fmt: skip
    def listen() -> Arrays:
        with telling.step(f"{len(specs)} sounds heard out of fold"):
            heard = hear(specs, folds, fitted, embedder, telling.progress, labels)
        return {
            "margins": np.concatenate([one.judged.margins for one in heard] or [np.empty(0)]),
            "counts": np.array([len(one.judged.margins) for one in heard], np.int64),
            "seconds": np.array([one.judged.seconds for one in heard]),
        }

    found: dict[str, Any] = dict(kept.arrays("heard", digest_of([key, *(spec.key for spec in specs)]), listen))
    ends = np.concatenate([[0], np.cumsum(found["counts"])])
    return [
        Heard(spec, Judged(spec.recording, found["margins"][start:stop], float(seconds)))
        for spec, (start, stop), seconds in zip(specs, pairwise(ends), found["seconds"], strict=True)
    ]


def _as_it_ships(classifier: Classifier, scales: NDArray[np.float32]) -> Classifier:
    """With the steps of its hidden weights that the graph keeps: thresholds are set on what ships."""
    if classifier.hidden_weights is None or classifier.hidden_biases is None:
        return classifier
    values = _float32(classifier.hidden_weights / scales)
    kept = in_steps(
        Head(
            classifier.weights, classifier.biases, SCALE, hidden_weights=values, hidden_biases=classifier.hidden_biases
        )
    )
    assert kept.hidden_weights is not None
    return Classifier(kept.weights, kept.biases, _float32(kept.hidden_weights * scales), kept.hidden_biases)


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
