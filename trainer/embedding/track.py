"""A rendering's windows in order, embedded: the work itself, for one core.

The sound may come whole or in pieces: of a recording of hours only the last seconds are held.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd
from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from edge.detection.graph import Graph
from trainer.augmentation.mixing import Rendering
from trainer.data.decoding import blocks
from trainer.embedding.backbone import HOP_S, Backbone

PIECE = 10 * SAMPLE_RATE_HZ
MIDDLE = slice(1280, 14400)
"""0.08 to 0.9 s of a window: what lies nearer to its edges, the network hardly hears. A head that learns shots that
have just begun tells them earlier (docs/adr/0021)."""

Sound = Rendering | Iterable[Rendering]
"""Whole, or in consecutive pieces."""

Choose = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.intp]]
"""Peaks and levels of all windows, float32 [n] each (see `Track`), to the indices of the wanted ones, in order."""


@dataclass(frozen=True)
class Job:
    """A rendering that is wanted. It travels to other processes, so ``render`` is a function of a module."""

    key: str
    """All that the rendering depends on: the hash of the audio, the augmentation with its seed."""
    render: Callable[..., Sound]
    arguments: tuple[Any, ...] = ()
    choose: Choose | None = None
    """Which windows are wanted, where not all are: the key must then say that, too. It is asked before the network is,
    so windows that nobody wants cost nothing."""


@dataclass(frozen=True)
class Track:
    """The windows of one rendering, in order, one every `HOP_S`."""

    steps: NDArray[np.uint8]
    """Embeddings in steps, uint8 [n, D]; ``Backbone.values`` reads them."""
    peak: NDArray[np.float32]
    """Peak of the clean clip in the middle of each window (0.08 to 0.9 s), float32 [n]."""
    rms: NDArray[np.float32]
    """RMS of the clean clip in each window, float32 [n]."""
    seconds: float
    backbone: str = ""
    """Identity of the backbone; embeddings of two are no neighbours."""


class Tracker:
    """Runs one backbone. Not thread-safe."""

    def __init__(self, backbone: Backbone) -> None:
        """Raises ModelFileError: the interpreter cannot run the graph."""
        self._backbone = backbone
        self._graph = Graph(backbone.graph, "backbone")

    def track(self, sound: Sound, choose: Choose | None = None) -> Track:
        """The windows of ``sound``: every one, or those that ``choose`` wants; then the sound is held whole.

        Raises ValueError: mixed and clean of a piece differ in length.
        """
        front_end = FrontEnd(SAMPLE_RATE_HZ, HOP_S)
        steps: list[NDArray[np.uint8]] = []
        patches: list[NDArray[np.float32]] = []
        peak: list[np.float32] = []
        rms: list[np.float32] = []
        clean, clean_from, samples = np.empty(0, np.float32), 0, 0
        for piece in _pieces(sound):
            if len(piece.mixed) != len(piece.clean):
                raise ValueError(f"a rendering has {len(piece.mixed)} samples mixed and {len(piece.clean)} clean")
            clean = np.concatenate([clean, piece.clean])
            for window in front_end.push(samples, piece.mixed):
                if choose is None:
                    steps.append(self._steps(window.patch))
                else:
                    patches.append(window.patch.copy())
                first = window.start - clean_from
                heard = clean[first : first + WINDOW_SAMPLES]
                peak.append(np.abs(heard[MIDDLE]).max())
                rms.append(np.sqrt(np.mean(heard**2)))
            samples += len(piece.mixed)
            # No later window begins before the newest sample that a whole window would reach back to.
            keep = max(clean_from, samples - WINDOW_SAMPLES)
            clean, clean_from = clean[keep - clean_from :], keep
        levels = np.array(peak, np.float32), np.array(rms, np.float32)
        if choose is not None:
            rows = choose(*levels)
            steps = [self._steps(patches[row]) for row in rows]
            levels = levels[0][rows], levels[1][rows]
        table = np.stack(steps) if steps else np.empty((0, self._backbone.width), np.uint8)
        return Track(table, *levels, samples / SAMPLE_RATE_HZ, self._backbone.identity)

    def _steps(self, patch: NDArray[np.float32]) -> NDArray[np.uint8]:
        self._graph.feed(patch[np.newaxis])
        parts = [
            np.rint(self._graph.output(one.name) / np.float32(one.scale)) + (one.zero + 128)
            for one in self._backbone.features
        ]
        return np.concatenate(parts).astype(np.uint8)


def file_as_it_is(path: Path) -> Iterable[Rendering]:
    """A file as a job's rendering, piece by piece, however long it is. Raises DecodingError."""
    for block in blocks(path):
        yield Rendering(block, block)


def _pieces(sound: Sound) -> Iterable[Rendering]:
    for one in [sound] if isinstance(sound, Rendering) else sound:
        for start in range(0, len(one.mixed), PIECE):
            yield Rendering(one.mixed[start : start + PIECE], one.clean[start : start + PIECE])


# --- in workers ---------------------------------------------------------------------------------

_installed: dict[str, Backbone] = {}
_of_thread = threading.local()


def install(backbone: Backbone) -> None:
    """Make a backbone known to this process."""
    _installed[backbone.identity] = backbone


def run(identity: str, job: Job) -> Track:
    """Do a job with the backbone of that identity, which must be installed; each thread has a graph of its own."""
    trackers: dict[str, Tracker] = _of_thread.__dict__.setdefault("trackers", {})
    if identity not in trackers:
        trackers[identity] = Tracker(_installed[identity])
    return trackers[identity].track(job.render(*job.arguments), job.choose)
