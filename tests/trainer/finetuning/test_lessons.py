"""What is learned from and what decides: which recordings are in which, and the same mixes for the same seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.converters.networks import random_patches
from tests.trainer.finetuning.making import BANKS, CLASSES, network, recordings
from trainer.data.clip import Clip
from trainer.data.split import part_of
from trainer.distillation.bank import Bank
from trainer.distillation.mixes import UNCLEAR
from trainer.finetuning.lessons import Before, Lessons, banks, parts_of
from trainer.finetuning.tuning import start_of
from trainer.learning.learner import LearningError
from trainer.progress import silent


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = recordings(tmp_path_factory.mktemp("recordings"))
    return [
        Clip(path, "own", path.parent.name, path.stem, 1.2, "own", f"{number:064x}")
        for number, path in enumerate(sorted(folder.rglob("*.wav")))
    ]


@pytest.fixture(scope="module")
def both(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, Bank]:
    return banks(tmp_path_factory.mktemp("banks"), clips, 1, silent, BANKS)


def test_each_part_is_mixed_of_its_own_recordings_and_the_test_part_is_nowhere(both: tuple[Bank, Bank]) -> None:
    for bank, part in zip(both, ("train", "validation"), strict=True):
        names = {one.recording.partition("/")[0] for one in bank.sounds if not one.synthetic}
        assert names and {part_of(name) for name in names} == {part}


def test_without_shots_in_a_part_it_says_which_and_what_to_do(clips: list[Clip]) -> None:
    for part in ("train", "validation"):
        rest = [one for one in clips if one.label != "gun_shot" or part_of(one.recording) != part]
        with pytest.raises(LearningError, match=f"the {part} part holds no recording labelled 'gun_shot'.*retrain"):
            parts_of(rest)


def test_an_epoch_is_the_same_for_the_same_seed_and_each_epoch_has_mixes_of_its_own(both: tuple[Bank, Bank]) -> None:
    def heard(seed: int, number: int) -> np.ndarray:
        lessons = Lessons(*both, Before(network()), seed)
        batches = list(lessons.epoch(number, 24, 8))
        assert [len(one) for one in batches] == [8, 8, 8]
        return np.concatenate([one.patches for one in batches])

    assert np.array_equal(heard(1, 3), heard(1, 3))
    assert not np.array_equal(heard(1, 3), heard(1, 4))
    assert not np.array_equal(heard(1, 3), heard(2, 3))


def test_what_decides_is_always_the_same_and_a_label_nobody_learns_is_unclear(both: tuple[Bank, Bank]) -> None:
    training, validation = both
    asked = Lessons(training, validation, Before(network()), 1).validation(200)
    again = Lessons(training, validation, Before(network()), 7).validation(200)
    assert np.array_equal(asked.patches, again.patches) and np.array_equal(asked.labels, again.labels)
    assert (asked.labels == 0).any()
    only = Bank(training.frames, tuple(one for one in training.sounds if one.label != "rain"), "x")
    lessons = Lessons(only, validation, Before(network()), 1)
    names = Lessons(training, validation, Before(network()), 1).labels
    fewer = lessons.validation(200)
    rain = asked.labels == names.index("rain")
    assert rain.any() and (fewer.labels[rain] == UNCLEAR).all()
    kept = (asked.labels != UNCLEAR) & ~rain
    assert [names[n] for n in asked.labels[kept]] == [lessons.labels[n] for n in fewer.labels[kept]]


def test_what_the_network_said_before_are_the_logits_of_its_classes(tmp_path: Path) -> None:
    from tests.trainer.finetuning.making import backbone

    start = start_of(backbone(tmp_path), tmp_path / "none")
    assert start.classes == CLASSES
    patches = random_patches(12)
    exact, flying = Before(start.network)(patches), Before(start.network, start.graph)(patches)
    assert exact.shape == (12, len(CLASSES))
    assert np.corrcoef(exact.ravel(), flying.ravel())[0, 1] > 0.98
    bare = replace(start.network, class_weights=np.zeros((0, 128), np.float32), class_biases=np.zeros(0, np.float32))
    assert Before(bare)(patches).shape == (12, Before(bare).width) == (12, 128)
