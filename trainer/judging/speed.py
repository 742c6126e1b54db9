"""Time per window, as a ratio: two models in turns in one run, by the CPU, for other work must not close a gate."""

from time import thread_time

import numpy as np

from edge.audio.frontend import FrontEnd, Window
from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.detection.model import Model
from trainer.judging.metrics import Speed

TURNS = 20
AT_ONCE = 10


def time_against(model: Model, other: Model, turns: int = TURNS) -> Speed:
    """``model`` against ``other``, network alone: the quickest turn of each, after one that is not counted. The network
    is one thread's work, and what else runs can only slow a turn."""
    windows = _windows(AT_ONCE)
    _turn(model, windows)
    _turn(other, windows)
    pairs = [(_turn(model, windows), _turn(other, windows)) for _ in range(turns)]
    own, others = (min(pair[side] for pair in pairs) for side in (0, 1))
    against = f"{other.manifest.name} {other.manifest.version}"
    return Speed(ms_per_window=own * 1e3, against=against, ratio=own / others)


def _turn(model: Model, windows: list[Window]) -> float:
    began = thread_time()
    for window in windows:
        model.listen(window)
    return (thread_time() - began) / len(windows)


def _windows(count: int) -> list[Window]:
    noise = np.random.default_rng(0).standard_normal(round(SAMPLE_RATE_HZ * (1 + 0.24 * count))).astype(np.float32)
    return FrontEnd(SAMPLE_RATE_HZ, 0.24).push(0, 0.01 * noise)[:count]
