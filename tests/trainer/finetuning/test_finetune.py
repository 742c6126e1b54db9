"""The command: from recordings to a backbone that `retrain` takes."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from converters.backbone_file import open_backbone
from converters.flatbuffer import GraphError
from converters.yamnet_h5 import from_h5
from edge.detection.model_file import read_bytes
from tests.converters.conftest import extra
from tests.converters.networks import random_network
from tests.converters.test_keras_yamnet import h5_of
from tests.trainer.finetuning.making import BANKS, CLASSES, backbone, recordings
from trainer.cli import app
from trainer.data.catalogue import Catalogue
from trainer.data.split import part_of
from trainer.finetuning import tuning
from trainer.finetuning.training import Plan
from trainer.finetuning.tuning import Outcome, Request, finetune, start_of
from trainer.learning.unheard import known_to
from trainer.lock import AlreadyRunningError, only_one
from trainer.retraining.pipeline import retrain
from trainer.retraining.request import Request as Sources
from trainer.retraining.snapshot import worse_licence
from trainer.retraining.telling import Telling

PLAN = Plan(epochs=4, windows=96, validation=96, batch=16, rate=2e-3, known_share=0.0)
NC = "not for distribution: learned from 1 clip under CC BY-NC"


def request(home: Path, **changes: object) -> Request:
    asked: dict[str, object] = {
        "data": (home / "data",), "catalogue": home / "catalogue", "models": home / "models", "cache": home / "cache",
        "backbone": home / "backbone.tflite", "variants": 1, "processes": 1, "own": True, **changes,
    }  # fmt: skip
    return Request(Sources(**asked), home / "tuned.tflite", PLAN, home / "none.tflite", BANKS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    recordings(folder / "data")
    backbone(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(home: Path) -> Outcome:
    extra("torch")
    extra("keras")
    return finetune(request(home), Telling(quiet=True))


def test_what_it_writes_is_a_backbone_that_retrain_makes_a_model_of(
    home: Path, tuned: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.judging.evaluate.HARDEST", 1)
    assert tuned.has_gained and tuned.holds, tuned
    file = open_backbone(read_bytes(tuned.out))
    assert file.classes == CLASSES and file.licence == "Apache-2.0"
    # `retrain` sets no threshold by recordings that the network has heard: the training part, and no other.
    with Catalogue(home / "catalogue") as catalogue:
        clips = catalogue.clips()
    known = known_to(file, clips)
    assert known == {clip.recording for clip in clips if part_of(clip.recording) == "train"} != set()
    outcome = retrain(request(home, backbone=tuned.out).sources, Telling(quiet=True))
    assert outcome.folder is not None
    about = json.loads((outcome.folder / "model_metadata.json").read_text())
    assert file.sha256 in json.dumps(about)
    # The head with its hidden layer, for whoever goes on in Keras.
    assert (outcome.folder / "yamnet_classifier.keras").stat().st_size > 1000


def test_run_again_it_is_over_at_once_with_the_same_backbone(home: Path, tuned: Outcome) -> None:
    telling = Telling(quiet=True)
    again = finetune(request(home), telling)
    assert again.epochs == tuned.epochs
    assert again.written.content == tuned.written.content


def test_what_gained_nothing_is_not_written(home: Path, tuned: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "train", lambda *_: tuned.epochs[:1])
    out = home / "nothing.tflite"
    outcome = finetune(Request(request(home).sources, out, PLAN, out, BANKS), Telling(quiet=True))
    assert not outcome.has_gained and not out.exists()


def test_without_the_extra_it_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(app, ["finetune", "--data", str(home / "data"), "--cache", str(home / "other")])
    assert result.exit_code == 1
    assert "finetune: this needs torch, which is not installed: pip install 'ecosight[deep]'" in result.output
    assert not (home / "other").exists()


def test_two_at_once_are_one_too_many(home: Path) -> None:
    with only_one(request(home).work, "finetune of somebody's"), pytest.raises(AlreadyRunningError, match="somebody's"):
        finetune(request(home), Telling(quiet=True))


def test_a_network_from_what_may_not_be_passed_on_makes_a_model_that_may_not() -> None:
    assert worse_licence("Apache-2.0", "") == worse_licence("Apache-2.0", "Apache-2.0") == "Apache-2.0"
    assert worse_licence("Apache-2.0", NC) == worse_licence(NC, "") == worse_licence(NC, NC) == NC
    assert (
        worse_licence(NC, NC.replace("1 clip", "2 clips")) == f"{NC}; its network learned from 2 clips under CC BY-NC"
    )


def test_yamnet_h5_takes_the_names_of_its_classes_from_a_file_beside_it(tmp_path: Path) -> None:
    h5py = extra("h5py")
    path = tmp_path / "yamnet.h5"
    h5_of(h5py, path, random_network(0.125, len(CLASSES), activation="relu"), "logits")
    with pytest.raises(GraphError, match=r"names of its classes.*backbone fetch"):
        start_of(path, tmp_path / "yamnet.tflite")
    start = start_of(path, backbone(tmp_path))
    assert start.classes == CLASSES and start.graph is None
    assert (start.network.class_weights == from_h5(path).class_weights).all()
