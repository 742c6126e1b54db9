"""A benchmark of one's own: held-out recordings over held-out ambience, as sounds that go on before and after.

    specs = specs_of(clips)                          # of one part of the split; `trainer.data.split`
    sounds = write_sounds(specs, Path("benchmark"), "benchmark")
    evaluate(JudgedFile.read(path), sounds)

Shots come at 20, 10, 5 and 0 dB over their bed (`trainer.augmentation.mixing`), other sounds at 15 dB, ambience as it
is; at most two clips of a recording. False alarms are rated on the sounds of the field. City machines, what sounds like
a shot, and ambience are told of by themselves.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.digest import sha256_of
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT
from trainer.data.split import part_of
from trainer.judging.sounds import LEAD_S as OWN_NOISE_S
from trainer.judging.sounds import LISTED, Shot, Sound, SoundError, Sounds, read_sounds, write_list
from trainer.learning.learner import AMBIGUOUS, CITY
from trainer.learning.renderings import LEAD_S, TAIL_S, Spec, judged, judged_at, render
from trainer.processes import Failure, over_processes
from trainer.progress import Progress, silent

FORMAT = 1
"""Counted up when the same specs give other files."""
FOLDER = "sounds"

Part = Literal["test", "train", "all"]
Group = Literal["shots", "field", "city", "like shots", "ambience"]
RATED: tuple[Group, ...] = ("field", "ambience", "city", "like shots")
"""What false alarms are rated on: the first of these that there is."""

FEW = 24
"""Sounds are rendered sooner than workers are started."""


@dataclass(frozen=True)
class _Written:
    frames: int
    sha256: str


def in_part(clips: Iterable[Clip], part: Part) -> list[Clip]:
    """Clips of ``test``, of ``train`` (all that is learned from: training and validation), or all."""
    return [clip for clip in clips if part == "all" or (part_of(clip.recording) == "test") == (part == "test")]


def group_of(label: str) -> Group:
    """What a sound with this label is in a table of false alarms."""
    if label == SHOT:
        return "shots"
    if label == BACKGROUND:
        return "ambience"
    if label in CITY:
        return "city"
    return "like shots" if label in AMBIGUOUS else "field"


def specs_of(clips: Sequence[Clip], seed: int = 1) -> list[Spec]:
    """What is rendered of ``clips``, in order, over the ambience among them. Where there is none, each sound comes
    once, as it was recorded: then nobody knows its ratio."""
    folds = {clip.recording: 0 for clip in clips}
    beds = [clip for clip in clips if clip.label == BACKGROUND]
    return once_without_bed(judged(clips, {0: beds}, folds, seed))


def once_without_bed(specs: Iterable[Spec]) -> list[Spec]:
    """Without those that would be the same sound at a ratio that it does not have."""
    return [
        spec
        for spec in specs
        if spec.beds or spec.label == BACKGROUND or spec.snr_db == judged_at(spec.label)[0]
    ]  # fmt: skip


def digest_of(specs: Iterable[Spec]) -> str:
    """SHA-256 (hex) over all that the files depend on, in any order."""
    keys = sorted(spec.key for spec in specs)
    return hashlib.sha256("\n".join([f"format {FORMAT}", *keys]).encode()).hexdigest()


def write_sounds(
    specs: Sequence[Spec],
    folder: Path,
    name: str,
    processes: int | None = None,
    progress: Progress = silent,
) -> Sounds:
    """Render ``specs`` into ``folder`` as FLAC at 16 kHz, and list them in ``sounds.json``.

    Cut off, it goes on: files that are there are whole. The list comes last, and what is listed stays as it is.

    Raises:
        SoundError: nothing to judge on, a clip cannot be read, or the folder holds other sounds already.
        OSError: no space, no permission.
    """
    if not any(spec.label == SHOT for spec in specs):
        raise SoundError(
            f"there is no recording labelled {SHOT!r} to judge on; `ecosight-trainer data list` shows what there is"
        )
    version = digest_of(specs)[:12]
    if (folder / LISTED).exists():
        there = read_sounds(folder)
        if (there.name, there.version) != (name, version):
            raise SoundError(f"{folder} holds {there.name} {there.version} already, which stays as it is; name another")
        return there
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    groups = {group_of(spec.label) for spec in specs}
    rated = next((group for group in RATED if group in groups), None)
    if processes is None and len(specs) < FEW:
        processes = 1
    sounds = []
    for number, (spec, outcome) in enumerate(over_processes(partial(_write, folder), specs, processes)):
        if isinstance(outcome, Failure):
            if isinstance(outcome.error, OSError) and outcome.error.errno is not None:
                raise outcome.error
            raise SoundError(f"{spec.path}: {outcome.error or type(outcome.error).__name__}") from outcome.error
        sounds.append(_sound(spec, folder, outcome, group_of(spec.label) == rated))
        progress("rendering", number + 1, len(specs))
    return write_list(folder, name, version, sounds)


def _name(spec: Spec) -> str:
    """Of its file: what a label looks like is checked where it comes in, so it is fit for one."""
    ratio = f"_{spec.snr_db:g}dB" if spec.beds and spec.label != BACKGROUND else ""
    return f"{spec.label}_{hashlib.sha256(spec.key.encode()).hexdigest()[:12]}{ratio}.flac"


def _write(folder: Path, spec: Spec) -> _Written:
    """In a worker: the file of a spec, whole or not at all."""
    import soundfile

    path = folder / FOLDER / _name(spec)
    if not path.exists():
        temporary = path.with_name(f".{os.getpid()}.part")
        # By way of memory: libsndfile does not say that a disk is full.
        encoded = io.BytesIO()
        soundfile.write(encoded, np.clip(render(spec).mixed, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
        try:
            temporary.write_bytes(encoded.getvalue())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return _Written(soundfile.info(path).frames, sha256_of(path))


def _sound(spec: Spec, folder: Path, written: _Written, rated: bool) -> Sound:
    path, shot = folder / FOLDER / _name(spec), spec.label == SHOT
    seconds = written.frames / SAMPLE_RATE_HZ
    over_bed = bool(spec.beds) and spec.label != BACKGROUND
    if over_bed:
        # The labels are weak: the shot is somewhere in the clip, which begins after so much of its bed.
        onset, somewhere, ahead = LEAD_S, seconds - LEAD_S - TAIL_S, 0.0
    else:
        onset, somewhere, ahead = OWN_NOISE_S, seconds, OWN_NOISE_S
    ratio = spec.snr_db if over_bed else None
    return Sound(
        recording=spec.recording,
        label=spec.label,
        shots=(Shot(onset),) if shot else (),
        snr_db=ratio if shot else None,
        path=path,
        name=path.name,
        somewhere_s=max(somewhere, 1e-3) if shot else 0.0,
        lead_s=ahead if shot else 0.0,
        rated=rated and not shot,
        sha256=written.sha256,
    )
