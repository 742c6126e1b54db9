"""Out of Keras in every format, and heads as Keras files. Needs the extra ``deep``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from converters.cli import app
from converters.clips import made
from converters.flatbuffer import GraphError, Operator, builtin, parse
from converters.head_file import Weights
from converters.keras_export import float_tflite, read_keras
from converters.keras_head import read_keras_head, write_keras_head
from converters.keras_yamnet import keras_model
from converters.parity import INT8, compare
from converters.quantise import static_int8
from converters.running import run_keras, run_tflite
from edge.detection.model_file import read
from tests.converters.networks import random_network


@pytest.fixture(scope="module")
def saved(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network with two named outputs, as a ``.keras`` file."""
    path = tmp_path_factory.mktemp("keras") / "narrow.keras"
    keras_model(random_network(0.125)).save(path)
    return path


@pytest.fixture(scope="module")
def floating(saved: Path, litert_torch: Any) -> bytes:
    return float_tflite(read_keras(saved))


def test_the_exported_graph_has_no_stray_operators_and_pads_as_tensorflow_does(floating: bytes) -> None:
    model = parse(floating)
    operators = [builtin(model, op) for op in model.subgraphs[0].operators]
    convolutions = {Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D}
    others = [code for code in operators if code not in convolutions]
    assert others == [Operator.RESHAPE, Operator.MEAN, Operator.FULLY_CONNECTED, Operator.LOGISTIC]
    strided = [
        op.builtinOptions
        for op in model.subgraphs[0].operators
        if builtin(model, op) in convolutions and op.builtinOptions.strideH == 2
    ]
    assert len(strided) == 5 and all(options.padding == 0 for options in strided)


def test_int8_keeps_the_loud_windows_that_are_rare(floating: bytes) -> None:
    clips = made()
    quiet = [sound.patch[np.newaxis] for sound in clips.sounds if np.abs(sound.waveform).max() < 0.02]
    loud = [sound.patch[np.newaxis] for sound in clips.sounds if np.abs(sound.waveform).max() > 0.1]
    small = static_int8(floating, [*loud, *(5 * quiet)])
    found = compare(run_tflite(floating), run_tflite(small), clips, INT8)
    assert {one.output for one in found} == {"context", "embedding"} and all(one.holds for one in found)
    model = parse(small)
    scales = [
        len(model.subgraphs[0].tensors[op.inputs[1]].quantization.scale)
        for op in model.subgraphs[0].operators
        if builtin(model, op) == Operator.CONV_2D
    ]
    assert min(scales) >= 8, "weights have a scale per channel"
    with pytest.raises(GraphError, match="there is none"):
        static_int8(floating, [])


@pytest.mark.parametrize("to", ["float32", "float16", "int8", "onnx", "torchscript"])
def test_the_command_exports_and_compares(saved: Path, litert_torch: Any, onnx: Any, tmp_path: Path, to: str) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["keras", str(saved), "--to", to, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "context: correlation" in done.output and "embedding: correlation" in done.output
    assert out.stat().st_size > 10_000


def test_what_keras_cannot_read_is_one_line(keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    for prepare, said in ((lambda: None, "does not exist"), (lambda: path.write_bytes(b"PK"), "no Keras model")):
        prepare()
        done = CliRunner().invoke(app, ["keras", str(path), "--to", "float32"])
        assert done.exit_code == 1 and said in done.output and done.output.count("\n") == 1


def test_a_keras_model_becomes_a_model_file(saved: Path, litert_torch: Any, tmp_path: Path) -> None:
    text, out = tmp_path / "net.yaml", tmp_path / "model.tflite"
    text.write_text(
        "name: keras-guns\nversion: '1'\nlabels: [gun_shot, a, b, c, d]\nroles: {gun_shot: alert}\n"
        "decisions: {gun_shot: {threshold: 0.5, release: 0.3, hits: {'0.24': 2}}}\n"
        "scores: context\nembedding: embedding\nscore_kind: sigmoid\n"
    )
    command = ["to-model", str(saved), "--description", str(text), "--to", "int8", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert read(out).manifest.score_kind == "sigmoid"


def test_a_head_is_a_keras_file_and_comes_back(keras: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    path = tmp_path / "yamnet_classifier.keras"
    embedding = random.uniform(0, 2, (3, 32)).astype(np.float32)
    for head in (Weights(normal(4, 32), normal(4)), Weights(normal(4, 8), normal(4), normal(8, 32), normal(8))):
        write_keras_head(path, head)
        found = read_keras_head(path)
        for name, value in vars(head).items():
            np.testing.assert_array_equal(getattr(found, name), value)
        model = keras.saving.load_model(path)  # as anyone would, without our code
        inner = embedding.astype(np.float64)
        if head.hidden_weights is not None:
            inner = np.maximum(inner @ head.hidden_weights.T + head.hidden_biases, 0)
        logits = inner @ head.weights.T + head.biases
        wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
        wanted /= wanted.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict(embedding, verbose=0), wanted, atol=1e-6)


def test_a_head_that_was_trained_further_in_keras_comes_back(keras: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    numbers = [random.standard_normal(shape).astype(np.float32) for shape in ((3, 6), (3,), (6, 10), (6,))]
    path = tmp_path / "yamnet_classifier.keras"
    write_keras_head(path, Weights(*numbers))
    model = keras.saving.load_model(path)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(random.uniform(0, 2, (8, 10)), np.arange(8) % 3, epochs=1, verbose=0)
    model.save(path)
    found = read_keras_head(path)
    assert found.hidden_weights is not None and found.hidden_weights.shape == (6, 10)
    assert not np.array_equal(found.hidden_weights, numbers[2])


def test_a_head_with_another_hidden_layer_is_refused(keras: Any, tmp_path: Path) -> None:
    path = tmp_path / "yamnet_classifier.keras"
    read = keras.Input((5,))
    bent = keras.layers.Dense(4, activation="tanh", name="hidden")(read)
    keras.Model(read, keras.layers.Softmax()(keras.layers.Dense(2, name="logits")(bent))).save(path)
    with pytest.raises(GraphError, match="ends in tanh, not relu"):
        read_keras_head(path)


def test_another_keras_model_is_no_head(saved: Path) -> None:
    with pytest.raises(GraphError, match="expected one, called logits"):
        read_keras_head(saved)


def test_models_of_one_or_many_outputs_are_named(keras: Any) -> None:
    patch = keras.Input((96, 64))
    flat = keras.layers.Flatten()(patch)
    two = keras.Model(patch, [keras.layers.Dense(2, name="b")(flat), keras.layers.Dense(3, name="a")(flat)])
    found = run_keras(two)(made().sounds[0])
    assert {name: len(values) for name, values in found.items()} == {"b": 2, "a": 3}
