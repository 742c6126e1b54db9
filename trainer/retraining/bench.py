"""What a new model is judged on: the test part, or, where that holds too little, everything out of fold."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from edge.settings import DetectionSettings
from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.judging.benchmark import digest_of as digest_of_specs
from trainer.judging.benchmark import specs_of, write_sounds
from trainer.judging.evaluate import JudgedFile, evaluate_heard
from trainer.judging.hearing import Listened, listen_to_all, seconds_of
from trainer.judging.metrics import Metrics
from trainer.judging.sounds import SoundError, Sounds
from trainer.learning.learner import of_the_field
from trainer.retraining.crossfit import folds_of, judged_specs
from trainer.retraining.kept import Kept, digest_of
from trainer.retraining.material import Material
from trainer.retraining.request import Request
from trainer.retraining.telling import Telling

FEWEST = 5
"""Recordings of shots, and of the field's other sounds, that the test part must hold to be judged on."""
WORTH_WORKERS_S = 600.0
"""Of sound; less is heard sooner in one process."""


@dataclass(frozen=True)
class Bench:
    """Sounds, and who may judge on each."""

    sounds: Sounds
    folds: tuple[int | None, ...]
    """Of each sound, the fold whose classifier did not learn from its recording; None: nobody did."""

    @property
    def out_of_fold(self) -> bool:
        return any(fold is not None for fold in self.folds)


def too_few(tested: Sequence[Clip]) -> str:
    """Why the test part alone cannot be judged on; empty where it can."""
    shots = {clip.recording for clip in tested if clip.label == SHOT}
    others = {clip.recording for clip in tested if of_the_field(clip.label)}
    if len(shots) >= FEWEST and len(others) >= FEWEST:
        return ""
    return (
        f"the test part holds {len(shots)} recordings of shots and {len(others)} of other sounds of the field, fewer "
        f"than {FEWEST}: everything is judged on, each recording by a head that did not learn from it, and what ships "
        "is a head that learned from all. The threshold was set on the same recordings, so the figures flatter; more "
        "recordings give honest ones"
    )


def bench_of(material: Material, request: Request, telling: Telling) -> Bench:
    """Render it, or open what was rendered of the same recordings.

    Raises:
        SoundError: there is no shot to judge on, or a clip cannot be read.
        OSError: no space.
    """
    why = too_few(material.tested)
    specs = specs_of(material.tested, request.seed)
    if why:
        telling.note(why)
        specs = [*judged_specs(material.learned, request.seed), *specs]
    folder = request.work / f"sounds-{digest_of_specs(specs)[:16]}"
    name = "everything, out of fold" if why else "test part"
    with telling.step(f"{len(specs)} sounds to judge on"):
        try:
            sounds = write_sounds(specs, folder, name, request.processes, telling.progress)
        except SoundError:
            if not folder.exists():
                raise
            # What lies there is not as it was listed: made again.
            shutil.rmtree(folder)
            sounds = write_sounds(specs, folder, name, request.processes, telling.progress)
    for other in request.work.glob("sounds-*"):
        if other != folder:
            shutil.rmtree(other)
    folds = folds_of(material.learned) if why else {}
    return Bench(sounds, tuple(folds.get(sound.recording) for sound in sounds))


def judge(
    model: bytes, without: Sequence[bytes], bench: Bench, request: Request, kept: Kept, telling: Telling
) -> Metrics:
    """How good ``model`` is, by the device's detector. ``without``: the same model for each fold, without it; none
    where nothing is judged out of fold.

    Raises ModelFileError, SourceError, SoundError, OSError.
    """
    key = digest_of([*(hash_of(one) for one in (model, *without)), bench.sounds.sha256(), str(bench.folds)])

    def listen() -> str:
        file = JudgedFile.of_bytes(model)
        manifest = file.model.manifest
        target, settings = manifest.alert_labels[0], DetectionSettings(hop_s=manifest.hop_s)
        total_s = sum(map(seconds_of, bench.sounds))
        processes = request.processes or (1 if total_s < WORTH_WORKERS_S else None)
        heard: dict[int, Listened] = {}
        done_s = 0.0
        with telling.step(f"listening to {total_s / 60:.0f} minutes"):
            for fold in dict.fromkeys(bench.folds):
                by = file if fold is None or not without else JudgedFile.of_bytes(without[fold])
                numbers = [number for number, one in enumerate(bench.folds) if one == fold]
                some = [bench.sounds.sounds[number] for number in numbers]
                for number, listened in zip(
                    numbers, listen_to_all(by.model, by.data, some, settings, target, None, processes), strict=True
                ):
                    heard[number] = listened
                    done_s += listened.seconds
                    telling.progress("listening", int(done_s), int(total_s))
        in_order = [heard[number] for number in range(len(bench.folds))]
        return evaluate_heard(file, bench.sounds, in_order, settings, target).metrics.model_dump_json()

    return Metrics.model_validate_json(kept.text("metrics", key, listen))


def hash_of(content: bytes) -> str:
    """SHA-256 (hex)."""
    return sha256(content).hexdigest()
