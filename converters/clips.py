"""Sound to compare a model with its conversion: windows of real clips, or made from formulas where there are none."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from converters.golden import waveforms
from edge.audio.frontend import FrontEnd
from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES, log_mel

FORMATS = (".flac", ".wav", ".ogg", ".mp3")
LONGEST_S = 30
"""What is read of a clip at most."""
MOST_CLIPS = 100
_HOP_S = 0.48
_MADE_LEVELS_DB = (0, -10, -20, -30, -40)


class ClipsError(ValueError):
    """The folder of clips cannot be used. The text is for a person."""


@dataclass(frozen=True)
class Sound:
    """One window."""

    waveform: NDArray[np.float32]
    """float32 [15600] at 16 kHz, full scale ±1."""
    patch: NDArray[np.float32]
    """Its log-mel, float32 [96, 64]."""
    label: str
    """Of its clip: the manifest's, else the name of its folder; empty where the sound was made."""
    clip: str


@dataclass(frozen=True)
class Clips:
    """Windows, quiet and loud, and what could not be read."""

    sounds: tuple[Sound, ...]
    unreadable: tuple[str, ...] = ()
    is_real: bool = True

    def halves(self) -> "tuple[Clips, Clips]":
        """To calibrate with, and to judge with: no clip is in both, unless there is only one."""
        names = sorted({sound.clip for sound in self.sounds})
        first = set(names[::2])
        parts = [tuple(s for s in self.sounds if (s.clip in first) is wanted) for wanted in (True, False)]
        one, other = (part or self.sounds for part in parts)
        return Clips(one, self.unreadable, self.is_real), Clips(other, self.unreadable, self.is_real)

    def patches(self) -> NDArray[np.float32]:
        """float32 [n, 96, 64]."""
        return np.stack([sound.patch for sound in self.sounds])

    def __str__(self) -> str:
        what = "windows of clips" if self.is_real else "windows of made sound (name real recordings with --clips)"
        lost = f", {len(self.unreadable)} unreadable: {', '.join(self.unreadable[:3])}" if self.unreadable else ""
        return f"{len(self.sounds)} {what}{lost}"


def read_clips(folder: Path | None, most: int = MOST_CLIPS) -> Clips:
    """The first, the loudest and the last window of at most ``most`` clips, spread evenly over ``folder``.

    Without a folder, the sound of the golden vectors at five levels.

    Raises:
        ClipsError: no such folder, or nothing in it can be read.
    """
    if folder is None:
        return made()
    if not folder.is_dir():
        raise ClipsError(f"{folder} is no folder of clips")
    labels = _labels(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS and path.is_file())
    chosen = [paths[i * len(paths) // most] for i in range(most)] if len(paths) > most else paths
    sounds: list[Sound] = []
    unreadable: list[str] = []
    for path in chosen:
        name = path.relative_to(folder).as_posix()
        try:
            sounds += _windows(path, labels.get(name, path.parent.name), name)
        except (OSError, soundfile.SoundFileError) as error:
            unreadable.append(f"{name} ({error})" if not unreadable else name)
    if not sounds:
        wanted = ", ".join(FORMATS)
        raise ClipsError(f"{folder} holds no clips that can be read ({wanted}); {len(unreadable)} were tried")
    return Clips(tuple(sounds), tuple(unreadable))


def made() -> Clips:
    """The golden vectors' sound from full level to 40 dB below it."""
    sounds = []
    for number, steps in enumerate(waveforms()):
        for level_db in _MADE_LEVELS_DB:
            waveform = (steps.astype(np.float32) / 32768 * 10 ** (level_db / 20)).astype(np.float32)
            sounds.append(Sound(waveform, log_mel(waveform), "", f"made {number}"))
    return Clips(tuple(sounds), is_real=False)


def _labels(folder: Path) -> dict[str, str]:
    try:
        with (folder / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
            return {row["path"]: row["label"] for row in csv.DictReader(file) if row.get("path") and row.get("label")}
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return {}


def _windows(path: Path, label: str, name: str) -> Iterator[Sound]:
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        frames = file.read(LONGEST_S * rate, dtype="float32", always_2d=True).mean(axis=1)
    missing = -(-WINDOW_SAMPLES * rate // SAMPLE_RATE_HZ) + rate // 100 - len(frames)
    if missing > 0:
        frames = np.pad(frames, (0, missing))
    front_end = FrontEnd(rate, _HOP_S)
    found = front_end.push(0, np.nan_to_num(frames).astype(np.float32)) + front_end.finish()
    for row in _first_loudest_last([float(np.square(window.waveform).sum()) for window in found]):
        yield Sound(found[row].waveform, found[row].patch, label, name)


def _first_loudest_last(energies: Sequence[float]) -> list[int]:
    if not energies:
        return []
    return sorted({0, int(np.argmax(energies)), len(energies) - 1})
