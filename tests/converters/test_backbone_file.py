"""Backbones on disk, and heads put on and taken off."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from converters.backbone_file import open_backbone, pack_backbone
from converters.build import taken_apart, with_backbone
from converters.calibration import calibrate
from converters.cli import app
from converters.flatbuffer import GraphError
from converters.head_file import GUN_SHOT, About, Weights, load, save
from converters.int8_network import quantised
from edge.detection import audioset, model_file
from edge.detection.model import load as load_model
from edge.detection.model_file import Decision
from edge.detection.verify import check
from tests.converters.networks import random_network, random_patches
from tests.edge.detection import tiny

CLASSES = ["Speech", "Gunshot, gunfire", "Engine", "Rain", "Fusillade"]


@pytest.fixture(scope="module")
def narrow() -> bytes:
    """A backbone of a quarter of YAMNet's width that knows five classes."""
    network = random_network(0.25)
    cut = quantised(network, calibrate(network, random_patches(20)), list(range(5)))
    return pack_backbone(cut, CLASSES)


def head_for(content: bytes, width: int = 256) -> tuple[About, np.ndarray, np.ndarray]:
    about = About(
        name="narrow-gun-shot",
        version="1",
        labels=["gun_shot", "background", "rain"],
        roles={"gun_shot": "alert", "background": "background", "rain": "background"},
        decisions={"gun_shot": Decision(threshold=0.5, release=0.3, hits={"0.24": 2})},
        backbone_sha256=open_backbone(content).sha256,
        scale=2.0,
        ensemble_label="gun_shot",
        ensemble_classes=["Gunshot, gunfire", "Fusillade"],
        ensemble_gain=0.4,
        ensemble_offset=-1.25,
        licence="Apache-2.0",
        training={"seed": 1},
        metrics={},
        card="# narrow\n",
    )
    random = np.random.default_rng(2)
    weights = (random.standard_normal((3, width)) * 0.5).astype(np.float32)
    return about, Weights(weights, random.standard_normal(3).astype(np.float32))


def test_a_backbone_keeps_its_classes_and_its_name(narrow: bytes) -> None:
    found = open_backbone(narrow)
    assert list(found.classes) == CLASSES
    assert found.sha256 == hashlib.sha256(narrow).hexdigest()
    again = pack_backbone(found.cut(found.classes), found.classes, found.sha256)
    assert open_backbone(again).sha256 == found.sha256
    with pytest.raises(GraphError, match="knows no class 'Chainsaw'"):
        found.cut(["Chainsaw"])


def test_what_a_network_has_heard_stays_with_it_in_a_model_file_and_out_of_it_again(narrow: bytes) -> None:
    found = open_backbone(narrow)
    assert found.heard == frozenset()
    content = pack_backbone(found.cut(CLASSES), CLASSES, heard=[64 * "a", 64 * "b", 64 * "a"])
    assert open_backbone(content).heard == {"aaaaaaaa", "bbbbbbbb"}
    about, weights = head_for(content)
    whole = with_backbone(content, about, weights)
    assert open_backbone(whole).heard == {"aaaaaaaa", "bbbbbbbb"}
    assert open_backbone(taken_apart(whole)[0]).heard == {"aaaaaaaa", "bbbbbbbb"}
    with pytest.raises(GraphError, match="heard"):
        open_backbone(content.replace(b"bbbbbbbb", b"bbbbbbbc"))


def test_labels_that_do_not_fit_the_classifier_are_refused(narrow: bytes) -> None:
    network = open_backbone(narrow).cut(CLASSES)
    with pytest.raises(GraphError, match="names 4 classes, its classifier has 5"):
        open_backbone(pack_backbone(network, CLASSES[:4]))


def test_a_narrow_backbone_and_its_head_make_a_model_file_that_passes_its_checks(narrow: bytes, tmp_path: Path) -> None:
    content = with_backbone(narrow, *head_for(narrow))
    check(content)
    manifest = model_file.parse(content).manifest
    assert manifest.context_labels == [label for label in audioset.CONTEXT if label in CLASSES]
    assert manifest.speech_label == "Speech" and manifest.backbone_sha256 == open_backbone(narrow).sha256
    path = tmp_path / "narrow.tflite"
    path.write_bytes(content)
    assert load_model(path).has_speech


def test_a_head_for_another_network_is_refused(narrow: bytes) -> None:
    about, weights = head_for(narrow)
    with pytest.raises(GraphError, match="trained on the network with SHA-256 000000000000"):
        with_backbone(narrow, about.model_copy(update={"backbone_sha256": "0" * 64}), weights)
    with pytest.raises(GraphError, match="embeddings of 255 values"):
        with_backbone(narrow, about, replace(weights, weights=weights.weights[:, 1:]))
    with pytest.raises(GraphError, match="class 'Cap gun'"):
        with_backbone(narrow, about.model_copy(update={"ensemble_classes": ["Cap gun"]}), weights)


def test_a_model_file_is_taken_apart_and_put_together_the_same(narrow: bytes) -> None:
    made = with_backbone(narrow, *head_for(narrow))
    backbone, about, weights = taken_apart(made)
    wanted, wanted_weights = head_for(narrow)
    assert about == wanted
    assert np.array_equal(weights.weights, wanted_weights.weights)
    assert np.array_equal(weights.biases, wanted_weights.biases)
    assert with_backbone(backbone, about, weights) == made


def test_a_model_whose_head_is_of_another_kind_is_not_taken_apart() -> None:
    with pytest.raises(GraphError):
        taken_apart(tiny.model_bytes())


def test_commands_put_a_head_on_and_take_it_off(narrow: bytes, tmp_path: Path) -> None:
    backbone, head = tmp_path / "narrow.tflite", tmp_path / "head.npz"
    backbone.write_bytes(narrow)
    save(head, *head_for(narrow))
    model, again = tmp_path / "model.tflite", tmp_path / "again.npz"
    put = CliRunner().invoke(app, ["head", "append", str(backbone), str(head), "--out", str(model)])
    assert put.exit_code == 0, put.output
    assert "compared on 20 windows of made sound" in put.output and "scores: correlation 1.00000" in put.output
    taken = CliRunner().invoke(app, ["head", "detach", str(model), "--out", str(again)])
    assert taken.exit_code == 0, taken.output
    assert again.read_bytes() == head.read_bytes()


def test_a_head_on_the_wrong_backbone_is_one_line_and_writes_nothing(narrow: bytes, tmp_path: Path) -> None:
    backbone, out = tmp_path / "narrow.tflite", tmp_path / "out.tflite"
    backbone.write_bytes(narrow)
    done = CliRunner().invoke(app, ["head", "append", str(backbone), str(GUN_SHOT), "--out", str(out)])
    assert done.exit_code == 1 and not out.exists()
    assert done.output.count("\n") == 1 and "trained on the network with SHA-256" in done.output


@pytest.mark.data
def test_googles_network_is_taken_alone_and_is_known_by_the_same_name(yamnet: Path, tmp_path: Path) -> None:
    out = tmp_path / "backbone.tflite"
    done = CliRunner().invoke(app, ["backbone", str(yamnet), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "1024 values and 521 classes" in done.output
    found = open_backbone(out.read_bytes())
    assert found.sha256 == load(GUN_SHOT)[0].backbone_sha256
    one = tmp_path / "one.tflite"
    assert CliRunner().invoke(app, ["yamnet", str(out), "--out", str(one)]).exit_code == 0
    other = tmp_path / "other.tflite"
    assert CliRunner().invoke(app, ["yamnet", str(yamnet), "--out", str(other)]).exit_code == 0
    assert model_file.read(one).manifest.backbone_sha256 == model_file.read(other).manifest.backbone_sha256
