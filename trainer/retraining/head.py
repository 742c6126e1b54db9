"""From recordings to a head: windows, one classifier without each fold and one on all, and a threshold out of fold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.build import with_backbone
from converters.head_file import About, Weights
from edge.detection.model_file import Decision, Role
from edge.detection.site_rules import VetoRule
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT
from trainer.embedding.embedder import Embedder
from trainer.judging.evaluate import PROMISED
from trainer.judging.events import false_alarms_per_hour, recall
from trainer.judging.metrics import Quantisation
from trainer.judging.sites import BACKGROUND_RULE, AtSites, at_sites
from trainer.learning.learner import FOLDS, HOP_S, RELEASE_BELOW, Decided, Heard, decide, of_the_field
from trainer.learning.perceptron import Classifier
from trainer.learning.reading import Reading
from trainer.retraining.crossfit import SCALE, CrossFitted, cross_fitted, folds_of, neutral_among
from trainer.retraining.fitted_arrays import quantisation_of
from trainer.retraining.kept import Kept
from trainer.retraining.request import Request
from trainer.retraining.telling import Telling

ROLES: Mapping[str, Role] = {
    SHOT: "alert", "explosion": "context", "siren": "context", "chainsaw": "context", "helicopter": "context",
}  # fmt: skip
"""Of the others: background."""


@dataclass(frozen=True)
class Learned(CrossFitted):
    """With what was decided on that."""

    decided: Decided
    at_sites: AtSites | None = None
    """What a threshold that follows the site's background is worth; None where that cannot be judged."""
    quantisation: Quantisation | None = None
    """What the hidden weights' int8 steps cost, out of fold; None of a linear head, which has none."""


def learn_head(
    clips: Sequence[Clip],
    reading: Reading,
    embedder: Embedder,
    request: Request,
    kept: Kept,
    telling: Telling,
    known: frozenset[str] = frozenset(),
) -> Learned:
    """See `cross_fitted`, which may raise."""
    crossed = cross_fitted(clips, reading, embedder, request, kept, telling, known=known)
    decided = decide(crossed.as_unheard, request.per_hour)
    telling.say(decided.in_words)
    adapted = _at_sites(crossed.as_unheard, decided)
    lost: Quantisation | None = None
    if crossed.in_float:
        lost = quantisation_of(crossed.as_unheard, decided, crossed.in_float, request.per_hour)
    return Learned(**vars(crossed), decided=decided, at_sites=adapted, quantisation=lost)


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


def _score(margin: float) -> float:
    """Of a margin over the threshold, with six digits."""
    return round(float(1 / (1 + np.exp(-margin / SCALE))), 6)


def _float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)
