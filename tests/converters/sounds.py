"""Real sound for conversions: windows of the recordings."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES, log_mel


def real_windows(data: Path, every: int, first: int = 0) -> list[NDArray[np.float32]]:
    """The middle window of every n-th recording at 16 kHz, float32 [15600] each."""
    found = []
    for path in sorted((data / "audio").rglob("*.flac"))[first::every]:
        frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate == SAMPLE_RATE_HZ and len(frames) >= WINDOW_SAMPLES:
            start = (len(frames) - WINDOW_SAMPLES) // 2
            found.append(np.ascontiguousarray(frames[start : start + WINDOW_SAMPLES, 0]))
    return found


def real_patches(data: Path, every: int, first: int = 0) -> list[NDArray[np.float32]]:
    """Their log-mel patches, float32 [96, 64] each."""
    return [log_mel(waveform) for waveform in real_windows(data, every, first)]
