"""Float graphs made smaller, graphs of others made to fit, and what describes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner

from converters import flatbuffer, parity
from converters.cli import app
from converters.clips import made
from converters.description import Description, DescriptionError, read_description
from converters.flatbuffer import GraphError, Operator, builtin, parse
from converters.foreign import described_run, model_file_of
from converters.int8_network import float_network
from converters.patch_graph import as_patch_graph, output_names
from converters.quantise import halved
from converters.running import run_tflite
from edge.detection.graph import Graph
from edge.detection.model_file import read
from tests.converters.networks import random_network
from tests.edge.detection import tiny

DESCRIBED = {
    "name": "others",
    "version": "1",
    "labels": ["gun_shot", "rain", "background"],
    "roles": {"gun_shot": "alert"},
    "decisions": {"gun_shot": {"threshold": 0.5, "release": 0.3, "hits": {"0.24": 2}}},
}


def graph_of(shape: list[int], outputs: dict[str, int]) -> bytes:
    """A patch in this shape → its values flat → a dense layer for each output, without an activation."""
    model = flatbuffer.empty()
    graph = model.subgraphs[0]
    source = flatbuffer.add_tensor(model, "serving_input", shape)
    flat = flatbuffer.add_tensor(model, "flat", [1, 6144])
    rows = flatbuffer.add_tensor(model, "flat/shape", [2], np.array([1, 6144], np.int32))
    flatbuffer.add_operator(model, Operator.RESHAPE, [source, rows], [flat])
    graph.inputs = [source]
    random = np.random.default_rng(0)
    for name, count in outputs.items():
        weights = (random.standard_normal((count, 6144)) * 0.02).astype(np.float32)
        result = flatbuffer.add_tensor(model, name, [1, count])
        inputs = [flat, flatbuffer.add_tensor(model, f"{name}/weights", weights.shape, weights), -1]
        options = schema.FullyConnectedOptionsT()
        flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, inputs, [result], options)
        graph.outputs.append(result)
    flatbuffer.prune(model)
    return flatbuffer.pack(model)


def test_float16_halves_the_file_and_hardly_moves_a_value() -> None:
    whole = float_network(random_network(0.5), range(5))
    half = halved(whole)
    assert len(half) < 0.56 * len(whole)
    found = parity.compare(run_tflite(whole), run_tflite(half), made(), parity.FLOAT16)
    assert all(one.holds for one in found) and {one.output for one in found} == {"embedding", "context"}
    kinds = {builtin(parse(half), op) for op in parse(half).subgraphs[0].operators}
    assert Operator.DEQUANTIZE in kinds


@pytest.mark.parametrize("shape", [[1, 96, 64], [1, 96, 64, 1], [1, 1, 96, 64], [96, 64]])
@pytest.mark.parametrize("missing", ["none", "sigmoid", "softmax"])
def test_a_graph_of_another_shape_is_made_to_take_the_patch(shape: list[int], missing: Any) -> None:
    content = graph_of(shape, {"out": 3})
    graph = Graph(as_patch_graph(content, {"scores": None}, missing))
    assert graph.input_shape == (1, 96, 64) and dict(graph.output_shapes) == {"scores": (1, 3)}
    sound = made().sounds[5]
    graph.feed(sound.patch[np.newaxis])
    logits = run_tflite(content)(sound)["out"].astype(np.float64)
    wanted = {
        "none": logits,
        "sigmoid": 1 / (1 + np.exp(-logits)),
        "softmax": np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum(),
    }[missing]
    np.testing.assert_allclose(graph.output("scores"), wanted, rtol=1e-4, atol=1e-6)


def test_outputs_are_called_as_wanted_even_where_the_names_are_taken() -> None:
    content = graph_of([1, 96, 64], {"context": 3, "scores": 2})
    assert output_names(content) == ["context", "scores"]
    graph = Graph(as_patch_graph(content, {"scores": "context", "context": "scores"}))
    assert dict(graph.output_shapes) == {"scores": (1, 3), "context": (1, 2)}


def test_a_graph_with_quantised_ends_is_made_float(tmp_path: Path) -> None:
    model = flatbuffer.empty()
    graph = model.subgraphs[0]
    steps = flatbuffer.steps_of(0.05, 10)
    source = flatbuffer.add_tensor(model, "in", [1, 96, 64, 1], quantisation=steps)
    rows = flatbuffer.add_tensor(model, "rows", [2], np.array([1, 6144], np.int32))
    result = flatbuffer.add_tensor(model, "out", [1, 6144], quantisation=steps)
    flatbuffer.add_operator(model, Operator.RESHAPE, [source, rows], [result])
    graph.inputs, graph.outputs = [source], [result]
    found = Graph(as_patch_graph(flatbuffer.pack(model), {"scores": None}))
    patch = np.random.default_rng(0).uniform(-6, 5, (1, 96, 64)).astype(np.float32)
    found.feed(patch)
    np.testing.assert_allclose(found.output("scores"), patch.reshape(-1), atol=0.026)


def test_what_takes_no_patch_or_lacks_the_output_is_refused() -> None:
    with pytest.raises(GraphError, match="96 x 64 values"):
        as_patch_graph(tiny.graph(width=32), {"scores": "scores"})
    with pytest.raises(GraphError, match="in this order"):
        as_patch_graph(graph_of([1, 64, 96], {"out": 3}), {"scores": None})
    two = graph_of([1, 96, 64], {"a": 3, "b": 2})
    with pytest.raises(GraphError, match="outputs a, b; say which"):
        as_patch_graph(two, {"scores": None})
    with pytest.raises(GraphError, match="no output 'c'; it has a, b"):
        as_patch_graph(two, {"scores": "c"})


def test_a_described_graph_is_a_model_file_that_the_device_takes(tmp_path: Path) -> None:
    source, text, out = tmp_path / "net.tflite", tmp_path / "net.yaml", tmp_path / "model.tflite"
    source.write_bytes(graph_of([1, 96, 64, 1], {"logits": 3, "voices": 1}))
    described = {**DESCRIBED, "scores": "logits", "activation": "softmax", "card": "# others\n"}
    described |= {"context": "voices", "context_labels": ["Speech"], "speech_label": "Speech"}
    text.write_text(json.dumps(described))
    done = CliRunner().invoke(app, ["to-model", str(source), "--description", str(text), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "others 1" in done.output and "scores: correlation 1.00000" in done.output
    manifest = read(out).manifest
    assert manifest.roles["rain"] == "background" and manifest.score_kind == "softmax"
    assert manifest.privacy_labels == ["Speech"] and read(out).card == "# others\n"


def test_a_graph_that_does_not_give_a_score_for_each_label_is_one_line(tmp_path: Path) -> None:
    source, text, out = tmp_path / "net.tflite", tmp_path / "net.yaml", tmp_path / "model.tflite"
    source.write_bytes(graph_of([1, 96, 64], {"logits": 2}))
    text.write_text(json.dumps(DESCRIBED))
    done = CliRunner().invoke(app, ["to-model", str(source), "--description", str(text), "--out", str(out)])
    assert done.exit_code == 1 and not out.exists()
    assert "output 'scores' has shape (1, 2), the manifest says (1, 3)" in done.output
    assert done.output.count("\n") == 1


def test_a_conversion_that_loses_its_scores_is_told_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, text, out = tmp_path / "net.tflite", tmp_path / "net.yaml", tmp_path / "model.tflite"
    source.write_bytes(graph_of([1, 96, 64], {"logits": 3}))
    text.write_text(json.dumps({**DESCRIBED, "activation": "softmax"}))
    right = Description.model_validate(DESCRIBED)
    # A converter that forgets the activation: the real failure that the report is there for.
    monkeypatch.setattr(
        "converters.foreign.model_file_of",
        lambda content, described, size, clips: model_file_of(content, right, size, clips),
    )
    done = CliRunner().invoke(app, ["to-model", str(source), "--description", str(text), "--out", str(out)])
    assert done.exit_code == 3
    assert "FAILS" in done.output and "do not use it" in done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": []}, "labels: "),
        ({"treshold": 1}, "treshold: Extra inputs"),
        ({"roles": {"gun": "alert"}}, "roles name unknown labels ['gun']"),
        ({"roles": {}}, "no label has the role alert"),
        ({"context": "voices"}, "context and context_labels go together"),
        ({"decisions": {"gun_shot": {"threshold": 0.2, "release": 0.3, "hits": {"0.24": 2}}}}, "release 0.3 is above"),
    ],
)
def test_a_description_that_is_wrong_is_told_with_its_file_and_key(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(json.dumps({**DESCRIBED, **change}))
    with pytest.raises(DescriptionError) as caught:
        read_description(path)
    assert str(path) in str(caught.value) and said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", " describes no model"),
        ("- a\n", " describes no model"),
        ("a: [", ", line 1: not YAML: "),
        ("\x00", ": not YAML: special characters"),
    ],
)
def test_a_file_that_is_no_description_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(DescriptionError, match=r"^[^\n]*$") as caught:
        read_description(path)
    assert str(caught.value).startswith(f"{path}{said}")


def test_the_original_is_activated_as_the_model_is() -> None:
    content = graph_of([1, 96, 64], {"logits": 3})
    run = run_tflite(content)
    sound = made().sounds[0]
    for activation, total in (("softmax", 1.0), ("none", float(run(sound)["logits"].sum()))):
        described = Description.model_validate({**DESCRIBED, "activation": activation})
        assert float(described_run(run, described)(sound)["scores"].sum()) == pytest.approx(total, rel=1e-4)


def test_kinds_that_are_not_known_are_refused(tmp_path: Path) -> None:
    source, text = tmp_path / "net.h5", tmp_path / "net.yaml"
    source.write_bytes(b"x")
    text.write_text(json.dumps(DESCRIBED))
    done = CliRunner().invoke(app, ["to-model", str(source), "--description", str(text)])
    assert done.exit_code == 1 and "of no kind that is known" in done.output
