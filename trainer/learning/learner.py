"""From specs to a head that knows what it can: cross-fitted over folds, its threshold set on what it has not heard.

table = table_of(specs, folds, embedder, folder)              # windows to learn from
fitted = learn(table, recipe)                                 # one classifier without each fold, and one on all
heard = hear(judged_specs, folds, fitted, embedder)           # margins of whole clips, each by who never heard it
decision = decide(heard)                                      # threshold and hits, on events
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation.mixing import random_of
from trainer.data.labels import BACKGROUND, SHOT
from trainer.embedding.embedder import Embedder
from trainer.embedding.track import Job
from trainer.judging.events import Judged, confirmed, false_alarms_per_hour, threshold_at
from trainer.learning.perceptron import Classifier, Recipe, balance, fit, margins
from trainer.learning.renderings import Spec, render
from trainer.learning.windows import chosen_for
from trainer.processes import Failure, over_processes
from trainer.progress import Progress

FOLDS = 4
HOP_S = 0.24
RELEASE_BELOW = 2.0
"""Margin between threshold and release."""
RULES = ((2, 2.2), (2, 1.5), (2, 1.0), (2, 0.5), (1, 2.2))
"""Required hits, and the margin over the threshold from which one window is enough: from the surest to the fastest."""
SAME_SHOT_S = 1.0
"""Where rules tell a clip's first event further apart, they tell of different shots."""
SPARED = 0.02
"""Of recall that a faster rule may cost, in the mean over the rates `AROUND` the promised one: at a single rate a few
events decide."""
AROUND = (3.0, 1.0, 1 / 3)
AMBIGUOUS = frozenset({"explosion", "thunderstorm"})
"""Neither shot nor false alarm; reported by themselves."""
NEUTRAL = frozenset({"explosion"})
"""Labels that do not count against a shot. With explosions as rivals, a head learns how the shots of one collection
differ from its explosions, and finds fewer of other guns (docs/adr/0014); and an explosion is worth a look, too."""
CITY = frozenset({
    "engine", "washing_machine", "vacuum_cleaner", "airplane", "train", "car_horn", "siren", "helicopter",
    "toilet_flush", "clock_alarm", "church_bells", "jackhammer",
})  # fmt: skip
"""Machines and rooms: no forest. Reported by themselves, and not what the rate is promised for."""


def of_the_field(label: str) -> bool:
    """Whether false alarms in sounds of this label make the rate that is promised."""
    return label not in {SHOT, BACKGROUND} | AMBIGUOUS | CITY


class LearningError(ValueError):
    """There is nothing that a head could be learned from. The text is for a person."""


@dataclass(frozen=True)
class Table:
    """Windows to learn from."""

    steps: Path
    """``.npy`` of uint8 [n, F], memory-mapped by who reads it."""
    labels: tuple[str, ...]
    label: NDArray[np.intp]
    """Index of each window's label, [n]."""
    fold: NDArray[np.intp]
    recordings: int

    def read(self) -> NDArray[np.uint8]:
        mapped: NDArray[np.uint8] = np.load(self.steps, mmap_mode="r", allow_pickle=False)
        return mapped


@dataclass(frozen=True)
class Fitted:
    without: tuple[Classifier, ...]
    """Without fold 0, 1…"""
    final: Classifier


@dataclass(frozen=True)
class Heard:
    """One rendering as a classifier heard it that had not learned from its recording."""

    spec: Spec
    judged: Judged
    """Margins of the target."""


@dataclass(frozen=True)
class Decided:
    """When margins are an event."""

    threshold: float
    hits: int
    recall: float
    """Of shots at all ratios, out of fold."""
    per_hour: float
    """False alarms of other sounds of the field, out of fold."""
    certain_above: float
    """Over the threshold, the margin from which one window is enough."""
    sooner_s: float = 0.0
    """So much earlier than by the surest of `RULES` are shots told, that both find; the mean."""
    recall_of_surest: float = 0.0
    """At the same rate."""

    @property
    def in_words(self) -> str:
        return (
            f"an event is {self.hits} hits, or one window {self.certain_above:g} over the threshold: shots are told "
            f"{self.sooner_s:.2f} s sooner than by the surest rule, {self.recall:.3f} of them "
            f"({self.recall_of_surest:.3f} by that one) at {self.per_hour:.1f} false alarms an hour"
        )


def table_of(
    specs: Sequence[Spec], fold_of: Mapping[str, int], embedder: Embedder, out: Path, progress: Progress
) -> Table:
    """Embed what is learned from and write it to ``out`` (``.npy``).

    Raises:
        LearningError: fewer than two labels, or no shots.
        EmbeddingError, StoreError, OSError.
    """
    labels = (SHOT, *sorted({spec.label for spec in specs} - {SHOT}))
    if not any(spec.label == SHOT for spec in specs):
        raise LearningError(
            f"there is no recording labelled {SHOT!r} to learn from; `ecosight-trainer data list` shows what there is"
        )
    if len(labels) < 2:
        raise LearningError(f"there is nothing but {SHOT!r} to learn from; add recordings of other sounds")
    jobs = (Job(f"learned {spec.key}", render, (spec,), partial(_choose, spec)) for spec in specs)
    label: list[int] = []
    fold: list[int] = []
    with out.with_suffix(".new").open("wb") as file:
        for number, (spec, track) in enumerate(zip(specs, embedder.tracks(jobs), strict=True)):
            file.write(np.ascontiguousarray(track.steps).tobytes())
            label += [labels.index(spec.label)] * len(track.steps)
            fold += [fold_of[spec.recording]] * len(track.steps)
            progress("embed", number + 1, len(specs))
    _as_npy(out, len(label), embedder.width)
    present = set(label)
    if missing := [name for number, name in enumerate(labels) if number not in present]:
        raise LearningError(f"no window holds {', '.join(missing)}: are these clips silent?")
    return Table(out, labels, np.array(label), np.array(fold), len({spec.recording for spec in specs}))


def learn(table: Table, recipe: Recipe, progress: Progress, processes: int | None = None) -> Fitted:
    """One classifier without each fold, and one on all windows."""
    found = []
    work = partial(_fit, table, recipe)
    folds = [*range(FOLDS), None]
    for number, (_, outcome) in enumerate(over_processes(work, folds, processes, _one_thread)):
        if isinstance(outcome, Failure):
            raise outcome.error
        found.append(outcome)
        progress("fit", number + 1, len(folds))
    return Fitted(tuple(found[:-1]), found[-1])


def hear(
    specs: Sequence[Spec],
    fold_of: Mapping[str, int],
    fitted: Fitted,
    embedder: Embedder,
    progress: Progress,
    labels: Sequence[str],
) -> list[Heard]:
    """Margins of ``specs``, each by the classifier without its fold. ``labels`` are those of its columns."""
    neutral = [number for number, label in enumerate(labels) if label in NEUTRAL]
    found = []
    jobs = (Job(f"judged {spec.key}", render, (spec,)) for spec in specs)
    for number, (spec, track) in enumerate(zip(specs, embedder.tracks(jobs), strict=True)):
        logits = fitted.without[fold_of[spec.recording]].logits(track.steps)
        found.append(Heard(spec, Judged(spec.recording, margins(logits, 0, neutral), track.seconds)))
        progress("hear", number + 1, len(specs))
    return found


def decide(heard: Sequence[Heard], per_hour: float, rules: Sequence[tuple[int, float]] = RULES) -> Decided:
    """The threshold for ``per_hour`` false alarms of the field's other sounds, and which of ``rules`` holds with it.

    Each rule gets the threshold that it needs for that rate. Of those with two hits the one that tells first is taken,
    unless it finds clearly fewer shots than the best; one hit only if it finds clearly more: two are surer on sounds
    that nobody thought of.
    """
    shots = [one.judged for one in heard if one.spec.label == SHOT]
    quiet = [one.judged for one in heard if of_the_field(one.spec.label)]
    ambience = [one.judged for one in heard if one.spec.label == BACKGROUND]
    # With nothing of the field to set it on, and no ambience, whatever else there is has to do.
    rest = [one.judged for one in heard if one.spec.label != SHOT]

    def told_at(rate: float, hits: int, certain_above: float) -> tuple[float, list[list[int]]]:
        how = hits, HOP_S, certain_above
        threshold = threshold_at(quiet or ambience or rest, rate, RELEASE_BELOW, *how)
        if ambience:
            # Nothing of a forest alone may sound an alarm, whatever rate is promised for its confusable sounds.
            threshold = max(threshold, threshold_at(ambience, 0.0, RELEASE_BELOW, *how))
        return threshold, [confirmed(one.margins, threshold, threshold - RELEASE_BELOW, *how) for one in shots]

    found: list[tuple[float, Decided]] = []
    surest: list[list[int]] = []
    for rule in rules:
        threshold, told = told_at(per_hour, *rule)
        around = sum(_share(told_at(per_hour * factor, *rule)[1]) for factor in AROUND) / len(AROUND)
        surest = surest or told
        gained = [then[0] - now[0] for then, now in zip(surest, told, strict=True) if then and now]
        gained = [windows for windows in gained if abs(windows) * HOP_S < SAME_SHOT_S]
        decided = Decided(
            threshold=threshold,
            hits=rule[0],
            recall=round(_share(told), 3),
            per_hour=false_alarms_per_hour(quiet, threshold, threshold - RELEASE_BELOW, rule[0], HOP_S, rule[1]),
            certain_above=rule[1],
            sooner_s=HOP_S * sum(gained) / max(1, len(gained)),
            recall_of_surest=round(_share(surest), 3),
        )
        found.append((around, decided))
    several = [one for one in found if one[1].hits > 1] or found
    best = max(around for around, _ in several)
    chosen = max((one for around, one in several if around >= best - SPARED), key=lambda one: one.sooner_s)
    for around, one in found:
        if one.hits == 1 and around > best + SPARED:
            chosen = one
    return chosen


def _share(told: Sequence[Sequence[int]]) -> float:
    """Of clips that were told of."""
    return sum(map(bool, told)) / len(told) if told else 0.0


def _choose(spec: Spec, peak: NDArray[np.float32], rms: NDArray[np.float32]) -> NDArray[np.intp]:
    random = random_of(spec.seed, spec.path.name, spec.kind, spec.number, "windows")
    # Of the plain ones of other sounds any window will do, those with an edge of the clip among them.
    whole = spec.kind == "plain" and spec.label != SHOT
    return chosen_for(BACKGROUND if whole else spec.label, peak, rms, random)


def _fit(table: Table, recipe: Recipe, without: int | None) -> Classifier:
    rows = np.arange(len(table.label)) if without is None else np.flatnonzero(table.fold != without)
    label = table.label[rows]
    missing = sorted(set(range(len(table.labels))) - set(label.tolist()))
    if missing:
        # A label whose recordings all stand in one fold: one window of it keeps its column, and says next to nothing.
        extra = np.array([int(np.flatnonzero(table.label == number)[0]) for number in missing])
        rows = np.concatenate([rows, extra])
        label = table.label[rows]
    weights = balance(label)
    weights[len(rows) - len(missing) :] = 0
    return fit(table.read(), rows, label, weights, recipe)


def _one_thread() -> None:
    """Workers side by side: each with one thread, or they wait for one another."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _as_npy(out: Path, rows: int, width: int) -> None:
    """Put a header before the bytes in ``out``'s ``.new`` and give it its name."""
    raw = out.with_suffix(".new")
    headed = out.with_suffix(".headed")
    with headed.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, header)
        with raw.open("rb") as content:
            while block := content.read(1 << 22):
                file.write(block)
    raw.unlink()
    headed.replace(out)
