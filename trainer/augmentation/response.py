"""Filters drawn as curves: a gain for each frequency becomes the shortest response that has it, and never rings
before the sound does (an onset stays where it is, and nothing stands before it)."""

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.spectrum import convolved

Waveform = NDArray[np.float32]
Response = NDArray[np.float32]

_FLOOR = 1e-4
"""80 dB below a curve's loudest frequency nothing is told apart: logarithms stay finite, responses short."""


def grid_hz(rate_hz: int) -> NDArray[np.float64]:
    """The frequencies at which curves are drawn, float64 [m]: 0 to half the rate, less than 8 Hz apart."""
    return np.asarray(np.fft.rfftfreq(_taps(rate_hz), 1 / rate_hz), dtype=np.float64)


def minimum_phase(gain: NDArray[np.float64]) -> Response:
    """The causal response float32 [2 (m - 1)] whose amplitude is ``gain`` [m] on `grid_hz`.

    The logarithm of the gain is folded in the cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing,
    "Homomorphic filters").
    """
    taps = 2 * (len(gain) - 1)
    cepstrum = np.fft.irfft(np.log(np.maximum(gain, max(float(gain.max()), 1e-12) * _FLOOR)))
    cepstrum[1 : taps // 2] *= 2
    cepstrum[taps // 2 + 1 :] = 0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum))).astype(np.float32)


def through(waveform: Waveform, response: Response, tail: int = 0) -> Waveform:
    """``waveform`` [n] after ``response`` [m], float32 [n + tail]: what would ring on after that is cut."""
    length = len(waveform) + tail
    if not len(waveform):
        return np.zeros(length, dtype=np.float32)
    sound = convolved(waveform, response)[:length]
    return np.pad(sound, (0, length - len(sound)))


def bell_db(frequency_hz: NDArray[np.float64], centre_hz: float, octaves: float, peak_db: float) -> NDArray[np.float64]:
    """A bell in dB around ``centre_hz``, ``octaves`` wide (standard deviation), for each of ``frequency_hz`` [n]."""
    return np.asarray(peak_db * np.exp(-0.5 * (_octaves_from(frequency_hz, centre_hz) / octaves) ** 2))


def tilt_db(frequency_hz: NDArray[np.float64], db_per_octave: float) -> NDArray[np.float64]:
    """A slope in dB, 0 at 1 kHz, for each of ``frequency_hz`` [n]; below 30 Hz it goes no further."""
    return db_per_octave * _octaves_from(np.maximum(frequency_hz, 30.0), 1000.0)


def cut_db(frequency_hz: NDArray[np.float64], corner_hz: float, order: int, below: bool) -> NDArray[np.float64]:
    """A Butterworth cut in dB, -3 at ``corner_hz``, at each of ``frequency_hz`` [n]: of what is ``below``, or above."""
    ratio = np.maximum(frequency_hz, 1.0) / corner_hz
    return np.asarray(-10 * np.log10(1 + (1 / ratio if below else ratio) ** (2 * order)))


def _octaves_from(frequency_hz: NDArray[np.float64], centre_hz: float) -> NDArray[np.float64]:
    return np.asarray(np.log2(np.maximum(frequency_hz, 1.0) / centre_hz))


def _taps(rate_hz: int) -> int:
    return 1 << (rate_hz // 8).bit_length()
