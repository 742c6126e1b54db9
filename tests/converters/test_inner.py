"""Pooled inner maps, and heads with a hidden layer that read them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType

from converters import hidden_layer
from converters.calibration import calibrate
from converters.flatbuffer import GraphError, add_tensor, empty, parse, steps_of
from converters.head import Head, append_head, head_margins, head_of, in_steps
from converters.inner import reading_graph, reading_width
from converters.int8_network import float_network, quantised
from converters.network import Activation, random_start
from converters.yamnet import Cut, cut
from edge.detection.graph import Graph
from trainer.embedding.backbone import prepared

MAPS = (7, 11)
RANDOM = np.random.default_rng(3)
PATCHES = RANDOM.normal(-3, 2, (24, 96, 64)).clip(-6.9, 4).astype(np.float32)


def narrow(activation: Activation = "relu6") -> Cut:
    network = random_start(0.25, 8, 1, activation)
    return quantised(network, calibrate(network, PATCHES))


def read_of(graph: Graph, names: list[str], patch: np.ndarray) -> np.ndarray:
    graph.feed(patch[np.newaxis])
    return np.concatenate([graph.output(name) for name in names])


def a_head(reads: int, hidden: int = 16, labels: int = 5) -> Head:
    random = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    return Head(
        4 * normal(labels, hidden),
        normal(labels),
        2.0,
        0,
        (),
        0.3,
        0.1,
        (3,),
        MAPS,
        normal(hidden, reads),
        normal(hidden),
    )


def test_means_and_maxima_are_those_of_the_maps() -> None:
    backbone = narrow()
    width = reading_width(backbone, MAPS)
    parts = prepared(reading_graph(backbone, MAPS))
    names = [one.name for one in parts.features]
    assert names == ["inner/7/mean", "inner/7/maximum", "inner/11/mean", "inner/11/maximum"]
    assert parts.width == width == 4 * 128
    read = read_of(Graph(parts.graph), names, PATCHES[0])
    plain = Graph(float_network(random_start(0.25, 8, 1), every_output=True))
    plain.feed(PATCHES[:1])
    for first, number in ((0, 7), (256, 11)):
        wanted = plain.output(f"layer{2 * number}").reshape(-1, 128)
        step = 4 * parts.features[1 if number == 7 else 3].scale
        assert read[first : first + 128] == pytest.approx(wanted.mean(axis=0), abs=step)
        assert read[first + 128 : first + 256] == pytest.approx(wanted.max(axis=0), abs=2 * step)


def test_a_head_with_a_hidden_layer_gives_the_margins_that_numpy_gives() -> None:
    parts = prepared(reading_graph(narrow(), MAPS))
    reader = Graph(parts.graph)
    backbone = narrow()
    head = a_head(reading_width(backbone, MAPS))
    append_head(backbone, head)
    graph = Graph(backbone.pack())
    for patch in PATCHES[:8]:
        read = read_of(reader, [one.name for one in parts.features], patch)
        margins = head_margins(narrow(), head, read[np.newaxis])[0]
        graph.feed(patch[np.newaxis])
        assert graph.output("scores") == pytest.approx(1 / (1 + np.exp(-margins / head.scale)), abs=2e-5)


def test_a_head_can_be_taken_out_of_the_graph_again() -> None:
    backbone = narrow()
    head = replace(a_head(reading_width(backbone, MAPS)), ensemble_rows=())
    append_head(backbone, head)
    found = head_of(cut(backbone.pack(), []))
    assert found.maps == MAPS and found.neutral == (3,) and found.ensemble_label == 0
    assert head.hidden_weights is not None and found.hidden_weights is not None
    assert np.array_equal(found.hidden_weights, head.hidden_weights.astype(np.float16).astype(np.float32))


def test_a_head_in_steps_is_nearly_the_same_and_half_the_size() -> None:
    backbone = narrow()
    head = replace(a_head(reading_width(backbone, MAPS), 64), ensemble_rows=())
    small = in_steps(head)
    parts = prepared(reading_graph(narrow(), MAPS))
    reader = Graph(parts.graph)
    reads = np.stack([read_of(reader, [one.name for one in parts.features], patch) for patch in PATCHES])
    wanted, found = (head_margins(backbone, one, reads) for one in (head, small))
    assert np.abs(wanted - found).max() < 0.02 * wanted.std()
    content = []
    for one in (head, small):
        cut_off = narrow()
        append_head(cut_off, one)
        content.append(cut_off.pack())
    assert head.hidden_weights is not None
    assert len(content[0]) - len(content[1]) == pytest.approx(head.hidden_weights.size, rel=0.1)
    graph = Graph(content[1])
    graph.feed(PATCHES[:1])
    assert graph.output("scores") == pytest.approx(1 / (1 + np.exp(-found[0] / head.scale)), abs=2e-5)
    again = head_of(cut(content[1], []))
    assert np.array_equal(again.hidden_weights, small.hidden_weights)


@pytest.mark.parametrize("activation", ["relu6", "none"])
def test_a_head_in_steps_gives_what_floats_give_though_it_computes_with_bytes(activation: Activation) -> None:
    # Without an activation the steps of a map do not begin at 0: both ends of its range must be there.
    parts = prepared(reading_graph(narrow(activation), MAPS))
    reader, names = Graph(parts.graph), [one.name for one in parts.features]
    reads = np.stack([read_of(reader, names, patch) for patch in PATCHES])
    backbone = narrow(activation)
    head = in_steps(replace(a_head(reading_width(backbone, MAPS)), ensemble_rows=(), biases=np.zeros(5, np.float32)))
    head = replace(head, weights=head.weights * np.float32(3 / head_margins(backbone, head, reads).std()))
    append_head(backbone, head)
    content = backbone.pack()
    graph, wanted, found = Graph(content), head_margins(narrow(activation), head, reads), []
    for patch in PATCHES:
        graph.feed(patch[np.newaxis])
        scores = graph.output("scores").astype(np.float64)
        found.append(head.scale * np.log(scores / (1 - scores)))
    assert np.stack(found) == pytest.approx(wanted, abs=1e-4)
    model = parse(content)
    inputs = [model.subgraphs[0].tensors[i] for op in model.subgraphs[0].operators for i in op.inputs if i >= 0]
    weights = [tensor for tensor in inputs if re.fullmatch(rb"head/hidden/.*weights", tensor.name)]
    assert [tensor.type for tensor in weights] == 4 * [TensorType.INT8]


def test_hidden_weights_of_a_file_that_made_float32_of_its_bytes_are_still_read() -> None:
    model, steps = empty(), np.arange(-8, 8, dtype=np.int8).reshape(2, 8)
    add_tensor(model, "head/hidden/weights/kept", steps.shape, steps, quantisation=steps_of(1.0))
    found = hidden_layer.weights_of(model, {one.name.decode(): one for one in model.subgraphs[0].tensors})
    assert found is not None and np.array_equal(found, steps.astype(np.float32))


def test_whole_numbers_on_what_does_not_consist_of_steps_are_refused() -> None:
    backbone = narrow()
    plain = add_tensor(backbone.model, "plain", [1, 8])
    with pytest.raises(GraphError, match="plain does not consist of int8 steps"):
        hidden_layer.append(backbone.model, [plain], np.ones((4, 8), np.int8), np.zeros(4, np.float32))


def test_a_map_that_is_not_there_is_named() -> None:
    with pytest.raises(GraphError, match="no map 14"):
        reading_graph(narrow(), (14,))


def test_a_head_for_other_maps_is_refused() -> None:
    backbone = narrow()
    with pytest.raises(GraphError, match="train a head on this one"):
        append_head(backbone, a_head(reading_width(backbone, MAPS) - 1))
