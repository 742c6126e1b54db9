"""The loop: what is trained and what is not, that it learns, and that an interruption changes nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.flatbuffer import GraphError
from converters.int8_network import float_network
from converters.network import Network
from edge.detection.graph import Graph
from tests.converters.conftest import extra
from tests.converters.networks import random_patches
from tests.trainer.finetuning.making import BANKS, network, recordings
from trainer.data.clip import Clip
from trainer.distillation.bank import Bank
from trainer.finetuning.lessons import Before, Lessons, banks
from trainer.finetuning.network import Tuned
from trainer.finetuning.training import CHECKPOINT, Epoch, Plan, found_of, train
from trainer.progress import silent

PLAN = Plan(epochs=2, windows=64, validation=64, batch=16, seed=3)


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    extra("torch")
    return extra("keras")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, Bank]:
    folder = recordings(tmp_path_factory.mktemp("recordings"))
    clips = [
        Clip(path, "own", path.parent.name, path.stem, 1.2, "own", f"{number:064x}")
        for number, path in enumerate(sorted(folder.rglob("*.wav")))
    ]
    return banks(tmp_path_factory.mktemp("banks"), clips, 1, silent, BANKS)


@pytest.fixture(scope="module")
def lessons(both: tuple[Bank, Bank]) -> Lessons:
    return Lessons(*both, Before(network()), 3)


def learned(lessons: Lessons, folder: Path, plan: Plan = PLAN, frozen: int = 4) -> tuple[list[Epoch], Tuned]:
    tuned = Tuned(network(), len(lessons.labels), frozen)
    return train(tuned, lessons, plan, folder, lambda epoch: None), tuned


def same(one: Network, other: Network) -> list[bool]:
    return [np.array_equal(a.weights, b.weights) for a, b in zip(one.layers, other.layers, strict=True)]


def test_frozen_layers_stay_as_they_are_and_the_others_learn(both: tuple[Bank, Bank], tmp_path: Path) -> None:
    # Asked of what it learns from, or it would take longer.
    lessons = Lessons(both[0], both[0], Before(network()), 3)
    epochs, tuned = learned(lessons, tmp_path, replace(PLAN, epochs=4, windows=128, rate=1e-3, known_share=0.0))
    assert min(one.loss for one in epochs) < epochs[0].loss
    # The first convolution, and a depthwise and a pointwise one for each of four maps.
    assert same(tuned.plain(), network()) == [True] * 9 + [False] * 18
    assert not np.array_equal(tuned.plain().class_weights, network().class_weights)


def test_with_nothing_frozen_every_layer_is_trained_and_at_first_none_is() -> None:
    tuned = Tuned(network(), 3, frozen=-1)
    small_head = 6
    assert len(tuned.train(head_only=True)) == small_head
    assert len(tuned.train(head_only=False)) == small_head + 2 * (27 + 1)
    assert len(Tuned(network(), 3, frozen=4).train(head_only=False)) == small_head + 2 * (18 + 1)


def test_epoch_0_is_the_network_as_it_came(lessons: Lessons, tmp_path: Path) -> None:
    epochs, tuned = learned(lessons, tmp_path, replace(PLAN, epochs=0))
    assert [one.number for one in epochs] == [0]
    assert epochs[0].known < 1e-6
    assert all(same(tuned.plain(), network()))


def test_interrupted_and_started_again_it_ends_as_if_nothing_had_happened(lessons: Lessons, tmp_path: Path) -> None:
    epochs, tuned = learned(lessons, tmp_path / "whole")

    def interrupt(one: Epoch) -> None:
        if one.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Tuned(network(), len(lessons.labels), 4), lessons, PLAN, tmp_path / "cut", interrupt)
    again, other = learned(lessons, tmp_path / "cut")
    assert [replace(one, minutes=0) for one in again] == [replace(one, minutes=0) for one in epochs]
    for a, b in zip(tuned.plain().layers, other.plain().layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5, atol=1e-7)


def test_it_is_left_as_it_was_when_it_did_best(lessons: Lessons, tmp_path: Path) -> None:
    # So high a rate spoils the network: the best is the one that came.
    epochs, tuned = learned(lessons, tmp_path, replace(PLAN, rate=0.05))
    assert min(epochs, key=lambda one: one.loss).number == 0
    assert all(same(tuned.plain(), network()))


def test_a_damaged_checkpoint_is_named_with_what_to_do(lessons: Lessons, tmp_path: Path) -> None:
    learned(lessons, tmp_path, replace(PLAN, epochs=0))
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:-2000])
    with pytest.raises(GraphError, match=r"checkpoint\.npz cannot be read: remove its folder"):
        learned(lessons, tmp_path)


def test_the_plain_network_and_the_plain_small_head_give_what_keras_gives(lessons: Lessons, tmp_path: Path) -> None:
    _, tuned = learned(lessons, tmp_path, replace(PLAN, epochs=1))
    patches = random_patches(3, 9)
    said, logits = (one.detach().numpy() for one in tuned(patches, training=False))
    plain = tuned.plain()
    np.testing.assert_allclose(Before(plain)(patches), said, rtol=1e-3, atol=2e-3)
    graph, head = Graph(float_network(plain, every_output=True)), tuned.small_head()
    for row in range(3):
        graph.feed(patches[row : row + 1])
        maps = [graph.output(f"layer{2 * n}").reshape(-1, plain.layers[2 * n].outputs) for n in (7, 11)]
        read = np.concatenate([part for one in maps for part in (one.mean(axis=0), one.max(axis=0))])
        np.testing.assert_allclose(head(read), logits[row], rtol=1e-3, atol=2e-3)


def test_shots_found_is_the_share_above_the_loudest_hundredth_of_the_others() -> None:
    labels = np.array([0, 0, 0, 0, *[1] * 100])
    logits = np.zeros((104, 2), np.float32)
    logits[:, 0] = [-1, 200, 300, 99.5, *range(100)]
    assert found_of(logits, labels) == 0.75
    assert found_of(logits[:4], labels[:4]) == 0.0
