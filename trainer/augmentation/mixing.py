"""Sound over sound: a clip faded into a continuous bed at a stated ratio, so that no splice is itself an impulse.

Everything is seeded from names (`random_of`), so a run can be repeated, whatever its order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.data.decoding import read
from trainer.synthesis.spectrum import fft_size

BAND_HZ = (300.0, 6000.0)
"""Band in which signal-to-noise ratios are meant: wind and rumble below it hide no shot."""
LOUDEST_S = 0.2
"""A clip is as loud as its loudest so many seconds."""
FADE_S = 0.02
"""At a clip's ends, over the bed."""
CROSSFADE_S = 0.1
"""From one piece of a bed to the next."""
LEVEL_DBFS = (-30.0, -1.0)
"""Peaks of mixes are drawn from this range."""


@dataclass(frozen=True)
class Rendering:
    """One variant of a clip."""

    mixed: NDArray[np.float32]
    """What the device would hear, float32 [n] at 16 kHz, full scale ±1."""
    clean: NDArray[np.float32]
    """The clip alone at the same place and gain, float32 [n]: where the sound is that the label means."""


def random_of(seed: int, *names: object) -> np.random.Generator:
    """A generator that depends on all of these and on nothing else."""
    text = "/".join(str(name) for name in (seed, *names))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def read_clip(path: Path) -> NDArray[np.float32]:
    """The first channel at 16 kHz, float32 [n]; as the catalogue read it: what is no number is silence, and of a file
    that was cut short there is what there is. Raises DecodingError."""
    return read(path)


@lru_cache(maxsize=48)
def remembered(path: Path) -> NDArray[np.float32]:
    """`read_clip` (float32 [n] at 16 kHz), remembered: variants of a clip follow each other, and beds come again. Not
    to be written to."""
    sound = read_clip(path)
    sound.flags.writeable = False
    return sound


def bed(paths: Sequence[Path], samples: int, random: np.random.Generator) -> NDArray[np.float32]:
    """A continuous bed, float32 [samples]: random pieces of ``paths``, one faded into the next where one ends."""
    fade = round(CROSSFADE_S * SAMPLE_RATE_HZ)
    out = np.empty(0, np.float32)
    while len(out) < samples:
        piece = remembered(paths[int(random.integers(len(paths)))])
        wanted = samples - len(out) + fade
        if len(piece) > wanted:
            start = int(random.integers(len(piece) - wanted + 1))
            piece = piece[start : start + wanted]
        overlap = min(fade, len(out), len(piece))
        if overlap:
            rise = np.linspace(0, 1, overlap, dtype=np.float32)
            joint = out[-overlap:] * (1 - rise) + piece[:overlap] * rise
            out = np.concatenate([out[:-overlap], joint, piece[overlap:]])
        else:
            out = piece
    return out[:samples].copy()


def over_bed(
    waveform: NDArray[np.float32],
    below: NDArray[np.float32],
    lead: int,
    snr_db: float,
    random: np.random.Generator,
) -> Rendering:
    """``waveform`` (float32 [n]) over the bed ``below`` (float32 [m], m >= lead + n) from sample ``lead`` on, its
    loudest `LOUDEST_S` ``snr_db`` above the whole bed in `BAND_HZ`, at a random level."""
    clean = np.zeros(len(below), np.float32)
    clean[lead : lead + len(waveform)] = faded(waveform)
    noise = rms_in_band(below)
    gain = 10 ** (snr_db / 20) * max(noise, 1e-6) / max(loudest(in_band(waveform)), 1e-6)
    clean *= np.float32(gain)
    mixed = clean + below
    level = gain_to_peak(mixed, random.uniform(*LEVEL_DBFS))
    return Rendering(mixed * level, clean * level)


def faded(waveform: NDArray[np.float32], fade_s: float = FADE_S) -> NDArray[np.float32]:
    """Float32 [n] at 16 kHz, a copy that rises from and falls to silence within ``fade_s``, a quarter at most."""
    out = waveform.copy()
    count = min(round(fade_s * SAMPLE_RATE_HZ), len(out) // 4)
    if count:
        rise = np.linspace(0, 1, count, dtype=np.float32)
        out[:count] *= rise
        out[-count:] *= rise[::-1]
    return out


def gain_to_peak(waveform: NDArray[np.float32], peak_dbfs: float) -> np.float32:
    """The factor that brings the peak of float32 [n], full scale ±1, to ``peak_dbfs``."""
    peak = float(np.abs(waveform).max(initial=1e-6))
    return np.float32(10 ** (peak_dbfs / 20) / max(peak, 1e-6))


def in_band(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of it lies within `BAND_HZ`, float32 [n]."""
    size, inside = _band(len(waveform))
    spectrum = np.fft.rfft(waveform, size)
    spectrum[: inside.start] = spectrum[inside.stop :] = 0
    return np.asarray(np.fft.irfft(spectrum, size)[: len(waveform)], np.float32)


def rms_in_band(waveform: NDArray[np.float32]) -> float:
    """RMS of what of it lies within `BAND_HZ`, by the power of its spectrum (Parseval): half the work."""
    size, inside = _band(len(waveform))
    spectrum = np.fft.rfft(waveform, size)[inside]
    power = 2 * float(np.vdot(spectrum, spectrum).real) / size
    return float(np.sqrt(power / max(len(waveform), 1)))


def _band(samples: int) -> tuple[int, slice]:
    """A size that transforms are fast at, and the bins of `BAND_HZ` in it."""
    size = fft_size(max(samples, 2))
    bins_per_hz = size / SAMPLE_RATE_HZ
    return size, slice(int(np.ceil(BAND_HZ[0] * bins_per_hz)), int(BAND_HZ[1] * bins_per_hz) + 1)


def loudest(waveform: NDArray[np.float32]) -> float:
    """RMS of the loudest `LOUDEST_S` of float32 [n] at 16 kHz, full scale 1."""
    length = min(len(waveform), round(LOUDEST_S * SAMPLE_RATE_HZ))
    total = np.concatenate([[0.0], np.cumsum(waveform.astype(np.float64) ** 2)])
    power = (total[length:] - total[:-length]) / max(length, 1)
    return float(np.sqrt(power.max(initial=0.0).clip(1e-18)))
