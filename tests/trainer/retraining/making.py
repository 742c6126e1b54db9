"""A small pack with everything in it, a narrow network with random weights, and runs that take seconds."""

import csv
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from converters.backbone_file import pack_backbone
from converters.calibration import calibrate
from converters.int8_network import quantised
from edge.audio.logmel import PATCH_FRAMES, log_mel
from tests.converters.networks import random_network, random_patches
from trainer.data.pack import MANIFEST
from trainer.data.split import part_of
from trainer.retraining.pipeline import Outcome, retrain
from trainer.retraining.request import Request
from trainer.retraining.telling import Telling

RATE = 16_000
COUNTS = {"gun_shot": (8, 6), "rain": (6, 6), "chainsaw": (4, 1), "background": (4, 2)}
"""Recordings that are learned from, and of the test part."""
TONES_HZ = {"rain": 400.0, "chainsaw": 900.0, "explosion": 1500.0, "siren": 2500.0}
LICENCE = "CC0"


@cache
def network(seed: int = 0) -> bytes:
    """A backbone's file: a quarter of YAMNet's width, with random weights, its steps spent on the sounds below."""
    random = random_network(0.25, seed=seed, activation="relu")
    heard = [log_mel(made(label, f"{label} {k}"))[:PATCH_FRAMES] for label in (*TONES_HZ, "gun_shot") for k in range(5)]
    ranges = calibrate(random, [*heard, *random_patches(8)])
    classes = ["Speech", "Gunshot, gunfire", "Rain", "Wind", "Dog"]
    return pack_backbone(quantised(random, ranges, list(range(5))), classes)


def named(label: str, part: str) -> Iterator[str]:
    """Recordings that belong to a part (``learned``, ``test``), in an order of their own."""
    number = 0
    while True:
        name = f"{label}-{number}"
        if (part_of(name) == "test") == (part == "test"):
            yield name
        number += 1


def made(label: str, recording: str, seconds: float = 1.2) -> np.ndarray:
    """The sound of a recording, float32 [n] at 16 kHz: such that even a random network hears which is which."""
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(recording.encode()).digest()[:4], "little"))
    count = round(seconds * RATE)
    hiss = random.standard_normal(count)
    time_s = np.arange(count) / RATE
    if label == "gun_shot":
        hiss *= 0.001 + np.exp(-np.maximum(time_s - 0.2, 0) / 0.15) * (time_s >= 0.2)
        return (0.25 * hiss).astype(np.float32)
    if label == "background":
        return (0.01 * np.convolve(hiss, np.full(40, 1 / 40), "same")).astype(np.float32)
    tone_hz = TONES_HZ.get(label, 700.0) * random.uniform(0.9, 1.1)
    return (0.3 * np.sin(2 * np.pi * tone_hz * time_s) * random.uniform(0.5, 1) + 0.001 * hiss).astype(np.float32)


def pack(folder: Path, licences: dict[str, str] | None = None, **counts: tuple[int, int]) -> Path:
    """A folder of recordings with its list; ``counts`` by label, in the place of `COUNTS`' or beside them."""
    rows = []
    for label, (learned, tested) in {**COUNTS, **counts}.items():
        parts = [("learned", learned), ("test", tested)]
        for recording in [name for part, count in parts for name, _ in zip(named(label, part), range(count))]:  # noqa: B905
            path = folder / label / f"{recording}.wav"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, made(label, recording, 4.0 if label == "background" else 1.2), RATE)
            rows.append(
                {
                    "path": path.relative_to(folder).as_posix(),
                    "source": "made",
                    "label": label,
                    "recording": recording,
                    "seconds": 1.2,
                    "sample_rate": RATE,
                    "channels": 1,
                    "licence": (licences or {}).get(label, LICENCE),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
            )
    with (folder / MANIFEST).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def backbone_file(folder: Path, seed: int = 0) -> Path:
    path = folder / f"backbone_{seed}.tflite"
    path.write_bytes(network(seed))
    return path


def request(home: Path, data: Path, **changes: object) -> Request:
    """One process, one variant; the model need not be good."""
    asked: dict[str, object] = {
        "data": (data,), "catalogue": home / "catalogue", "models": home / "models", "cache": home / "cache",
        "backbone": backbone_file(home), "variants": 1, "processes": 1, "who": "tester",
        **changes,
    }  # fmt: skip
    return Request(**asked)  # type: ignore[arg-type]


def run(home: Path, data: Path, **changes: object) -> tuple[Outcome, Telling]:
    telling = Telling(quiet=True)
    return retrain(request(home, data, **changes), telling), telling
