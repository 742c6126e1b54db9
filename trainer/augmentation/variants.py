"""Eleven named variants of a recording, for people to listen to: what a detector should still know it by.

    augmented_audio/<class>/<name>_<variant>.wav

They are made at the recording's own rate, of its first channel, as the device hears it. Which are made, and every draw
in them, follow from the seed and from the file's content, never from its name or its place in the folder.
Training does not read them: it makes its own on the fly, of its own part (`mixing`, `field`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from trainer.augmentation.mixing import random_of
from trainer.augmentation.response import Waveform
from trainer.augmentation.vocoder import shifted, stretched

Variant = Callable[[Waveform, int, np.random.Generator], Waveform]
"""``(waveform float32 [n], rate_hz, random)`` gives float32 [m], which may go over full scale."""

ORIGINAL = "original"
SEMITONES, LOUDER = 2.0, 0.2
FAST, SLOW = 1.1, 0.9
LIGHT, MEDIUM = 0.002, 0.005
LONGEST_NAME = 180
"""Bytes of a name that are kept; file systems allow 255 for all of it."""


def noisy(waveform: Waveform, part: float, random: np.random.Generator) -> Waveform:
    """With white noise, its RMS ``part`` of the recording's peak: as audible in a quiet recording as in a loud one."""
    noise = random.standard_normal(len(waveform), dtype=np.float32)
    return waveform + np.float32(part * float(np.abs(waveform).max(initial=0))) * noise


def _stretched_and_noisy(waveform: Waveform, rate_hz: int, random: np.random.Generator) -> Waveform:
    return noisy(stretched(waveform, float(random.choice((FAST, SLOW))), rate_hz), LIGHT, random)


def _pitched_and_louder(waveform: Waveform, rate_hz: int, random: np.random.Generator) -> Waveform:
    semitones, gain = random.choice((-SEMITONES, SEMITONES)), random.choice((1 - LOUDER, 1 + LOUDER))
    return shifted(waveform, float(semitones), rate_hz) * np.float32(gain)


VARIANTS: Mapping[str, Variant] = {
    ORIGINAL: lambda waveform, rate_hz, random: waveform,
    "pitch_up": lambda waveform, rate_hz, random: shifted(waveform, SEMITONES, rate_hz),
    "pitch_down": lambda waveform, rate_hz, random: shifted(waveform, -SEMITONES, rate_hz),
    "time_stretch_fast": lambda waveform, rate_hz, random: stretched(waveform, FAST, rate_hz),
    "time_stretch_slow": lambda waveform, rate_hz, random: stretched(waveform, SLOW, rate_hz),
    "noise_light": lambda waveform, rate_hz, random: noisy(waveform, LIGHT, random),
    "noise_medium": lambda waveform, rate_hz, random: noisy(waveform, MEDIUM, random),
    "volume_up": lambda waveform, rate_hz, random: waveform * np.float32(1 + LOUDER),
    "volume_down": lambda waveform, rate_hz, random: waveform * np.float32(1 - LOUDER),
    "combined_1": _stretched_and_noisy,
    "combined_2": _pitched_and_louder,
}
BESIDE = len(VARIANTS) - 1


def chosen(seed: int, sha256: str, count: int) -> list[str]:
    """The original and ``count`` others, in the order of `VARIANTS`, drawn by the seed and the file's content."""
    others = [name for name in VARIANTS if name != ORIGINAL]
    drawn = random_of(seed, sha256, "chosen").permutation(len(others))[:count]
    return [ORIGINAL, *(name for number, name in enumerate(others) if number in drawn)]


def variant_of(name: str, waveform: Waveform, rate_hz: int, seed: int, sha256: str) -> Waveform:
    """One variant by its name, float32 [m]. What goes over full scale is left to the file to cut."""
    return VARIANTS[name](waveform, rate_hz, random_of(seed, sha256, name))


def stem_for(path: Path, sha256: str, alone: bool) -> str:
    """What variants of this recording are called: its own name, where that is printable, short, and ``alone``;
    otherwise as much of it as can be had, and the beginning of the content's hash."""
    name = "".join(one if one.isprintable() and one not in '/\\:*?"<>|' else "_" for one in path.stem)
    short = name.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore")
    if alone and short == path.stem and not short.startswith((".", "-")):
        return short
    return f"{short.lstrip('.-') or 'recording'}-{sha256[:8]}"
