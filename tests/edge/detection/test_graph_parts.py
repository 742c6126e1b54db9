"""A graph in two parts gives what the whole gives, to the bit; what cannot be parted stays whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters import flatbuffer
from converters.calibration import calibrate
from converters.head import Head, append_head, in_steps
from converters.inner import reading_width
from converters.int8_network import quantised
from converters.network import random_start
from edge.detection.choice import default_model
from edge.detection.graph import Graph, GraphInParts, open_graph
from edge.detection.graph_parts import parts_of
from edge.detection.model_file import read

RANDOM = np.random.default_rng(0)
PATCHES = RANDOM.normal(-3, 2, (6, 1, 96, 64)).clip(-6.9, 4).astype(np.float32)


def built(maps: tuple[int, ...], context: tuple[int, ...]) -> bytes:
    network = random_start(0.25, 8, 1)
    backbone = quantised(network, calibrate(network, PATCHES[:, 0]), context)
    weights = RANDOM.standard_normal((16, reading_width(backbone, maps))).astype(np.float32)
    head = Head(
        RANDOM.standard_normal((3, 16)).astype(np.float32),
        np.zeros(3, np.float32),
        2.0,
        maps=maps,
        hidden_weights=weights,
        hidden_biases=np.zeros(16, np.float32),
    )
    append_head(backbone, in_steps(head))
    return backbone.pack()


@pytest.fixture(scope="module")
def shipped() -> bytes:
    return read(default_model()).graph


def assert_same(graph: bytes) -> None:
    whole, apart = Graph(graph), open_graph(graph, "scores")
    assert isinstance(apart, GraphInParts)
    assert dict(apart.output_shapes) == dict(whole.output_shapes)
    for number, patch in enumerate(PATCHES):
        for one in (whole, apart):
            one.feed(patch)
        # In any order, and some of them not at all.
        for name in list(whole.output_shapes)[number % 2 :: 1 + number % 3]:
            assert np.array_equal(apart.output(name), whole.output(name)), name


def test_the_shipped_model_gives_the_same_in_parts(shipped: bytes) -> None:
    assert_same(shipped)


@pytest.mark.parametrize(("maps", "context"), [((7, 11), (0, 3)), ((7,), ()), ((), (0, 3)), ((7, 11), (1,))])
def test_other_networks_give_the_same_in_parts(maps: tuple[int, ...], context: tuple[int, ...]) -> None:
    graph = built(maps, context)
    if maps:
        assert_same(graph)
    else:  # the embedding is read by the head and told: two tensors lie between
        assert parts_of(graph, "scores") is None


def test_the_first_part_leaves_out_the_layers_that_scores_do_not_need(shipped: bytes) -> None:
    parts = parts_of(shipped, "scores")
    assert parts is not None
    first, second, whole = (flatbuffer.parse(one).subgraphs[0] for one in (parts.first, parts.second(), shipped))
    convolutions = [
        sum(b"layer" in whole.tensors[op.outputs[0]].name for op in one.operators) for one in (first, second)
    ]
    assert sum(convolutions) == 27 and convolutions[1] == 4
    assert len(first.operators) + len(second.operators) == len(whole.operators)
    assert [whole.tensors[i].name for i in second.inputs] == [parts.seam.encode()] == [b"layer22"]


def test_a_graph_without_other_outputs_stays_whole(shipped: bytes) -> None:
    model = flatbuffer.parse(shipped)
    graph = model.subgraphs[0]
    graph.outputs = [i for i in graph.outputs if graph.tensors[i].name == b"scores"]
    flatbuffer.prune(model)
    assert parts_of(flatbuffer.pack(model), "scores") is None
    assert parts_of(shipped, "no such output") is None


@given(at=st.integers(0, 60_000), value=st.integers(0, 255), kept=st.integers(0, 70_000))
def test_no_damage_makes_the_parting_fail(shipped: bytes, at: int, value: int, kept: int) -> None:
    tables = shipped[-70_000:]  # they lie behind the weights
    damaged = bytearray(shipped)
    damaged[len(shipped) - len(tables) + at] = value
    parts_of(bytes(damaged), "scores")
    parts_of(shipped[: len(shipped) - kept], "scores")
    parts_of(shipped[:8] + tables, "scores")
