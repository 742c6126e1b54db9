"""Packages of a model that is small and real: a network that any interpreter opens, with made-up figures."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from edge.detection.model_file import Decision, Manifest
from tests.trainer.judging.judges import clicks, detector, field, hiss, loud
from trainer.judging.evaluate import evaluate
from trainer.judging.gate import judge
from trainer.judging.metrics import Metrics
from trainer.judging.sounds import Sound, Sounds
from trainer.models.package import Package

# The store looks at bytes only; the first eight are what a model file must begin with.
GRAPH = b"\x1c\x00\x00\x00TFL3" + bytes(120)


def manifest() -> Manifest:
    return Manifest(
        name="yamnet-gun-shot",
        version="0",
        labels=["gun_shot", "rain"],
        roles={"gun_shot": "alert", "rain": "background"},
        decisions={"gun_shot": Decision(threshold=0.5, release=0.3, hits={"0.24": 2})},
        training={"clips_by_licence": {"CC BY": 12}, "clips_by_source": {"SESA/train": 12}, "refused_by_licence": 3},
    )


@cache
def judged_on() -> Sounds:
    """Four minutes, and among them one false alarm and one miss."""
    noisy = Sound("a barn", "door", samples=clicks(20, (9.0,), peak=0.3), name="barn <door> & co")
    missed = Sound("gun 99", "gun_shot", (5.0,), snr_db=0.0, samples=clicks(12, (5.0,), peak=0.05), name="far")
    far = Sound("gun 98", "gun_shot", (5.0,), distance_m=400.0, samples=clicks(12, (5.0,)), name="farther")
    return Sounds("field", "1", [*field(minutes=4), noisy, missed, far, Sound("h", "rain", samples=hiss(20))])


@cache
def _metrics() -> Metrics:
    return evaluate(detector(loud), judged_on(), promised_per_hour=20.0).metrics


def metrics(graph: bytes = GRAPH, **changes: Any) -> Metrics:
    """Figures that pass the gate as a first model's."""
    found = _metrics()
    model = found.model.model_copy(update={"graph_sha256": hashlib.sha256(graph).hexdigest(), "size_bytes": 5000})
    found = found.model_copy(update={"model": model, **changes})
    return found.model_copy(update={"gate": judge(found, None)})


def deafer(found: Metrics) -> Metrics:
    """The same model, had it found half as much."""
    rows = [
        one.model_copy(update={"found": {name: count if index % 2 else 0 for name, count in one.found.items()}})
        for index, one in enumerate(found.recordings)
    ]
    return found.model_copy(update={"recordings": rows})


def package_of(number: int = 0, found: Metrics | None = None, **changes: Any) -> Package:
    graph = GRAPH + bytes([number])
    made = found or metrics(graph)
    made = made.model_copy(
        update={"model": made.model.model_copy(update={"graph_sha256": hashlib.sha256(graph).hexdigest()})}
    )
    history = [{"step": "head", "fold": 1, "loss": 0.5}]
    return Package(graph, manifest(), b"golden", made, history, **{"sounds": judged_on().sounds, **changes})


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
