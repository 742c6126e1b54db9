"""Networks written as int8 ``.tflite`` straight by the schema."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters import yamnet_weights
from converters.calibration import calibrate
from converters.flatbuffer import GraphError, Operator, builtin, parse
from converters.head import Head, append_head, head_scores
from converters.int8_network import float_network, quantised, step_of, weight_steps, write_network
from converters.network import Activation, Layer, Network, folded, from_torch, without_classifier
from converters.yamnet import cut
from edge.detection.graph import Graph
from tests.converters.networks import random_network, random_patches
from tests.converters.sounds import real_patches


def outputs(graph: Graph, patches: Any, *names: str) -> list[NDArray[np.float32]]:
    found: list[list[NDArray[np.float32]]] = [[] for _ in names]
    for patch in patches:
        graph.feed(patch[np.newaxis])
        for rows, name in zip(found, names, strict=True):
            rows.append(graph.output(name))
    return [np.stack(rows) for rows in found]


def correlations(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each row with its counterpart."""
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)])


@pytest.mark.parametrize("width", [0.125, 0.25, 0.5])
@pytest.mark.parametrize(("activation", "at_least"), [("relu6", 0.998), ("relu", 0.97)])
def test_the_int8_network_gives_what_the_float_one_gives(width: float, activation: Activation, at_least: float) -> None:
    # Without an end at 6, one loud value makes the steps coarse for all the quiet ones.
    network = random_network(width, activation=activation)
    ranges = calibrate(network, random_patches(30))
    patches = random_patches(10, seed=1)
    whole, small = Graph(float_network(network, [0, 3])), Graph(write_network(network, ranges, [0, 3]))
    wanted, wanted_scores = outputs(whole, patches, "embedding", "context")
    found, scores = outputs(small, patches, "embedding", "context")
    assert found.shape == (10, round(1024 * width))
    assert correlations(wanted, found).min() > at_least
    assert np.abs(scores - wanted_scores).max() < 0.1


def test_stride_2_pads_as_tensorflow_does_one_zero_behind_and_none_before() -> None:
    kernel = np.zeros((1, 3, 3, 1), np.float32)
    kernel[0, 2, 2, 0] = 1  # takes the last of its 3x3 values
    network = without_classifier([Layer("conv", kernel, np.zeros(1, np.float32), 2, "none")])
    patch = np.random.default_rng(0).uniform(0, 1, (96, 64)).astype(np.float32)
    graph = Graph(float_network(network, every_output=True))
    graph.feed(patch[np.newaxis])
    wanted = np.zeros((48, 32), np.float32)
    wanted[:47, :31] = patch[2::2, 2::2]
    np.testing.assert_array_equal(graph.output("layer0").reshape(48, 32), wanted)


def test_batch_norms_fold_into_weights_and_biases() -> None:
    random = np.random.default_rng(0)
    scale, offset, mean = (random.standard_normal(4).astype(np.float32) for _ in range(3))
    variance = random.uniform(0.5, 2, 4).astype(np.float32)
    values = random.standard_normal((100, 4))
    plain = folded("depthwise", np.ones((1, 1, 4), np.float32), scale, offset, mean, variance, 1e-3)
    wanted = (values - mean) / np.sqrt(variance + 1e-3) * scale + offset
    np.testing.assert_allclose(values * plain.weights[0, 0] + plain.biases, wanted, rtol=1e-5, atol=1e-6)


def test_kernels_of_pytorch_are_turned() -> None:
    kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
    assert from_torch("conv", kernel)[1, 4, 6, 2] == kernel[1, 2, 4, 6]
    assert from_torch("depthwise", kernel[:, :1])[4, 6, 1] == kernel[1, 0, 4, 6]


def test_every_channel_has_its_own_scale_and_a_bias_always_fits() -> None:
    weights = np.array([[1.0, -0.5], [0.001, 0.0], [0.0, 0.0], [1e-12, 0.0]], np.float32)
    biases = np.array([0.25, -3.0, 7.0, 2e6], np.float32)
    steps, bias_steps, scale = weight_steps(weights, biases, 0.02, 0)
    np.testing.assert_allclose(steps[:2] * scale[:2, None], weights[:2], atol=0.005)
    np.testing.assert_allclose(bias_steps * scale.astype(np.float64) * 0.02, biases, rtol=1e-3)
    assert (steps[0] == [127, -64]).all() and (scale > 0).all()


def test_a_range_always_holds_zero_exactly() -> None:
    for low, high in ((-3.0, 5.0), (0.0, 6.0), (2.0, 6.0), (-7.0, -1.0), (0.0, 0.0)):
        scale, zero = step_of(low, high)
        assert -128 <= zero <= 127
        assert (-128 - zero) * scale <= min(low, 0) + scale and (127 - zero) * scale >= max(high, 0) - scale


def test_a_network_with_dead_channels_still_runs() -> None:
    network = random_network(0.125)
    for layer in network.layers[3:6]:
        layer.weights[..., 0] = 0
        if layer.kind == "conv":
            layer.weights[0], layer.biases[0] = 0, 0
    graph = Graph(write_network(network, calibrate(network, random_patches(5))))
    graph.feed(random_patches(1))
    assert np.isfinite(graph.output("embedding")).all()


def test_parts_that_do_not_fit_are_refused_with_their_place() -> None:
    good = random_network(0.125)
    with pytest.raises(GraphError, match=r"layer 1 .*do not fit 4 channels"):
        Network((good.layers[0], *good.layers[3:]), good.class_weights, good.class_biases)
    with pytest.raises(GraphError, match="class weights"):
        Network(good.layers, good.class_weights[:, 1:], good.class_biases)
    good.layers[2].weights[0, 0, 0, 0] = np.nan
    with pytest.raises(GraphError, match=r"layer 2 .*not finite"):
        Network(good.layers, good.class_weights, good.class_biases)


def test_calibration_without_sound_or_with_other_patches_is_refused() -> None:
    network = random_network(0.125)
    with pytest.raises(GraphError, match="there are none"):
        calibrate(network, [])
    with pytest.raises(GraphError, match=r"\(97, 64\)"):
        calibrate(network, [np.zeros((97, 64), np.float32)])
    with pytest.raises(GraphError, match="finite"):
        calibrate(network, [np.full((96, 64), np.nan, np.float32)])


def test_calibration_may_clip_what_only_few_patches_reach() -> None:
    network = random_network(0.125, activation="relu")
    patches = [*random_patches(50), np.full((96, 64), 60, np.float32)]
    wide, tight = calibrate(network, patches), calibrate(network, patches, clipped=0.02)
    assert tight.patch[1] < wide.patch[1] == 60 and tight.embedding[1] < wide.embedding[1]
    assert tight.patch[0] <= -6.9 and tight.patch[1] >= 5  # silence and full scale are always inside


def test_what_was_written_can_be_cut_and_read_again() -> None:
    network = random_network(0.25)
    ranges = calibrate(network, random_patches(10))
    written = write_network(network, ranges, list(range(5)))
    open_again, direct = cut(written, [1]), quantised(network, ranges, [1])
    assert open_again.width == direct.width == 256
    assert open_again.embedding_scale == direct.embedding_scale
    np.testing.assert_allclose(open_again.class_weights, direct.class_weights, rtol=1e-6)
    np.testing.assert_allclose(open_again.class_biases, direct.class_biases, rtol=1e-6, atol=1e-6)
    patches = random_patches(5, seed=2)
    first, second = (outputs(Graph(one.pack()), patches, "embedding", "context") for one in (open_again, direct))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    read = yamnet_weights.from_tflite(written)
    for layer, wanted in zip(read.layers, network.layers, strict=True):
        assert (layer.kind, layer.stride, layer.activation) == (wanted.kind, wanted.stride, wanted.activation)
        np.testing.assert_allclose(layer.weights, wanted.weights, atol=np.abs(wanted.weights).max() / 250)


def test_classes_that_are_not_there_are_refused() -> None:
    network = random_network(0.125)
    written = write_network(network, calibrate(network, random_patches(3)), [0, 1])
    with pytest.raises(GraphError, match="has 2 classes"):
        cut(written, [5])
    bare = write_network(without_classifier(network.layers), calibrate(network, random_patches(3)))
    with pytest.raises(GraphError, match="no classifier"):
        cut(bare, [0])
    assert cut(bare, []).class_weights.shape == (0, 128)


def test_a_head_fits_a_narrow_backbone_and_one_of_another_width_is_refused() -> None:
    network = random_network(0.25)
    ranges = calibrate(network, random_patches(10))
    random = np.random.default_rng(1)
    head = Head((random.standard_normal((4, 256)) * 0.3).astype(np.float32), np.zeros(4, np.float32), 2.0, 1, (0, 4))
    backbone = quantised(network, ranges, [2])
    append_head(backbone, head)
    graph, patches = Graph(backbone.pack()), random_patches(8, seed=3)
    assert list(graph.output_shapes) == ["scores", "embedding", "context"]
    embedding, scores = outputs(graph, patches, "embedding", "scores")
    np.testing.assert_allclose(scores, head_scores(quantised(network, ranges), head, embedding), atol=3e-6)
    steps = embedding / quantised(network, ranges).embedding_scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert steps.min() >= 0 and steps.max() < 255.01
    with pytest.raises(GraphError, match="of 1024 values"):
        append_head(quantised(network, ranges), Head(np.zeros((2, 1024), np.float32), np.zeros(2, np.float32), 1.0))
    with pytest.raises(GraphError, match="wants class 5"):
        append_head(quantised(network, ranges), Head(head.weights, head.biases, 1.0, 0, (5,)))


def test_the_int8_graph_is_that_of_googles_file_operator_by_operator() -> None:
    network = random_network(0.125)
    model = parse(write_network(network, calibrate(network, random_patches(3)), [0]))
    operators = [builtin(model, op) for op in model.subgraphs[0].operators]
    pairs = [Operator.DEPTHWISE_CONV_2D, Operator.CONV_2D] * 13
    front, behind = [Operator.QUANTIZE, Operator.RESHAPE, Operator.CONV_2D], [Operator.MEAN]
    assert operators[: 3 + 26 + 1] == front + pairs + behind
    tail = [Operator.DEQUANTIZE, Operator.FULLY_CONNECTED, Operator.LOGISTIC, Operator.DEQUANTIZE]
    assert operators[30:] == tail


@pytest.mark.data
def test_googles_network_written_anew_scores_real_clips_like_googles_own(data: Path, yamnet: Path) -> None:
    content = yamnet.read_bytes()
    network = yamnet_weights.from_tflite(content)
    assert len(network.layers) == 27 and network.class_weights.shape == (521, 1024)
    everything = list(range(521))
    ranges = calibrate(network, real_patches(data, 25))
    patches = real_patches(data, 25, first=7)
    assert len(patches) >= 20
    google, ours, exact = (
        outputs(Graph(one), patches, "embedding", "context")
        for one in (
            cut(content, everything).pack(),
            write_network(network, ranges, everything),
            float_network(network, everything),
        )
    )
    # Both int8 networks stand as far from the float one: what they differ in is their rounding.
    assert correlations(google[0], exact[0]).min() > 0.995
    assert correlations(ours[0], exact[0]).min() > 0.995
    assert correlations(ours[0], google[0]).min() > 0.99
    assert np.abs(ours[1] - exact[1]).mean() <= 1.2 * np.abs(google[1] - exact[1]).mean()
    assert np.abs(ours[1] - google[1]).max() < 0.2
