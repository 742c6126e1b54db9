"""From recordings to a head: windows, one classifier without each fold and one on all, and a threshold out of fold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.build import with_backbone
from converters.head import Head, in_steps
from converters.head_file import About, Weights
from edge.detection.model_file import Decision, Role
from edge.detection.site_rules import VetoRule
from trainer.data.clip import Clip
from trainer.data.split import fold_of
from trainer.embedding.embedder import Embedder
from trainer.judging.benchmark import once_without_bed
from trainer.judging.evaluate import PROMISED
from trainer.judging.events import Judged, false_alarms_per_hour, recall
from trainer.judging.metrics import Quantisation
from trainer.judging.sites import BACKGROUND_RULE, AtSites, at_sites
from trainer.learning.learner import (
    FOLDS,
    HOP_S,
    NEUTRAL,
    RELEASE_BELOW,
    Decided,
    Fitted,
    Heard,
    decide,
    hear,
    learn,
    of_the_field,
    table_of,
)
from trainer.learning.perceptron import Classifier, Recipe, hidden_for
from trainer.learning.reading import Reading
from trainer.learning.renderings import BACKGROUND, SHOT, Spec, judged, learned, made_shots
from trainer.learning.unheard import as_if_unheard, known_too_well
from trainer.retraining.fitted_arrays import arrays_of, fitted_of, quantisation_of
from trainer.retraining.kept import Arrays, Kept, digest_of
from trainer.retraining.request import Request
from trainer.retraining.telling import Telling

EXACT = "exact_"
"""Before the names of what is kept of the head in float32."""
SCALE = 2.0
"""Divisor of margins before the sigmoid: scores near 1 stay apart."""
ROLES: Mapping[str, Role] = {
    SHOT: "alert", "explosion": "context", "siren": "context", "chainsaw": "context", "helicopter": "context",
}  # fmt: skip
"""Of the others: background."""


@dataclass(frozen=True)
class Learned:
    """Classifiers, and what they know of recordings that they never heard."""

    labels: tuple[str, ...]
    """The shot first."""
    windows: int
    fitted: Fitted
    heard: Sequence[Heard]
    as_unheard: Sequence[Heard]
    """The same, as if the network had not learned from any of them: what the threshold is set on."""
    decided: Decided
    recipe: Recipe
    at_sites: AtSites | None = None
    """What a threshold that follows the site's background is worth; None where that cannot be judged."""
    quantisation: Quantisation | None = None
    """What the hidden weights' int8 steps cost, out of fold; None of a linear head, which has none."""


def folds_of(clips: Sequence[Clip]) -> dict[str, int]:
    """The fold of each recording."""
    return {clip.recording: fold_of(clip.recording, FOLDS) for clip in clips}


def judged_specs(clips: Sequence[Clip], seed: int) -> list[Spec]:
    """What is heard out of fold: whole clips over ambience of their own fold."""
    folds = folds_of(clips)
    return once_without_bed(judged(clips, _beds(clips, folds), folds, seed))


def learn_head(
    clips: Sequence[Clip],
    reading: Reading,
    embedder: Embedder,
    request: Request,
    kept: Kept,
    telling: Telling,
    without: frozenset[str] = frozenset(),
    known: frozenset[str] = frozenset(),
) -> Learned:
    """``embedder``: of ``reading``'s graph. ``without``: effects of the field that are left out, for an ablation.
    ``known``: recordings that the network itself has learned from.

    Raises:
        LearningError: there is not enough to learn from.
        EmbeddingError, StoreError, ClusterError, OSError.
    """
    made = made_shots(clips, request.of_shots)
    folds = folds_of(clips) | {name: fold_of(name, FOLDS) for name in made}
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
    as_unheard = as_if_unheard(heard, known, raised)
    decided = decide(as_unheard, request.per_hour)
    telling.say(decided.in_words)
    adapted = _at_sites(as_unheard, decided)
    lost: Quantisation | None = None
    if fitted.final.hidden_weights is not None and not without:
        exact = fitted_of(found, EXACT)
        in_float = _heard(to_hear, folds, exact, embedder, f"{EXACT}{key}", kept, telling, counted)
        lost = quantisation_of(as_unheard, decided, as_if_unheard(in_float, known, raised), request.per_hour)
    return Learned(labels, int(found["windows"].item()), fitted, heard, as_unheard, decided, recipe, adapted, lost)


def model_of(
    classifier: Classifier, learned: Learned, reading: Reading, backbone: bytes, request: Request, **about: Any
) -> bytes:
    """The bytes of a model file, whose score of a shot is 0.5 at the threshold that was decided on.

    ``backbone``: the file that ``reading`` was made of. ``about``: ``training`` and ``licence``. Raises GraphError.
    """
    scales = reading.scales()
    biases = classifier.biases.copy()
    # A margin is L_0 - log(sum of the others' exp(L)): a shift of L_0 shifts it by as much. Those of the others shift
    # too, a little, and nobody has set a threshold for them.
    biases[0] -= np.float32(learned.decided.threshold)
    if classifier.hidden_weights is None:
        weights = Weights(_float32(classifier.weights / scales), biases)
    else:
        # Whole numbers, but for what dividing makes of them.
        hidden = _float32(np.rint(classifier.hidden_weights / scales))
        weights = Weights(classifier.weights, biases, hidden, classifier.hidden_biases)
    decision = Decision(
        threshold=0.5,
        release=_score(-RELEASE_BELOW),
        hits={"0.24": learned.decided.hits, "0.48": 1},
        certain=_score(learned.decided.certain_above),
        background=BACKGROUND_RULE if learned.at_sites is not None and learned.at_sites.wins else None,
        veto=VetoRule(radius=request.veto_radius) if request.veto_radius is not None else None,
    )
    return with_backbone(
        backbone,
        About(
            name=request.name,
            version="0",
            labels=list(learned.labels),
            roles={label: ROLES.get(label, "background") for label in learned.labels},
            decisions={SHOT: decision},
            backbone_sha256=reading.sha256,
            maps=list(reading.maps),
            scale=SCALE,
            ensemble_label=SHOT,
            neutral=neutral_among(learned.labels),
            ensemble_classes=[],
            ensemble_gain=0.0,
            ensemble_offset=0.0,
            metrics={PROMISED: request.per_hour},
            card="",
            **about,
        ),
        weights,
    )


def neutral_among(labels: Sequence[str]) -> list[str]:
    """Labels that do not count against a shot; none of them where nothing else would."""
    return [label for label in labels if label in NEUTRAL] if set(labels) - NEUTRAL - {SHOT} else []


def history_of(learned: Learned, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """What happened, in order: windows, each fold by what it was held out for, the threshold."""
    decided = learned.decided
    folds = folds_of(clips)
    steps: list[dict[str, Any]] = [
        {
            "step": "windows",
            "windows": learned.windows,
            "clips": len(clips),
            "recordings": len(folds),
            "labels": list(learned.labels),
            "recipe": vars(learned.recipe),
        }
    ]
    release, how = decided.threshold - RELEASE_BELOW, (decided.hits, HOP_S, decided.certain_above)
    for fold in range(FOLDS):
        held = [one for one in learned.heard if folds[one.spec.recording] == fold]
        shots = [one.judged for one in held if one.spec.label == SHOT]
        others = [one.judged for one in held if of_the_field(one.spec.label)]
        value, low, high = recall(shots, decided.threshold, release, *how)
        steps.append(
            {
                "step": "fold",
                "fold": fold,
                "recordings_held_out": sum(number == fold for number in folds.values()),
                "shots_heard": len(shots),
                "recall": [value, low, high] if shots else None,
                "false_alarms_per_hour": false_alarms_per_hour(others, decided.threshold, release, *how),
                "hours": sum(one.seconds for one in others) / 3600,
            }
        )
    steps.append({"step": "threshold", **vars(decided)})
    if learned.at_sites is not None:
        steps.append({"step": "sites", "rule": BACKGROUND_RULE.model_dump(), **asdict(learned.at_sites)})
    return steps


def _at_sites(heard: Sequence[Heard], decided: Decided) -> AtSites | None:
    field, shots, ambience = (
        [one.judged for one in heard if wanted(one.spec.label)]
        for wanted in (of_the_field, lambda label: label == SHOT, lambda label: label == BACKGROUND)
    )
    return at_sites(
        field, shots, ambience, decided.threshold, RELEASE_BELOW, decided.hits, HOP_S, SCALE,
        certain_above=decided.certain_above,
    )  # fmt: skip


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


def _score(margin: float) -> float:
    """Of a margin over the threshold, with six digits."""
    return round(float(1 / (1 + np.exp(-margin / SCALE))), 6)


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
