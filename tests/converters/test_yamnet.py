"""YAMNet cut at the patch, and the head in the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from ai_edge_litert.interpreter import Interpreter

from converters.flatbuffer import GraphError, Operator, builtin, parse
from converters.head import Head, append_head, head_margins
from converters.yamnet import cut
from edge.audio.logmel import WINDOW_SAMPLES, log_mel
from edge.detection import audioset
from edge.detection.graph import Graph
from edge.detection.waveform_yamnet import read_labels
from tests.edge.detection import tiny

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def content(yamnet: Path) -> bytes:
    return yamnet.read_bytes()


@pytest.fixture(scope="module")
def rows(content: bytes) -> list[int]:
    labels = read_labels(content, "yamnet")
    return [labels.index(label) for label in audioset.CONTEXT]


@pytest.fixture(scope="module")
def original(yamnet: Path) -> Any:
    with pytest.warns(UserWarning, match="preserve_all_tensors"):
        interpreter = Interpreter(str(yamnet), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def sounds(data: Path) -> list[np.ndarray]:
    found = []
    for path in sorted((data / "audio").rglob("*.flac"))[::12]:
        frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate == 16_000 and len(frames) >= WINDOW_SAMPLES:
            found.append(np.ascontiguousarray(frames[:WINDOW_SAMPLES, 0]))
    return found


def test_scores_and_embedding_are_exactly_the_originals_on_real_clips(
    data: Path, content: bytes, rows: list[int], original: Any
) -> None:
    graph = Graph(cut(content, rows).pack())
    names = {one["name"]: one for one in original.get_tensor_details()}
    pooled = next(one for name, one in names.items() if name.endswith("layer28/reduce_mean"))
    scale, zero = pooled["quantization"]
    clips = sounds(data)
    for waveform in clips:
        original.set_tensor(original.get_input_details()[0]["index"], waveform)
        original.invoke()
        graph.feed(original.get_tensor(names["feature_patch"]["index"]))
        scores = original.get_tensor(original.get_output_details()[0]["index"])[0]
        assert np.array_equal(graph.output("context"), scores[rows])
        steps = original.get_tensor(pooled["index"]).reshape(-1).astype(np.int32) - zero
        assert np.array_equal(graph.output("embedding"), steps.astype(np.float32) * np.float32(scale))
    assert len(clips) >= 50


def test_all_521_scores_are_exact_when_all_are_asked_for(content: bytes, original: Any) -> None:
    waveform = (np.random.default_rng(1).standard_normal(WINDOW_SAMPLES) * 0.1).astype(np.float32)
    original.set_tensor(original.get_input_details()[0]["index"], waveform)
    original.invoke()
    names = {one["name"]: one["index"] for one in original.get_tensor_details()}
    graph = Graph(cut(content, list(range(521))).pack())
    graph.feed(original.get_tensor(names["feature_patch"]))
    assert np.array_equal(graph.output("context"), original.get_tensor(original.get_output_details()[0]["index"])[0])


def test_nothing_dead_is_left_in_the_file(content: bytes, rows: list[int]) -> None:
    packed = cut(content, rows).pack()
    model = parse(packed)
    graph = model.subgraphs[0]
    used = {int(i) for op in graph.operators for i in [*op.inputs, *op.outputs]}
    assert used == set(range(len(graph.tensors)))
    assert {tensor.buffer for tensor in graph.tensors} == set(range(len(model.buffers)))
    assert Operator.SPLIT not in {builtin(model, op) for op in graph.operators}
    assert len(packed) < 3_600_000


def test_what_is_no_waveform_yamnet_is_refused() -> None:
    for other in (b"", b"RIFF1234", tiny.graph(), b"\0\0\0\0TFL3" + b"\xff" * 300):
        with pytest.raises(GraphError):
            cut(other, [])


@pytest.mark.parametrize("strength", [0.02, 0.3, 3.0])
def test_the_graph_computes_the_margins_of_the_head_and_scores_near_one_stay_apart(
    content: bytes, strength: float
) -> None:
    random = np.random.default_rng(4)
    head = Head(
        (random.standard_normal((15, 1024)) * strength).astype(np.float32),
        random.standard_normal(15).astype(np.float32),
        scale=5.0,
        ensemble_label=3,
        ensemble_rows=(421, 422, 423),
        ensemble_gain=0.4,
        ensemble_offset=-1.5,
    )
    backbone = cut(content, [0])
    append_head(backbone, head)
    graph = Graph(backbone.pack())
    plain = cut(content, [])
    distinct = set()
    for seed in range(25):
        waveform = np.random.default_rng(seed).standard_normal(WINDOW_SAMPLES) * 10 ** -(seed / 8)
        graph.feed(log_mel(waveform.astype(np.float32))[np.newaxis])
        wanted = head_margins(plain, head, graph.output("embedding")[np.newaxis])[0].clip(-69, 69)
        scores = graph.output("scores")
        np.testing.assert_allclose(scores, 1 / (1 + np.exp(-wanted / 5)), atol=2e-6)
        strong = wanted > 5
        found = 5 * np.log(scores[strong] / (1 - scores[strong].astype(np.float64)))
        inner = wanted[strong] < 40
        np.testing.assert_allclose(found[inner], wanted[strong][inner], rtol=0.01)
        distinct |= set(scores[strong & (wanted < 60)].tolist())
    assert 1.0 not in distinct


def test_the_head_costs_little_beside_the_network(content: bytes, rows: list[int]) -> None:
    from time import thread_time

    random = np.random.default_rng(0)
    backbone = cut(content, rows)
    head = Head(
        (random.standard_normal((15, 1024)) * 0.02).astype(np.float32), np.zeros(15, np.float32), 2.0, 0, (420,)
    )
    append_head(backbone, head)
    graphs = [Graph(cut(content, rows).pack()), Graph(backbone.pack())]
    patch = np.zeros((1, 96, 64), np.float32)
    best = [np.inf, np.inf]
    for _ in range(30):
        for which, graph in enumerate(graphs):
            began = thread_time()
            for _ in range(10):
                graph.feed(patch)
            best[which] = min(best[which], thread_time() - began)
    assert best[1] < 1.1 * best[0]
