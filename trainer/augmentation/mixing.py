"""Sound for training: clips at 16 kHz, softer or louder, alone or mixed into background.

Variants are seeded from (seed, recording, variant), so a run can be repeated, and a clip is mixed only with
background of its own fold: nothing of one fold stands in another.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.data.clip import Clip

PAD_S = 1.0
"""Background before and after a mixed clip: a shot in the field has a before and an after."""
BAND_HZ = (300.0, 6000.0)
"""Band in which signal-to-noise ratios are meant: wind and rumble below it hide no shot."""


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
    """The first channel at 16 kHz, float32 [n]; resampled as the device does."""
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.ascontiguousarray(frames[:, 0])
    if rate == SAMPLE_RATE_HZ:
        return mono
    resampled: NDArray[np.float32] = soxr.resample(mono, rate, SAMPLE_RATE_HZ, quality="HQ")
    return resampled


def as_it_is(waveform: NDArray[np.float32]) -> Rendering:
    """The clip with half a second of silence around it, so that clips of a second have windows."""
    clean = np.pad(waveform, SAMPLE_RATE_HZ // 2)
    return Rendering(clean, clean)


def louder_or_softer(waveform: NDArray[np.float32], random: np.random.Generator) -> Rendering:
    """At a random peak level between -40 and -1 dBFS."""
    clean = waveform * _gain_to_peak(waveform, random.uniform(-40, -1))
    return Rendering(clean, clean)


def mixed_into(
    waveform: NDArray[np.float32], backgrounds: Sequence[Clip], snr_db: float, random: np.random.Generator
) -> Rendering:
    """The clip in a random piece of background, ``snr_db`` over it (`BAND_HZ`, loudest 0.2 s of the clip against the
    whole background), with `PAD_S` of it around, at a random level."""
    pad = round(PAD_S * SAMPLE_RATE_HZ)
    clean = np.pad(waveform, pad)
    background = _piece(read_clip(backgrounds[int(random.integers(len(backgrounds)))].path), len(clean), random)
    signal, noise = _loudest(_band(waveform)), float(np.sqrt(np.mean(_band(background) ** 2)))
    gain = signal / max(noise, 1e-9) / 10 ** (snr_db / 20)
    together = clean + background * np.float32(gain)
    level = _gain_to_peak(together, random.uniform(-30, -1))
    return Rendering(together * level, clean * level)


def _piece(waveform: NDArray[np.float32], samples: int, random: np.random.Generator) -> NDArray[np.float32]:
    if len(waveform) < samples:
        waveform = np.tile(waveform, -(-samples // len(waveform)))
    start = int(random.integers(len(waveform) - samples + 1))
    return waveform[start : start + samples]


def _gain_to_peak(waveform: NDArray[np.float32], peak_dbfs: float) -> np.float32:
    peak = float(np.abs(waveform).max(initial=1e-6))
    return np.float32(10 ** (peak_dbfs / 20) / max(peak, 1e-6))


def _band(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE_HZ)
    spectrum[(frequencies < BAND_HZ[0]) | (frequencies > BAND_HZ[1])] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def _loudest(waveform: NDArray[np.float32]) -> float:
    length = min(len(waveform), SAMPLE_RATE_HZ // 5)
    power = np.convolve(waveform.astype(np.float64) ** 2, np.full(length, 1 / length), "valid")
    return float(np.sqrt(power.max(initial=0.0).clip(1e-18)))
