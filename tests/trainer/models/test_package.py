"""A finished model becomes a folder that holds everything that is known of it."""

import hashlib
import json
from datetime import date
from pathlib import Path

import pytest

from edge.detection import model_file
from tests.trainer.models.making import deafer, manifest, metrics, names, package_of
from trainer.judging.evaluate import PROMISED
from trainer.models.choice import metrics_of
from trainer.models.package import Package, content_of, package
from trainer.models.store import Store, StoreError

DAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("models"))
    return package(store, package_of(more={"yamnet_classifier.keras": b"keras"}), DAY)


def test_the_folder_holds_what_the_plan_names(folder: Path) -> None:
    assert names(folder) >= {
        "model.tflite",
        "class_names.json",
        "model_metadata.json",
        "performance_metrics.json",
        "training_history.json",
        "MODEL_CARD.md",
        "report.html",
        "files.json",
        "yamnet_classifier.keras",
        "excerpts/false_alarm_01.flac",
        "excerpts/miss_01.flac",
    }
    assert json.loads((folder / "class_names.json").read_text()) == ["gun_shot", "rain"]
    assert json.loads((folder / "training_history.json").read_text()) == [{"step": "head", "fold": 1, "loss": 0.5}]
    assert Store(folder.parent).damage(folder.name) == []


def test_the_model_file_carries_its_version_its_figures_and_its_card(folder: Path) -> None:
    file = model_file.read(folder / "model.tflite")
    assert file.manifest.version == folder.name
    assert file.manifest.metrics[PROMISED] == 20
    assert set(file.manifest.metrics["recall_at_false_alarms_per_hour"]) == {"10", "3", "1"}
    assert file.card == (folder / "MODEL_CARD.md").read_text()
    metadata = json.loads((folder / "model_metadata.json").read_text())
    assert metadata["sha256"] == file.sha256
    assert metadata["manifest"]["version"] == folder.name


def test_the_stored_figures_are_of_the_stored_model(folder: Path) -> None:
    found = metrics_of(Store(folder.parent), folder.name)
    data = (folder / "model.tflite").read_bytes()
    assert found.model.version == folder.name
    assert found.model.size_bytes == len(data)
    assert found.model.graph_sha256 == hashlib.sha256(model_file.parse(data).graph).hexdigest()
    assert found.misses[0].excerpt == "excerpts/miss_01.flac"


def test_the_card_says_how_good_it_is_and_names_its_sources(folder: Path) -> None:
    card = (folder / "MODEL_CARD.md").read_text()
    assert card.startswith(f"# yamnet-gun-shot {folder.name}\n")
    for part in ("At its own threshold it found", "| 20 dB |", "| 400 m |", "| CC BY | 12 |", "T. Spadini", "3 clips"):
        assert part in card
    assert "| door | 1 |" in card
    assert "ESC-10" not in card, "only sources that were learned from are named"


def test_the_same_model_again_is_the_folder_that_is_there(folder: Path) -> None:
    store = Store(folder.parent)
    parts = package_of()
    better = Package(parts.graph, parts.manifest, parts.golden, deafer(parts.metrics), [])
    assert content_of(parts) == content_of(better)
    assert package(store, better, date(2027, 1, 1)) == folder
    assert content_of(package_of(1)) != content_of(parts)


def test_figures_of_another_network_are_refused(tmp_path: Path) -> None:
    wrong = Package(b"other", manifest(), None, metrics(), [])
    with pytest.raises(StoreError, match="of another network"):
        package(Store(tmp_path), wrong, DAY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.tflite", "../x", "a/b"])
def test_a_file_cannot_take_the_place_of_another(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="cannot be called"):
        package(Store(tmp_path), package_of(more={name: b""}), DAY)
