"""Judge a model file: on continuous sound, by events, through the device's own detector.

    evaluation = evaluate(JudgedFile.read(path), sounds)
    evaluation.metrics.recall_at(3).recalls.all.value

Figures at the model's own thresholds come from the detector as it flies, with its search for onsets; recall at a
stated rate of false alarms, and the curves, from the same windows' scores through its event logic
(`trainer.judging.sweep`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.detection import model_file
from edge.detection.model import Model, load, load_bytes
from edge.detection.site import rules_of
from edge.settings import DetectionSettings
from trainer.judging.classes import judge_classes
from trainer.judging.hardest import hardest_false_alarms, hardest_misses
from trainer.judging.hearing import Listened, listen_to_all
from trainer.judging.matching import TOLERANCE_S, Matched, match
from trainer.judging.metrics import (
    RATES_PER_HOUR,
    AtRate,
    Curves,
    Dataset,
    JudgedModel,
    Metrics,
    Point,
    Quantisation,
    Shipped,
    rate_name,
)
from trainer.judging.sounds import SoundError, Sounds
from trainer.judging.sweep import Outcome, Sweep, score_of
from trainer.judging.tally import SHIPPED, by_recording, false_alarms, false_alarms_by_label, recalls
from trainer.judging.windows import judge_windows

HARDEST = 10
PROMISED = "promised_false_alarms_per_hour"
"""Where a model file's ``metrics`` say the rate that its threshold was chosen for."""


@dataclass(frozen=True)
class JudgedFile:
    """A model, and what its file says beside the network."""

    model: Model
    graph_sha256: str
    size_bytes: int
    data: bytes = b""
    """All of it, for workers in other processes."""

    @classmethod
    def read(cls, path: Path) -> "JudgedFile":
        """Verify and load a model file, or a bare waveform-in YAMNet. Raises ModelFileError."""
        model = load(path)
        return cls._of(model, model_file.read_bytes(path))

    @classmethod
    def of_bytes(cls, data: bytes) -> "JudgedFile":
        """A model that was just built. Raises ModelFileError."""
        return cls._of(load_bytes(data), data)

    @classmethod
    def _of(cls, model: Model, data: bytes) -> "JudgedFile":
        graph = model_file.parse(data).graph if model_file.has_manifest(data) else data
        return cls(model, hashlib.sha256(graph).hexdigest(), len(data), data)


@dataclass(frozen=True)
class Evaluation:
    """What came out, and what it came from."""

    metrics: Metrics
    listened: Sequence[Listened]
    """In the order of the sounds, for whoever wants to look closer."""
    outcomes: Mapping[str, Sequence[Matched]]
    """What was found of each sound, by the name of a rate (``"3"``), and `SHIPPED`."""


def evaluate(
    file: JudgedFile,
    sounds: Sounds,
    settings: DetectionSettings | None = None,
    target: str | None = None,
    tolerance_s: float = TOLERANCE_S,
    rates: Sequence[float] = RATES_PER_HOUR,
    promised_per_hour: float | None = None,
    progress: Callable[[float], None] | None = None,
    processes: int | None = 1,
) -> Evaluation:
    """Judge one alert label of a model.

    ``settings``: as on a device; else its defaults, at the hop that the model was tuned at. ``target``: else the
    model's first alert label. ``promised_per_hour``: else what the model file says. ``progress`` is called with the
    seconds of sound heard. ``processes``: None is one per core.

    Raises:
        SoundError: no sounds, or a target that the model does not alert on.
        SourceError: a sound cannot be read to its end.
    """
    target, settings = _asked(file, sounds, settings, target)
    listened = list(listen_to_all(file.model, file.data, sounds.sounds, settings, target, progress, processes))
    return evaluate_heard(file, sounds, listened, settings, target, tolerance_s, rates, promised_per_hour)


def evaluate_heard(
    file: JudgedFile,
    sounds: Sounds,
    listened: Sequence[Listened],
    settings: DetectionSettings | None = None,
    target: str | None = None,
    tolerance_s: float = TOLERANCE_S,
    rates: Sequence[float] = RATES_PER_HOUR,
    promised_per_hour: float | None = None,
) -> Evaluation:
    """`evaluate` of what was heard already: ``listened`` has one entry a sound, in the order of ``sounds``.

    Cross-validation listens with another model for each fold, and all of them have the labels and decisions of
    ``file``. Raises SoundError.
    """
    target, settings = _asked(file, sounds, settings, target)
    manifest = file.model.manifest
    column = manifest.labels.index(target)
    rule = next(rule for rule in rules_of(file.model, settings) if rule.label == target)
    sweep = Sweep(listened, column, rule, settings, manifest.window_s, tolerance_s)
    shipped = [_match(one, settings.merge_s, tolerance_s) for one in listened]
    at_rates = {rate: sweep.at_rate(rate) for rate in rates}
    if promised_per_hour is None:
        stated = manifest.metrics.get(PROMISED)
        promised_per_hour = float(stated) if isinstance(stated, int | float) else None

    pairs = list(zip(listened, shipped, strict=True))
    rated = [pair for pair, counts in zip(pairs, sweep.rated, strict=True) if counts]
    calibrated, det = judge_windows(listened, sweep.rated, column, manifest.window_s)
    classes, confusion = judge_classes(listened, manifest, target)
    matched = {rate_name(rate): outcome.matched for rate, outcome in at_rates.items()}
    outcomes: dict[str, Sequence[Matched]] = {**matched, SHIPPED: shipped}
    found_by_recording = by_recording(listened, sweep.rated, outcomes)
    metrics = Metrics(
        model=JudgedModel(
            name=manifest.name,
            version=manifest.version,
            graph_sha256=file.graph_sha256,
            size_bytes=file.size_bytes,
            target=target,
            hop_s=settings.hop_s,
            hits=rule.required_hits,
        ),
        dataset=Dataset(
            name=sounds.name,
            version=sounds.version,
            sha256=sounds.sha256(),
            sounds=len(listened),
            recordings=len(found_by_recording),
            bursts=sum(len(one.bursts) for one in shipped),
            hours=sum(one.seconds for one in listened) / 3600,
            rated_hours=sweep.rated_hours,
        ),
        tolerance_s=tolerance_s,
        at_rates=[_at_rate(rate, outcome, listened) for rate, outcome in at_rates.items()],
        shipped=Shipped(
            threshold=rule.threshold,
            promised_per_hour=promised_per_hour,
            false_alarms=false_alarms(rated),
            by_label=false_alarms_by_label(pairs),
            beside_shots=false_alarms([pair for pair in pairs if pair[0].sound.shots]),
            recalls=recalls(pairs),
        ),
        curves=Curves(points=[_point(outcome) for outcome in sweep.curve()], det=det),
        calibration=calibrated,
        classes=classes,
        confusion=confusion,
        false_alarms=hardest_false_alarms(rated, column, rule.threshold, HARDEST),
        misses=hardest_misses(pairs, column, manifest.window_s, HARDEST),
        recordings=found_by_recording,
        notes=_notes(listened, sweep, rates),
    )
    return Evaluation(metrics, listened, outcomes)


def _asked(
    file: JudgedFile, sounds: Sounds, settings: DetectionSettings | None, target: str | None
) -> tuple[str, DetectionSettings]:
    manifest = file.model.manifest
    target = target or manifest.alert_labels[0]
    if target not in manifest.alert_labels:
        raise SoundError(f"{manifest.name} does not alert on {target!r}, only on {', '.join(manifest.alert_labels)}")
    if not sounds.sounds:
        raise SoundError(f"{sounds.name} holds no sounds: there is nothing to judge a model on")
    return target, settings or DetectionSettings(hop_s=manifest.hop_s)


def quantisation(int8: Metrics, float32: Metrics, per_hour: float = 3.0) -> Quantisation:
    """What int8 costs, from the same network's metrics in float32. Raises ValueError: not the same data."""
    if int8.dataset.sha256 != float32.dataset.sha256:
        raise ValueError(f"int8 was judged on {int8.dataset.name}, float32 on {float32.dataset.name}")
    return Quantisation(
        per_hour=per_hour,
        recall_float=float32.recall_at(per_hour).recalls.all.value,
        recall_int8=int8.recall_at(per_hour).recalls.all.value,
    )


def _match(one: Listened, merge_s: float, tolerance_s: float) -> Matched:
    onsets = [event.onset_s for event in one.events]
    return match(onsets, one.sound.onsets, merge_s, tolerance_s, one.sound.somewhere_s)


def _at_rate(rate: float, outcome: Outcome, listened: Sequence[Listened]) -> AtRate:
    return AtRate(
        per_hour=rate,
        reached_per_hour=outcome.per_hour,
        threshold=score_of(outcome.margin),
        recalls=recalls(list(zip(listened, outcome.matched, strict=True))),
    )


def _point(outcome: Outcome) -> Point:
    return Point(
        threshold=score_of(outcome.margin),
        per_hour=outcome.per_hour,
        recall=outcome.recall,
        precision=outcome.precision,
    )


def _notes(listened: Sequence[Listened], sweep: Sweep, rates: Sequence[float]) -> list[str]:
    notes = []
    lowest = min(rates)
    if sweep.rated_hours * lowest < 3:
        allowed = int(sweep.rated_hours * lowest)
        notes.append(
            f"{sweep.rated_hours:.2f} rated hours allow {allowed} false alarm{'' if allowed == 1 else 's'} at "
            f"{lowest:g} per hour: recall there rests on little."
        )
    if any(sweep.rated[i] and one.sound.shots for i, one in enumerate(listened)):
        notes.append("Sounds that hold shots make the rate of false alarms too.")
    if any(one.sound.somewhere_s for one in listened):
        notes.append("Of some shots nobody noted when they fall: any event within their recording counts as found.")
    return notes
