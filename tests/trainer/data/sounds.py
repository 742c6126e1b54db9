"""Sound for the trainer's tests: made up, different for every seed, like nothing but itself."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000


def sound(seed: int, seconds: float = 2.0, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Noise that swells and changes its colour a few times a second, float32 [n]."""
    random = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    knots = max(4, round(seconds * 5))
    spectrum = np.fft.rfft(random.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / rate_hz)
    parts = [
        np.fft.irfft(np.where((hertz >= low) & (hertz < 1.6 * low), spectrum, 0), count) * _swell(random, knots, count)
        for low in (200, 400, 800, 1600, 3200)
    ]
    mixed = np.sum(parts, axis=0)
    return (0.3 * mixed / np.abs(mixed).max()).astype(np.float32)


def write(path: Path, waveform: NDArray[np.float32], rate_hz: int = RATE_HZ, **options: str) -> Path:
    """As libsndfile writes it; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate_hz, **options)
    return path


def folder(root: Path, **classes: int) -> Path:
    """``root/extracted_audio`` with so many different recordings of each class."""
    seed = 0
    for label, count in classes.items():
        for number in range(count):
            seed += 1
            write(root / "extracted_audio" / label / f"{label}_{number}.wav", sound(seed))
    return root


def _swell(random: np.random.Generator, knots: int, count: int) -> NDArray[np.float64]:
    at = np.linspace(0, knots - 1, count)
    return np.interp(at, np.arange(knots), random.uniform(0, 1, knots) ** 2)
