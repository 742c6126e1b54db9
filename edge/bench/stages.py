"""The stages of the daemon alone, on sound in memory, and the baseline that they stand beside."""

import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd
from edge.audio.logmel import WINDOW_SAMPLES
from edge.audio.recordings import open_recording
from edge.audio.ring import Ring
from edge.audio.source import SourceError, block_s_for
from edge.detection.detector import Detector
from edge.detection.graph import Graph
from edge.detection.model import Model
from edge.settings import DetectionSettings

CAPTURE_RATE_HZ = 48_000
SHORTEST_S = 20.0
"""Of a recording to measure with."""


def noise(rate_hz: int, seconds: float) -> NDArray[np.float32]:
    """Quiet pink-ish noise, float32 [n], always the same."""
    white = np.random.default_rng(0).standard_normal(round(rate_hz * seconds)).astype(np.float32)
    return np.cumsum(white - 0.02, dtype=np.float32) * np.float32(1e-4) % np.float32(0.02) + white * np.float32(0.003)


def recorded(path: Path, rate_hz: int, longest_s: float) -> NDArray[np.float32]:
    """The first channel of a recording, float32 [n], at ``rate_hz``.

    Raises:
        SourceError: it cannot be read, or is shorter than 20 s.
    """
    with open_recording(path) as recording:
        blocks = list(itertools.islice(recording.blocks(), math.ceil(longest_s)))
        sound = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        length_s = len(sound) / recording.sample_rate_hz
        if length_s < SHORTEST_S:
            raise SourceError(f"{path} lasts {length_s:.1f} s; measuring needs at least {SHORTEST_S:g} s of sound")
        return np.asarray(soxr.resample(sound, recording.sample_rate_hz, rate_hz), np.float32)


def front_end_cost(sound: NDArray[np.float32], hop_s: float) -> float:
    """CPU ms per audio second of resampling and log-mel, fed hop by hop."""
    front_end = FrontEnd(CAPTURE_RATE_HZ, hop_s)
    hop = round(hop_s * CAPTURE_RATE_HZ)

    def whole() -> None:
        front_end.reset()
        for start in range(0, len(sound) - hop, hop):
            front_end.push(start, sound[start : start + hop])

    return _cpu_ms(whole) / (len(sound) / CAPTURE_RATE_HZ)


def network_cost(model: Model, sound: NDArray[np.float32], hop_s: float) -> float:
    """CPU ms per audio second of the network, one window after the other."""
    windows = FrontEnd(CAPTURE_RATE_HZ, hop_s).push(0, sound[: 20 * CAPTURE_RATE_HZ])

    def whole() -> None:
        for window in windows:
            model.listen(window)

    return _cpu_ms(whole) / len(windows) / hop_s


def detector_cost(model: Model, sound: NDArray[np.float32], settings: DetectionSettings) -> float:
    """CPU ms per audio second from the ring to the events, as fast as possible."""
    block = round(block_s_for(settings.hop_s) * CAPTURE_RATE_HZ)

    def whole() -> None:
        ring = Ring(CAPTURE_RATE_HZ, 20.0)
        detector = Detector(model, ring, settings)
        for start in range(0, len(sound) - block, block):
            ring.write(sound[start : start + block])
            while detector.advance(timeout_s=0.0):
                pass
        ring.close()

    return _cpu_ms(whole) / (len(sound) / CAPTURE_RATE_HZ)


class Baseline:
    """A plain loop over Google's waveform-in file: set the window, invoke, read the scores."""

    def __init__(self, yamnet: Path, hop_s: float) -> None:
        self._hop_s = hop_s
        self._graph = Graph(yamnet.read_bytes(), str(yamnet))
        self._output = next(iter(self._graph.output_shapes))
        self._sound = noise(16_000, 20.0)
        self._windows = (len(self._sound) - WINDOW_SAMPLES) // round(hop_s * 16_000)

    def _window(self, number: int) -> None:
        start = number % self._windows * round(self._hop_s * 16_000)
        self._graph.feed(self._sound[start : start + WINDOW_SAMPLES])
        self._graph.output(self._output)

    def tight(self) -> float:
        """CPU ms per audio second, one window after the other."""

        def whole() -> None:
            for number in range(self._windows):
                self._window(number)

        return _cpu_ms(whole) / self._windows / self._hop_s

    def paced(self, seconds: float, lead_s: float = 0.0) -> float:
        """CPU ms per audio second of this thread, one window every hop; the first after ``lead_s``."""
        time.sleep(lead_s)
        windows = max(5, round(seconds / self._hop_s))
        started = time.thread_time()
        due_s = time.monotonic()
        for number in range(windows):
            self._window(number)
            due_s += self._hop_s
            time.sleep(max(0.0, due_s - time.monotonic()))
        return (time.thread_time() - started) * 1e3 / windows / self._hop_s


def _cpu_ms(work: Callable[[], None], repeats: int = 5) -> float:
    """Median CPU time of ``work`` in ms, after one run to warm up."""
    work()
    costs = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        costs.append((time.process_time() - started) * 1e3)
    return statistics.median(costs)
