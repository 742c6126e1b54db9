"""Sounds by their spectrum: filters of zero phase, and noise of any colour."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float64]
Precision = TypeVar("Precision", np.float32, np.float64)
Gain = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Amplitude for each frequency in Hz."""


def shaped(samples: Audio, sample_rate_hz: int, gain: Gain) -> Audio:
    """``samples`` with each frequency (Hz) times ``gain(frequency)``; zero phase."""
    return next(all_shaped(samples, sample_rate_hz, [gain]))


def all_shaped(samples: Audio, sample_rate_hz: int, gains: Iterable[Gain]) -> Iterator[Audio]:
    """`shaped` by each of ``gains``, of the same sound."""
    size = 1 << (2 * len(samples) - 1).bit_length()
    frequency = np.asarray(np.fft.rfftfreq(size, 1 / sample_rate_hz), dtype=np.float64)
    spectrum = np.fft.rfft(samples, size)
    for gain in gains:
        yield np.asarray(np.fft.irfft(spectrum * gain(frequency), size)[: len(samples)])


def around(centre_hz: float, octaves: float) -> Gain:
    """A bell around ``centre_hz``, ``octaves`` wide (standard deviation)."""
    return lambda f: np.asarray(np.exp(-0.5 * (np.log2(np.maximum(f, 1.0) / centre_hz) / octaves) ** 2))


def between(low_hz: float, high_hz: float, order: int = 2) -> Gain:
    """A band with Butterworth edges."""
    return lambda f: np.asarray(
        1 / np.sqrt((1 + (low_hz / np.maximum(f, 1.0)) ** (2 * order)) * (1 + (f / high_hz) ** (2 * order)))
    )


def noise(samples: int, rate_hz: int, gain: Gain, random: np.random.Generator) -> Audio:
    """Gaussian noise of the colour ``gain``, float64 [samples], RMS about 1."""
    size = fft_size(max(samples, 2))
    frequency = np.asarray(np.fft.rfftfreq(size, 1 / rate_hz), dtype=np.float64)
    spectrum = random.standard_normal(2 * len(frequency)).view(np.complex128) * gain(frequency)
    spectrum[0] = 0
    sound = np.fft.irfft(spectrum, size)[:samples]
    return np.asarray(sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-12)) if samples else sound


def drift(samples: int, rate_hz: int, period_s: float, random: np.random.Generator) -> Audio:
    """A value that wanders smoothly, float64 [samples], about standard normal; new every ``period_s``."""
    knots = random.standard_normal(2 + int(samples / rate_hz / period_s) + 1)
    place = random.uniform() + np.arange(samples) / (rate_hz * period_s)
    whole = np.minimum(place.astype(int), len(knots) - 2)
    part = 0.5 - 0.5 * np.cos(np.pi * np.clip(place - whole, 0, 1))
    return np.asarray(knots[whole] * (1 - part) + knots[whole + 1] * part)


def peaked(sound: Audio) -> Audio:
    """``sound`` at a peak of 1; silence stays silent."""
    peak = float(np.abs(sound).max(initial=0.0))
    return np.asarray(sound / peak) if peak > 1e-12 else np.zeros_like(sound)


def convolved(sound: NDArray[Precision], response: NDArray[Precision]) -> NDArray[Precision]:
    """``sound`` [n] after ``response`` [m], [n + m - 1], of their precision; both have a sample at least.

    By transforms, in pieces that stay in the processor's cache where the response is short (overlap and add).
    """
    rings = len(response) - 1
    size = fft_size(min(len(sound) + rings, max(4 * len(response), 4096)))
    step = size - rings
    pieces = -(-len(sound) // step)
    parts = np.zeros((pieces, step), dtype=sound.dtype)
    parts.reshape(-1)[: len(sound)] = sound
    spectra = np.fft.rfft(parts, size)
    spectra *= np.fft.rfft(response, size)
    out = np.zeros((pieces - 1) * step + size, dtype=sound.dtype)
    for at, piece in zip(range(0, pieces * step, step), np.fft.irfft(spectra, size), strict=True):
        out[at : at + size] += piece
    return out[: len(sound) + rings]


def fft_size(samples: int) -> int:
    """The least of 1, 3, 5, 9 or 15 times a power of two that holds ``samples``: transforms of those are fast."""
    return min(m << max(0, (-(-samples // m) - 1).bit_length()) for m in (1, 3, 5, 9, 15))
