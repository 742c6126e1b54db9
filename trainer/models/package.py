"""From a finished model to its folder: the file that ships and everything that is known about it.

    folder = package(store, Package(graph, manifest, golden, metrics, history), date.today())

What is in the folder: ``model.tflite`` (the model file, with manifest, golden vectors and card), ``class_names.json``,
``model_metadata.json``, ``performance_metrics.json``, ``training_history.json``, ``MODEL_CARD.md``, ``report.html``
with its ``excerpts/``, ``files.json``, and what else the caller gives (``yamnet_classifier.keras``).

The version stands in the model file, so it cannot be a digest of that file: `content_of` is over the network, its
golden vectors and its manifest without the version and the figures.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from edge.detection import model_file
from edge.detection.model_file import Manifest
from trainer.judging.evaluate import PROMISED
from trainer.judging.hardest import write_excerpts
from trainer.judging.metrics import Metrics, rate_name
from trainer.judging.sounds import Sound
from trainer.models.choice import METRICS
from trainer.models.store import Store, StoreError
from trainer.report.card import card_of
from trainer.report.page import write_report

MODEL = "model.tflite"
CLASS_NAMES = "class_names.json"
METADATA = "model_metadata.json"
HISTORY = "training_history.json"
_OURS = frozenset({MODEL, CLASS_NAMES, METADATA, METRICS, HISTORY, "MODEL_CARD.md", "report.html", "files.json"})


@dataclass(frozen=True)
class Package:
    """A model that is finished but for its version."""

    graph: bytes
    """The ``.tflite`` alone."""
    manifest: Manifest
    """Its version and figures are filled in."""
    golden: bytes | None
    metrics: Metrics
    """Of this very graph, with the gate, ablations, and whatever else was found."""
    history: Sequence[Mapping[str, Any]]
    """What happened in training, in order: a JSON object for each step, fold or epoch."""
    sounds: Sequence[Sound] = ()
    """What it was judged on, to cut the hardest moments from."""
    more: Mapping[str, bytes] = field(default_factory=dict)
    """Other files by name."""


def model_file_of(name: str, models: Path) -> Path:
    """The model file that is meant: a file, or that of a version in ``models``. Raises StoreError: neither."""
    if Path(name).is_file():
        return Path(name)
    try:
        return Store(models).folder(name) / MODEL
    except StoreError as error:
        raise StoreError(f"there is no file {name}, and {error}") from error


def package(store: Store, parts: Package, day: date) -> Path:
    """Store a model and return its folder. The same model again gives the folder that is there.

    Raises:
        StoreError: the metrics are of another network, or a file has a name that is taken.
        ModelFileError: the parts make no model file.
        SourceError: a sound cannot be read.
        OSError: no space, no permission, …; nothing is left behind then.
    """
    if parts.metrics.model.graph_sha256 != hashlib.sha256(parts.graph).hexdigest():
        raise StoreError(f"the metrics of {parts.manifest.name} are of another network; judge the one that ships")
    if taken := sorted(name for name in parts.more if name in _OURS or Path(name).name != name):
        raise StoreError(f"a file of a model cannot be called {taken[0]!r}")
    return store.put(content_of(parts), day, lambda folder, version: _write(parts, folder, version))


def content_of(parts: Package) -> str:
    """SHA-256 over what the model is: its version, its figures and when it was made left out."""
    manifest = parts.manifest.model_dump(mode="json", exclude={"version", "metrics", "contents_sha256"})
    digest = hashlib.sha256(parts.graph)
    digest.update(json.dumps(manifest, sort_keys=True).encode())
    digest.update(parts.golden or b"")
    return digest.hexdigest()


def summary_of(metrics: Metrics) -> dict[str, Any]:
    """The figures that a device's model file carries."""
    shipped = metrics.shipped
    return {
        PROMISED: shipped.promised_per_hour,
        "measured_false_alarms_per_hour": round(shipped.false_alarms.per_hour, 3),
        "measured_false_alarms_per_hour_upper": shipped.false_alarms.upper_per_hour,
        "recall_at_false_alarms_per_hour": {
            rate_name(one.per_hour): [round(x, 3) for x in (part.value, part.low, part.high)]
            for one in metrics.at_rates
            for part in [one.recalls.all]
        },
        "recall": round(shipped.recalls.all.value, 3),
        "dataset": {"name": metrics.dataset.name, "version": metrics.dataset.version, "sha256": metrics.dataset.sha256},
    }


def _write(parts: Package, folder: Path, version: str) -> None:
    manifest = parts.manifest.model_copy(update={"version": version, "metrics": summary_of(parts.metrics)})
    model = parts.metrics.model.model_copy(update={"version": version, "name": manifest.name})
    metrics = parts.metrics.model_copy(update={"model": model})
    card = card_of(manifest, metrics)
    data = model_file.build(parts.graph, manifest, parts.golden, card)
    (folder / MODEL).write_bytes(data)
    metrics = metrics.model_copy(update={"model": model.model_copy(update={"size_bytes": len(data)})})
    metrics = write_excerpts(metrics, parts.sounds, folder)
    (folder / METRICS).write_text(metrics.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    _write_json(folder / CLASS_NAMES, manifest.labels)
    _write_json(
        folder / METADATA,
        {
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "content_sha256": content_of(parts),
            "manifest": model_file.parse(data).manifest.model_dump(mode="json"),
        },
    )
    _write_json(folder / HISTORY, [dict(step) for step in parts.history])
    for name, content in parts.more.items():
        (folder / name).write_bytes(content)
    write_report(folder)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
