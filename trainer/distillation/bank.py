"""The bank: log-mel spectrograms of every sound that mixes are drawn from, on disk, memory-mapped.

Each clip is rendered a few times as the field might have it (`augmentation.field`), each kind of synthesised sound
many times; waveforms are at a peak of 1. Mixing is done on the spectrograms (`mixes`), which costs a tenth of mixing
waveforms: what matters is that teacher and student hear the same.

    bank = make_bank(folder, clips, BankPlan(), progress)
    bank.frames[one.start : one.stop] for one in bank.sounds
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ, log_mel
from trainer.augmentation.field import in_the_field
from trainer.augmentation.mixing import random_of, read_clip
from trainer.data.clip import Clip
from trainer.data.labels import SHOT, SPEECH
from trainer.learning.made import SHOTS_M
from trainer.processes import Failure, over_processes

LONGEST_S = 12.0
"""Of a rendering: a random piece of what is longer."""
SHORTEST_S = 1.1


@dataclass(frozen=True)
class BankPlan:
    """What is rendered, and how often."""

    seed: int = 1
    of_clips: int = 5
    """Renderings of each clip; the first is the clip as it is."""
    of_shots: int = 30
    """Renderings of each clip of a shot: there are few."""
    of_synthetic: int = 80
    """Draws of each kind of synthesised sound."""
    of_synthetic_shots: int = 600
    """Draws of each kind of gun."""
    of_voices: int = 320
    """Draws of each kind of synthesised voices."""
    of_clips_with_voices: int = 20
    """Renderings of each clip in which the teacher hears speech: there are few that may ship."""
    synthetic_s: float = 6.0


@dataclass(frozen=True)
class BankedSound:
    """One rendering: ``frames[start:stop]`` of the bank."""

    label: str
    start: int
    stop: int
    synthetic: bool
    recording: str
    voice: bool = False
    """Whether somebody is heard: made, or in a recording."""


@dataclass(frozen=True)
class Bank:
    frames: NDArray[np.float16]
    """Log-mel, float16 [n, 64], memory-mapped."""
    sounds: tuple[BankedSound, ...]
    digest: str
    """Of the plan, of all clips and of the kinds of made sound: another bank has another."""

    @property
    def hours(self) -> float:
        return len(self.frames) / 360_000


@dataclass(frozen=True)
class _Task:
    label: str
    recording: str
    number: int
    seed: int
    path: Path | None = None
    synthetic: str = ""
    seconds: float = 0.0
    voice: bool = False

    def render(self) -> NDArray[np.float32]:
        random = random_of(self.seed, self.label, self.recording, self.synthetic, self.number)
        if self.path is not None:
            waveform = read_clip(self.path)
            if self.number:
                waveform = in_the_field(waveform, random, frozenset() if self.label == SHOT else frozenset({"burst"}))
        elif self.voice:
            waveform = _voices(self.synthetic, self.seconds, random)
        elif self.label == SHOT:
            waveform = _synthetic_shots(self.synthetic, self.seconds, random)
        else:
            from trainer.synthesis.sounds import SOUNDS

            waveform = SOUNDS[self.synthetic].make(self.seconds, SAMPLE_RATE_HZ, random).astype(np.float32)
        waveform = _piece(waveform, random)
        return waveform / np.float32(max(float(np.abs(waveform).max()), 1e-6))


def make_bank(
    folder: Path, clips: Sequence[Clip], plan: BankPlan, progress: Callable[[int, int], None],
    processes: int | None = 2, with_voices: Collection[Clip] = (),
) -> Bank:  # fmt: skip
    """Render the bank into ``folder``, or open the one that is there if it was made of the same clips and kinds of made
    sound by the same plan.

    ``with_voices``: those among ``clips`` in which speech is heard. Raises OSError: SpeechError among them, where the
    program that makes voices is missing.
    """
    voiced = {clip.path for clip in with_voices}
    heard = sorted((c.sha256, c.label, c.recording, c.path in voiced) for c in clips)
    text = json.dumps([asdict(plan), heard, _made()])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = folder / f"bank-{digest}"
    if (folder / "sounds.json").exists():
        return open_bank(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sounds: list[BankedSound] = []
    at = 0
    with (folder / "frames.f2").open("wb") as file:
        tasks = list(_tasks(clips, plan, voiced))
        for number, (task, frames) in enumerate(zip(tasks, _rendered(tasks, processes), strict=True)):
            file.write(frames.tobytes())
            told = task.recording or task.synthetic
            sounds.append(BankedSound(task.label, at, at + len(frames), task.path is None, told, task.voice))
            at += len(frames)
            progress(number + 1, len(tasks))
    (folder / "sounds.json").write_text(json.dumps([asdict(one) for one in sounds]))
    return open_bank(folder)


def open_bank(folder: Path) -> Bank:
    """The bank in ``folder``. Raises OSError, ValueError."""
    sounds = tuple(BankedSound(**one) for one in json.loads((folder / "sounds.json").read_text()))
    frames = np.memmap(folder / "frames.f2", np.float16, "r").reshape(-1, 64)
    if sounds[-1].stop != len(frames):
        raise ValueError(f"{folder} is cut short: remove it and start again")
    return Bank(frames, sounds, folder.name.removeprefix("bank-"))


def _made() -> list[list[str]]:
    """Each kind of made sound, and its label."""
    from trainer.synthesis.guns import KINDS
    from trainer.synthesis.sounds import SOUNDS
    from trainer.synthesis.speech import VOICES

    return [*([name, sound.label] for name, sound in SOUNDS.items()), *([name, SHOT] for name in KINDS),
            *([name, SPEECH] for name in VOICES)]  # fmt: skip


def _tasks(clips: Iterable[Clip], plan: BankPlan, voiced: Collection[Path]) -> Iterator[_Task]:
    from trainer.synthesis.guns import KINDS
    from trainer.synthesis.sounds import SOUNDS
    from trainer.synthesis.speech import VOICES

    for name in VOICES:  # first: if the program is missing, that is said at once
        for number in range(plan.of_voices):
            yield _Task(SPEECH, "", number, plan.seed, synthetic=name, seconds=plan.synthetic_s, voice=True)
    for clip in clips:
        voice = clip.path in voiced and clip.label != SHOT
        times = plan.of_shots if clip.label == SHOT else plan.of_clips_with_voices if voice else plan.of_clips
        for number in range(times):
            told = f"{clip.recording}/{clip.path.name}"
            yield _Task(clip.label, told, number, plan.seed, clip.path, voice=voice)
    for name, sound in SOUNDS.items():
        for number in range(plan.of_synthetic):
            yield _Task(sound.label, "", number, plan.seed, synthetic=name, seconds=plan.synthetic_s)
    for kind in KINDS:
        for number in range(plan.of_synthetic_shots):
            yield _Task(SHOT, "", number, plan.seed, synthetic=kind, seconds=plan.synthetic_s / 2)


def _rendered(tasks: Sequence[_Task], processes: int | None) -> Iterator[NDArray[np.float16]]:
    for _, outcome in over_processes(_frames, tasks, processes):
        if isinstance(outcome, Failure):
            raise outcome.error
        yield outcome


def _frames(task: _Task) -> NDArray[np.float16]:
    return log_mel(task.render()).astype(np.float16)


def _piece(waveform: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    shortest, longest = round(SHORTEST_S * SAMPLE_RATE_HZ), round(LONGEST_S * SAMPLE_RATE_HZ)
    if len(waveform) < shortest:
        before = int(random.integers(shortest - len(waveform) + 1))
        return np.pad(waveform, (before, shortest - len(waveform) - before))
    start = int(random.integers(max(1, len(waveform) - longest + 1)))
    return waveform[start : start + longest]


def _voices(kind: str, seconds: float, random: np.random.Generator) -> NDArray[np.float32]:
    from trainer.synthesis.speech import VOICES

    waveform = VOICES[kind](seconds, SAMPLE_RATE_HZ, random).astype(np.float32)
    return in_the_field(waveform, random, frozenset({"burst"}))


def _synthetic_shots(kind: str, seconds: float, random: np.random.Generator) -> NDArray[np.float32]:
    from trainer.synthesis.guns import drawn_shot

    distance_m = float(np.exp(random.uniform(*np.log(SHOTS_M))))
    shot = drawn_shot(kind, distance_m, SAMPLE_RATE_HZ, random)
    waveform = np.zeros(max(len(shot), round(seconds * SAMPLE_RATE_HZ)), np.float32)
    at = int(random.integers(len(waveform) - len(shot) + 1))
    waveform[at : at + len(shot)] = shot
    return in_the_field(waveform, random, frozenset({"distance", "forest"}))
