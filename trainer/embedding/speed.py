"""How fast windows are embedded, beside a plain loop over Google's waveform-in file, measured in the same run.

python -m trainer.embedding.speed ../shared/data/yamnet/yamnet.tflite
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from edge.detection.graph import Graph
from trainer.augmentation.mixing import Rendering
from trainer.embedding.backbone import HOP_S, Backbone, backbone_of
from trainer.embedding.embedder import Embedder
from trainer.embedding.track import Job, Tracker

SECONDS = 60
ROUNDS = 5
LEAST_RATIO = 1.5
"""What a core must do, of the plain loop's windows a second."""


@dataclass(frozen=True)
class Speed:
    """Medians over rounds."""

    loop_ms: float
    """CPU time of the plain loop, ms a window."""
    embedding_ms: float
    """CPU time of front end, network and levels, ms a window."""
    ratio: float
    """Windows a second on one core, of the plain loop's."""
    two_cores: float
    """Windows a second by two processes, of one's, the time to start them left out; at best 2, on an idle machine."""


def noise(seed: int, seconds: int) -> Rendering:
    """A made sound; a function of a module, so that workers can make it."""
    sound = (np.random.default_rng(seed).standard_normal(seconds * SAMPLE_RATE_HZ) * 0.05).astype(np.float32)
    return Rendering(sound, sound)


def measure(yamnet: bytes, seconds: int = SECONDS, rounds: int = ROUNDS) -> Speed:
    """Loop and embedding in turn, so that whatever else the machine does meets both."""
    google, backbone = Graph(yamnet), backbone_of(yamnet)
    output = next(iter(google.output_shapes))
    tracker = Tracker(backbone)
    sound = noise(0, seconds)
    starts = range(0, len(sound.mixed) - WINDOW_SAMPLES + 1, round(HOP_S * SAMPLE_RATE_HZ))
    loops, embeddings = [], []
    for _ in range(rounds):
        begun_s = time.process_time()
        for start in starts:
            google.feed(sound.mixed[start : start + WINDOW_SAMPLES])
            google.output(output)
        between_s = time.process_time()
        windows = len(tracker.track(sound).steps)
        loops.append(1000 * (between_s - begun_s) / len(starts))
        embeddings.append(1000 * (time.process_time() - between_s) / windows)
    ratio = statistics.median(loop / mine for loop, mine in zip(loops, embeddings, strict=True))
    one_s, two_s = _wall_s(backbone, 1, seconds), _wall_s(backbone, 2, seconds)
    return Speed(statistics.median(loops), statistics.median(embeddings), ratio, one_s / two_s)


def _wall_s(backbone: Backbone, processes: int, seconds: int) -> float:
    """Time between the first track and the last of many."""
    jobs = [Job(str(seed), noise, (seed, seconds // 4)) for seed in range(40)]
    with tempfile.TemporaryDirectory() as folder, Embedder(backbone, Path(folder), processes) as embedder:
        tracks = embedder.tracks(jobs)
        for _ in range(8):
            next(tracks)
        begun_s = time.monotonic()
        for _ in tracks:
            pass
        return time.monotonic() - begun_s


if __name__ == "__main__":
    found = measure(Path(sys.argv[1]).read_bytes())
    print(
        f"plain loop {found.loop_ms:.3f} ms a window, embedding {found.embedding_ms:.3f}: {found.ratio:.2f}x per core "
        f"(at least {LEAST_RATIO}); two processes {found.two_cores:.2f}x one"
    )
