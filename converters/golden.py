"""Golden vectors: sound from formulas, and the scores that a model must give for it.

No recording is in them, so they may ship anywhere. They are made of what the labels are made of (impulses with a
tail, tones, noise), so that the scores are not all near zero.
"""

import numpy as np
from numpy.typing import NDArray

from converters.head_file import pack_arrays
from edge.audio.frontend import Window
from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES, log_mel
from edge.detection.model import Scorer

TOLERANCE = 0.1
"""Scores may differ by this. Interpreters round int8 sums differently: on the vectors below, XNNPACK against TFLite's
reference kernels differs by up to 0.03, and log-mel that is off by 1e-4 moves them by up to 0.07; a wrong graph or
front end differs by far more on at least one of them."""


def waveforms() -> NDArray[np.int16]:
    """int16 [4, 15600] at 16 kHz: silence with a faint hiss, a shot with reflections, a voice-like tone, a storm."""
    random = np.random.default_rng(20_240)
    t = np.arange(WINDOW_SAMPLES) / SAMPLE_RATE_HZ
    noise = random.standard_normal((4, WINDOW_SAMPLES))
    hiss = 0.0005 * noise[0]
    shot = 0.002 * noise[1]
    for delay_s, gain in ((0.30, 1.0), (0.304, -0.5), (0.347, 0.35), (0.41, 0.25), (0.52, 0.12)):
        late = np.clip(t - delay_s, 0, None)
        blast = np.where(t >= delay_s, (1 - late / 0.0006) * np.exp(-late / 0.0006), 0.0)
        tail = np.where(t >= delay_s, np.exp(-late / 0.09), 0.0) * _smooth(noise[2], 3)
        shot += gain * (0.6 * blast + 0.35 * tail)
    pitch = 2 * np.pi * (140 * t + 6 * np.sin(2 * np.pi * 3 * t))
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)) * 0.12
    storm = 0.25 * _smooth(noise[3], 12) * (1 + 0.5 * np.sin(2 * np.pi * 1.3 * t))
    mixed = np.stack([hiss, shot, voice, storm])
    steps: NDArray[np.int16] = np.round(np.clip(mixed, -1, 1) * 32767).astype(np.int16)
    return steps


def golden(scorer: Scorer) -> bytes:
    """``golden.npz`` for a model."""
    sound = waveforms()
    found = []
    for waveform in sound.astype(np.float32) / 32768:
        found.append(scorer.score(Window(0, log_mel(waveform), waveform, len(waveform))))
    return pack_arrays(
        waveform=sound,
        scores=np.stack([one.labels for one in found]).astype(np.float32),
        context=np.stack([one.context for one in found]).astype(np.float32),
        tolerance=np.array(TOLERANCE, np.float32),
    )


def _smooth(noise: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    smooth = np.convolve(noise, np.full(width, 1 / np.sqrt(width)), "same")
    return np.asarray(smooth, np.float64)
