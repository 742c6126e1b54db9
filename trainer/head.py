"""Train the head that makes Google's YAMNet a gunshot detector.

Multinomial logistic regression over the pack's labels, on the embeddings of the int8 backbone that ships. The margin
of ``gun_shot`` is added to YAMNet's own gun logit, which beat either alone on recordings of other guns. The threshold
is set on events, on folds that the weights have not seen; recordings of fold 0, with all of SESA's test part, are
seen by neither weights nor threshold, and give the figures of the card.

Only clips whose licence permits it are learned from (`pack`); the head that comes out is this project's own.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.head import Head, head_margins
from converters.head_file import About, save
from edge.detection import audioset
from edge.detection.model_file import Decision, Role
from edge.detection.waveform_yamnet import read_labels
from trainer.augmentation.mixing import Rendering, as_it_is, louder_or_softer, mixed_into, random_of, read_clip
from trainer.card import card_of
from trainer.data.clip import Clip
from trainer.data.licences import licence_of, split_by_licence
from trainer.data.pack import read_pack
from trainer.embeddings import HOP_S, Embedder, Track
from trainer.judging.events import CERTAIN_ABOVE, Judged, false_alarms_per_hour, recall, threshold_at

TARGET, BACKGROUND = "gun_shot", "background"
FOLDS = 5
TEST = 0
HITS = {"0.24": 2, "0.48": 1}
SEED = 1
SNR_DB: dict[str, tuple[int, ...]] = {TARGET: (20, 10, 5, 0), "explosion": (15,)}
SNR_OF_OTHERS_DB = (10,)
LEARNED_FROM_DB = 5
"""Shots weaker than this, over the background, are judged but not learned from: they teach noise."""
IMPULSES = frozenset({TARGET, "explosion", "dog_bark", "person_sneeze"})
AMBIGUOUS = frozenset({"explosion"})
"""Neither shot nor false alarm: explosions, fireworks and cannon; reported by themselves."""
REGULARISATION = 3e-3
ENSEMBLE_GAIN = 0.4
"""Share of YAMNet's gun logit; 0.3 to 0.5 gave the best recall at 3 false alarms per hour out of fold."""
SCALE = 2.0
RELEASE_BELOW = 2.0
"""Margin between threshold and release."""
FALSE_ALARMS_PER_HOUR = 3.0
"""On recordings of everything that is no shot, end to end: far more that could fool it than a forest holds."""
ROLES: dict[str, Role] = {
    TARGET: "alert", "explosion": "context", "siren": "context", "chainsaw": "context", "helicopter": "context",
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One rendering of a clip, embedded."""

    clip: Clip
    fold: int
    kind: str
    """``plain``, ``level``, or ``mixed N dB``."""
    track: Track

    @property
    def learned_from(self) -> NDArray[np.intp]:
        """Windows that hold what the label means; weak labels leave it open where in the clip that is."""
        if self.kind.startswith("mixed") and int(self.kind.split()[1]) < LEARNED_FROM_DB:
            return np.empty(0, np.intp)
        track = self.track
        if self.clip.label == BACKGROUND:
            return np.arange(len(track.rms))
        if self.clip.label in IMPULSES:
            return np.flatnonzero(track.peak >= 0.35 * track.peak.max(initial=0))
        return np.flatnonzero((track.rms >= 0.1 * track.rms.max(initial=0)) & (track.rms > 0))


def fold_of(clip: Clip) -> int:
    """1 to 5 for learning, 0 for the test; by recording, whatever else is in the pack. SESA keeps its own test."""
    if clip.source == "SESA/test":
        return TEST
    number = int.from_bytes(hashlib.sha256(clip.recording.encode()).digest()[:4], "little")
    return 1 + number % FOLDS if clip.source == "SESA/train" else number % (FOLDS + 1)


def examples(clips: Sequence[Clip], embedder: Embedder, progress: Callable[[str], None]) -> Iterator[Example]:
    """Every clip in its variants, embedded."""
    backgrounds: dict[int, list[Clip]] = {}
    for clip in clips:
        if clip.label == BACKGROUND:
            backgrounds.setdefault(fold_of(clip), []).append(clip)
    for number, clip in enumerate(clips):
        fold = fold_of(clip)
        if clip.label == BACKGROUND:
            kinds = ["plain", "level"]
        else:
            kinds = ["plain", *(f"mixed {snr} dB" for snr in SNR_DB.get(clip.label, SNR_OF_OTHERS_DB))]
        for kind in kinds:

            def render(clip: Clip = clip, kind: str = kind, fold: int = fold) -> Rendering:
                waveform = read_clip(clip.path)
                random = random_of(SEED, clip.recording, clip.path.name, kind)
                if kind.startswith("mixed"):
                    return mixed_into(waveform, backgrounds[fold], float(kind.split()[1]), random)
                if clip.label == BACKGROUND:
                    return Rendering(waveform, waveform) if kind == "plain" else louder_or_softer(waveform, random)
                return as_it_is(waveform)

            yield Example(clip, fold, kind, embedder.track(f"{clip.sha256} {clip.recording} {kind} {SEED} v3", render))
        if number % 100 == 0:
            progress(f"embedded {number} of {len(clips)} clips")


@dataclass(frozen=True)
class Table:
    """Windows to learn from."""

    steps: NDArray[np.uint8]
    label: NDArray[np.intp]
    fold: NDArray[np.intp]


def table_of(found: Sequence[Example], labels: Sequence[str]) -> Table:
    """At most 12 windows of each rendering (40 of background, all of shots), seeded."""
    steps, label, fold = [], [], []
    for one in found:
        rows = one.learned_from
        most = {TARGET: len(rows), BACKGROUND: 40}.get(one.clip.label, 12)
        if len(rows) > most:
            rows = np.sort(random_of(SEED, one.clip.path.name, one.kind).choice(rows, most, replace=False))
        steps.append(one.track.steps[rows])
        label += [labels.index(one.clip.label)] * len(rows)
        fold += [one.fold] * len(rows)
    return Table(np.concatenate(steps), np.array(label), np.array(fold))


def fit(table: Table, chosen: NDArray[np.bool_], scale: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights float32 [K, 1024] and biases float32 [K] for embeddings that are ``scale`` times the steps."""
    from sklearn.linear_model import LogisticRegression

    steps, label = table.steps[chosen].astype(np.float32), table.label[chosen]
    mean, deviation = steps.mean(axis=0), np.maximum(steps.std(axis=0), 0.5)
    # Rare labels count more, but not as much as the common ones together: by the root of their number.
    share = 1 / np.sqrt(np.bincount(label, minlength=int(table.label.max()) + 1).clip(1))
    weight = share[label] * len(label) / share[label].sum()
    model = LogisticRegression(C=REGULARISATION, max_iter=100, tol=1e-3)
    model.fit((steps - mean) / deviation, label, sample_weight=weight)
    per_step = model.coef_ / deviation
    return (per_step / scale).astype(np.float32), (model.intercept_ - per_step @ mean).astype(np.float32)


def train(data: Path, yamnet: Path, cache: Path, out: Path, version: str, progress: Callable[[str], None]) -> About:
    """Train, judge and write the head. Raises GraphError, OSError."""
    import warnings

    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # an unfinished fit is regularised more
    backbone = yamnet.read_bytes()
    embedder = Embedder(backbone, cache)
    allowed, refused = split_by_licence(read_pack(data))
    clips = sorted((clip for some in allowed.values() for clip in some), key=lambda clip: clip.path)
    progress(f"{len(clips)} clips may be learned from, {len(refused)} are refused by their licence")
    found = list(examples(clips, embedder, progress))
    labels = [TARGET, *sorted({clip.label for clip in clips} - {TARGET})]
    table = table_of(found, labels)
    progress(f"{len(table.label)} windows to learn from")
    rows = tuple(read_labels(backbone, str(yamnet)).index(label) for label in audioset.GUNS)

    def head_for(chosen: NDArray[np.bool_]) -> Head:
        weights, biases = fit(table, chosen, embedder.scale)
        return Head(weights, biases, SCALE, 0, rows, ENSEMBLE_GAIN, 0.0)

    def judged(head: Head, some: Sequence[Example]) -> list[Judged]:
        vectors = [one.track.steps.astype(np.float32) * np.float32(embedder.scale) for one in some]
        return [
            Judged(one.clip.recording, head_margins(embedder.cut, head, vector)[:, 0], one.track.seconds)
            for one, vector in zip(some, vectors, strict=True)
        ]

    unseen: list[tuple[Example, Judged]] = []
    for fold in range(1, FOLDS + 1):
        held = [one for one in found if one.fold == fold]
        head = head_for((table.fold != fold) & (table.fold != TEST))
        unseen += zip(held, judged(head, held), strict=True)
        progress(f"fold {fold} of {FOLDS}")
    hits = HITS["0.24"]
    quiet = [j for one, j in unseen if one.clip.label not in {TARGET, *AMBIGUOUS} and one.kind != "level"]
    threshold = threshold_at(quiet, FALSE_ALARMS_PER_HOUR, RELEASE_BELOW, hits, HOP_S)
    head = head_for(table.fold != TEST)
    tested = [one for one in found if one.fold == TEST]
    metrics = {
        "out_of_fold": _figures(unseen, threshold),
        "test": _figures(list(zip(tested, judged(head, tested), strict=True)), threshold),
        "note": "threshold set out of fold; fold 0 and SESA's test part seen by neither weights nor threshold",
    }
    training = {
        "seed": SEED,
        "windows": len(table.label),
        "recordings": len({clip.recording for clip in clips if fold_of(clip) != TEST}),
        "clips_by_source": {s: sum(c.source == s for c in clips) for s in sorted({c.source for c in clips})},
        "clips_by_licence": {licence: len(some) for licence, some in sorted(allowed.items())},
        "refused_by_licence": len(refused),
    }
    # The offset puts the threshold at a score of a half, whatever the margin is.
    decision = Decision(threshold=0.5, release=_score(-RELEASE_BELOW), hits=HITS, certain=_score(CERTAIN_ABOVE))
    about = About(
        name="yamnet-gun-shot",
        version=version,
        labels=labels,
        roles={label: ROLES.get(label, "background") for label in labels},
        decisions={TARGET: decision},
        backbone_sha256=embedder.sha256,
        scale=SCALE,
        ensemble_label=TARGET,
        ensemble_classes=list(audioset.GUNS),
        ensemble_gain=ENSEMBLE_GAIN,
        ensemble_offset=-threshold,
        licence="Apache-2.0",
        training=training,
        metrics=metrics,
        card=card_of(version, labels, training, metrics, threshold),
    )
    save(out, about, head.weights, head.biases)
    return about


def _score(margin: float) -> float:
    """The score at a margin over the threshold."""
    return round(float(1 / (1 + np.exp(-margin / SCALE))), 3)


def _figures(pairs: Sequence[tuple[Example, Judged]], threshold: float) -> dict[str, object]:
    hits, release = HITS["0.24"], threshold - RELEASE_BELOW

    def alarms(some: list[Judged]) -> dict[str, float]:
        hours = sum(one.seconds for one in some) / 3600
        rate = false_alarms_per_hour(some, threshold, release, hits, HOP_S)
        return {"per_hour": round(rate, 2), "events": round(rate * hours), "hours": round(hours, 2)}

    shots = [one for one in pairs if one[0].clip.label == TARGET]
    kinds = sorted({one.kind for one, _ in shots})
    plain = [(one, j) for one, j in pairs if one.kind == "plain"]
    return {
        "threshold_margin": threshold,
        "recall_and_90_percent_interval": {
            kind: recall([j for one, j in shots if one.kind == kind], threshold, release, hits, HOP_S) for kind in kinds
        },
        "recordings_of_shots": len({one.clip.recording for one, _ in shots}),
        "false_alarms": {
            "ambience": alarms([j for one, j in pairs if one.clip.label == BACKGROUND]),
            "other labels": alarms([j for o, j in plain if o.clip.label not in {TARGET, BACKGROUND, *AMBIGUOUS}]),
            "explosions": alarms([j for one, j in plain if one.clip.label in AMBIGUOUS]),
        },
    }


__all__ = ["examples", "fit", "fold_of", "licence_of", "train"]
