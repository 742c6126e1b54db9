"""A narrow backbone, and renderings as functions of a module: they travel to other processes."""

import os
import signal
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from converters.calibration import calibrate
from converters.int8_network import quantised
from tests.converters.networks import random_network, random_patches
from tests.trainer.data.sounds import sound
from trainer.augmentation.mixing import Rendering
from trainer.embedding.track import Job


@cache
def narrow(seed: int = 0) -> bytes:
    """A quarter of YAMNet's width, with random weights."""
    network = random_network(0.25, seed=seed)
    return quantised(network, calibrate(network, random_patches(20))).pack()


def made(seed: int, seconds: float = 1.5) -> Rendering:
    clean = sound(seed, seconds)
    return Rendering(clean + 0.01 * sound(seed + 1000, seconds), clean)


def in_pieces(seed: int, seconds: float, *lengths: int) -> Iterator[Rendering]:
    whole = made(seed, seconds)
    edges = np.cumsum([0, *lengths, len(whole.mixed)])
    for start, stop in pairwise(edges):
        yield Rendering(whole.mixed[start:stop], whole.clean[start:stop])


def made_and_counted(seed: int, counter: Path) -> Rendering:
    """Leaves a file for every time that it was made."""
    (counter / f"{seed}-{os.getpid()}-{os.urandom(4).hex()}").touch()
    return made(seed)


def broken(seed: int) -> Rendering:
    raise ValueError(f"recording {seed} is not there")


def deadly(once: Path) -> Rendering:
    """Kills its process the first time."""
    if not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return made(1)


def hours(seconds: int) -> Iterator[Rendering]:
    """A long recording, a second at a time."""
    second = sound(1, 1.0)
    for _ in range(seconds):
        yield Rendering(second, second)


def jobs(count: int, seconds: float = 1.5) -> list[Job]:
    return [Job(f"sound {seed}", made, (seed, seconds)) for seed in range(count)]
