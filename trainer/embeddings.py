"""Embeddings of many windows, by the int8 backbone that ships, kept on disk.

An embedding is 1024 int8 steps of one scale, so it is stored as uint8 and is exact.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.yamnet import cut
from edge.audio.frontend import FrontEnd
from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from edge.detection.graph import Graph
from trainer.augmentation.mixing import Rendering

HOP_S = 0.24


@dataclass(frozen=True)
class Track:
    """The windows of one rendering, in order."""

    steps: NDArray[np.uint8]
    """Embeddings in steps of the backbone's scale, uint8 [n, 1024]."""
    peak: NDArray[np.float32]
    """Peak of the clean clip in the middle of each window (0.08 to 0.8 s), float32 [n]."""
    rms: NDArray[np.float32]
    """RMS of the clean clip in each window, float32 [n]."""
    seconds: float


class Embedder:
    """Runs a backbone, cut at the patch, over renderings."""

    def __init__(self, backbone: bytes, cache: Path) -> None:
        """``backbone``: Google's waveform-in ``yamnet.tflite``. ``cache``: folder for what was computed."""
        self.sha256 = hashlib.sha256(backbone).hexdigest()
        self.cut = cut(backbone, [])
        graph = cut(backbone, []).pack()
        self._graph = Graph(graph)
        self.scale = float(self.cut.embedding_scale)
        self._cache = cache / "embeddings" / hashlib.sha256(graph).hexdigest()[:16]
        self._cache.mkdir(parents=True, exist_ok=True)

    def track(self, key: str, render: Callable[[], Rendering]) -> Track:
        """The windows of ``render()``, remembered under ``key``, which must name all that it depends on."""
        path = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as file:
                return Track(file["steps"], file["peak"], file["rms"], float(file["seconds"]))
        track = self._compute(render())
        temporary = path.with_suffix(".new.npz")
        np.savez(temporary, steps=track.steps, peak=track.peak, rms=track.rms, seconds=track.seconds)
        temporary.replace(path)
        return track

    def _compute(self, rendering: Rendering) -> Track:
        windows = FrontEnd(SAMPLE_RATE_HZ, HOP_S).push(0, rendering.mixed)
        steps = np.empty((len(windows), 1024), np.uint8)
        peak = np.zeros(len(windows), np.float32)
        rms = np.zeros(len(windows), np.float32)
        for row, window in enumerate(windows):
            self._graph.feed(window.patch[np.newaxis])
            steps[row] = np.rint(self._graph.output("embedding") / self.scale)
            clean = rendering.clean[window.start : window.start + WINDOW_SAMPLES]
            peak[row] = np.abs(clean[1280:12800]).max()
            rms[row] = np.sqrt(np.mean(clean**2))
        return Track(steps, peak, rms, len(rendering.mixed) / SAMPLE_RATE_HZ)
