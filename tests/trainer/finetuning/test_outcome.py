"""From float numbers to the file that flies: what it keeps, and that a loss is seen."""

from dataclasses import replace

import numpy as np
import pytest

from converters.backbone_file import open_backbone
from converters.network import Network
from tests.converters.networks import random_patches
from tests.trainer.finetuning.making import CLASSES, network
from trainer.distillation.voices import LIMIT, REACHED, shifted
from trainer.finetuning.lessons import Batch, Before
from trainer.finetuning.network import SmallHead
from trainer.finetuning.outcome import Written, backbone_of, parity
from trainer.learning.reading import reading_of

LABELS = ("gun_shot", "background", "rain")
READ = 2 * 2 * 64


def batch(network: Network, count: int, seed: int) -> Batch:
    patches = random_patches(count, seed)
    # The louder, the more of a shot: something that a random network can tell.
    level = patches.mean(axis=(1, 2))
    labels = np.digitize(level, np.quantile(level, [0.3, 0.6]))
    return Batch(patches, (2 - labels).astype(np.int64), Before(network)(patches))


def head_of(network: Network) -> SmallHead:
    random = np.random.default_rng(1)
    shapes = ((16, READ), (16,), (3, 16), (3,))
    return SmallHead(*((random.standard_normal(shape) / 8).astype(np.float32) for shape in shapes))


def test_the_backbone_has_the_classes_and_the_licence_and_a_head_can_read_it() -> None:
    one = network()
    written = backbone_of(one, CLASSES, batch(one, 60, 1), "not for distribution: learned from 1 clip under X")
    file = open_backbone(written.content)
    assert file.classes == CLASSES and file.licence.endswith("under X")
    assert reading_of(written.content).steps.width == READ
    assert open_backbone(backbone_of(one, CLASSES, batch(one, 60, 1), "").content).licence == ""


def test_int8_keeps_what_was_learned_and_another_network_would_be_seen() -> None:
    one = network()
    written, asked, head = backbone_of(one, CLASSES, batch(one, 60, 1), ""), batch(one, 60, 2), head_of(one)
    found = {each.output: each for each in parity(written, head, asked, LABELS)}
    assert set(found) == {"embedding", "context", "labels", "gun_shot"}
    assert found["gun_shot"].ranking is not None and found["labels"].ranking is not None
    assert all(each.correlation > 0.95 for each in found.values())
    other = backbone_of(network(5), CLASSES, batch(network(5), 60, 1), "")
    wrong = Written(other.content, written.network, None)
    assert not any(each.holds for each in parity(wrong, head, asked, LABELS) if each.output != "context")


def test_voices_that_became_quieter_are_raised_until_the_privacy_gate_hears_them_as_before() -> None:
    one = network()
    row = 0
    loud = replace(one, class_biases=one.class_biases + np.float32(0))
    logits = Before(one)(random_patches(80, 1))[:, row]
    loud.class_biases[row] += np.float32(2 - np.median(logits))  # about every mix is speech to it
    shy = shifted(loud, CLASSES, -4.0)
    mixes = batch(loud, 80, 1)
    written = backbone_of(shy, CLASSES, mixes, "")
    assert written.voices_shift is not None and written.voices_shift > 1
    said = 1 / (1 + np.exp(-Before(written.network)(mixes.patches)[:, row]))
    heard = mixes.known[:, row] >= 0
    assert (said[heard] >= LIMIT - 0.02).mean() >= REACHED - 0.05
    assert backbone_of(loud, CLASSES, mixes, "").voices_shift == pytest.approx(0, abs=0.2)


def test_without_voices_among_the_classes_nobody_raises_any() -> None:
    one = network()
    bare = replace(one, class_weights=one.class_weights[8:], class_biases=one.class_biases[8:])
    assert backbone_of(bare, CLASSES[8:], batch(bare, 30, 1), "").voices_shift is None
