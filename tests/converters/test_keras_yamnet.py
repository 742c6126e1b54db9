"""YAMNet as a Keras model, and its weights from both of Google's files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import yamnet_weights
from converters.extras import MissingExtraError, needed
from converters.flatbuffer import GraphError
from converters.int8_network import float_network
from converters.keras_yamnet import keras_model, layer_names, network_of
from converters.network import Activation, Network, without_classifier
from converters.yamnet import cut
from converters.yamnet_h5 import EPSILON, from_h5
from edge.detection.graph import Graph
from tests.converters.networks import random_network, random_patches
from tests.converters.sounds import real_patches


def same(one: Network, other: Network, relative: float = 1e-5) -> None:
    assert len(one.layers) == len(other.layers)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert (a.kind, a.stride, a.activation) == (b.kind, b.stride, b.activation)
        np.testing.assert_allclose(a.weights, b.weights, rtol=relative, atol=1e-6)
        np.testing.assert_allclose(a.biases, b.biases, rtol=relative, atol=1e-6)
    np.testing.assert_array_equal(one.class_weights, other.class_weights)
    np.testing.assert_array_equal(one.class_biases, other.class_biases)


def test_a_missing_library_is_one_line_with_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"needs no_such_thing.*pip install 'ecosight\[deep\]'"):
        needed("no_such_thing")


@pytest.mark.parametrize("activation", ["relu6", "relu"])
@pytest.mark.parametrize("with_batch_norms", [False, True])
def test_keras_computes_what_the_float_graph_computes(
    keras: Any, with_batch_norms: bool, activation: Activation
) -> None:
    network = random_network(0.25, activation=activation)
    model = keras_model(network, with_batch_norms)
    patches = random_patches(4)
    found = model.predict(patches, verbose=0)
    graph = Graph(float_network(network, range(5)))
    for row, patch in enumerate(patches):
        graph.feed(patch[np.newaxis])
        np.testing.assert_allclose(found["embedding"][row], graph.output("embedding"), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found["context"][row], graph.output("context"), atol=1e-4)


def test_a_keras_model_becomes_plain_numbers_again_and_keeps_what_it_learned(keras: Any, tmp_path: Path) -> None:
    network = random_network(0.125)
    same(network_of(keras_model(network)), network)
    model = keras_model(network, with_batch_norms=True)
    same(network_of(model), network)
    model.compile(optimizer="sgd", loss={"embedding": "mse", "context": "binary_crossentropy"})
    patches = random_patches(4)
    wanted = {"embedding": np.ones((4, 128), np.float32), "context": np.ones((4, 5), np.float32)}
    model.fit(patches, wanted, epochs=1, batch_size=4, verbose=0)
    path = tmp_path / "tuned.keras"
    model.save(path)
    tuned = network_of(keras.saving.load_model(path))
    assert np.abs(tuned.layers[0].weights - network.layers[0].weights).max() > 1e-6
    graph = Graph(float_network(tuned, range(5)))
    graph.feed(patches[:1])
    np.testing.assert_allclose(model.predict(patches, verbose=0)["context"][0], graph.output("context"), atol=1e-4)


def test_a_keras_model_of_another_shape_is_refused(keras: Any) -> None:
    dense = keras.Sequential([keras.Input((96, 64)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(GraphError, match="no convolutions"):
        network_of(dense)
    values = keras.Input((96, 64, 1))
    valid = keras.Model(values, keras.layers.Conv2D(4, 3, padding="valid")(values))
    with pytest.raises(GraphError, match="padded or strided"):
        network_of(valid)


def test_googles_network_in_keras_scores_real_clips_as_the_int8_file_does(keras: Any, data: Path, yamnet: Path) -> None:
    content = yamnet.read_bytes()
    patches = real_patches(data, 40)[:24]
    assert len(patches) >= 20
    found = keras_model(yamnet_weights.from_tflite(content)).predict(np.stack(patches), verbose=0)
    graph = Graph(cut(content, list(range(521))).pack())
    for row, patch in enumerate(patches):
        graph.feed(patch[np.newaxis])
        assert np.corrcoef(found["embedding"][row], graph.output("embedding"))[0, 1] > 0.995
        assert np.abs(found["context"][row] - graph.output("context")).max() < 0.12


def h5_of(h5py: Any, path: Path, network: Network, classifier: str, prefix: str = "") -> None:
    """A file laid out as Google's ``yamnet.h5``, whose batch norms fold into ``network``."""
    random = np.random.default_rng(5)
    with h5py.File(path, "w") as file:

        def put(layer: str, weight: str, values: np.ndarray) -> None:
            file[f"{prefix}{layer}/{layer}/{weight}:0"] = values

        for name, layer in zip(layer_names(len(network.layers)), network.layers, strict=True):
            variance = random.uniform(0.5, 2, layer.outputs).astype(np.float32)
            mean = random.standard_normal(layer.outputs).astype(np.float32)
            gain = 1 / np.sqrt(variance + EPSILON)
            if layer.kind == "conv":
                put(name, "kernel", (layer.weights / gain[:, None, None, None]).transpose(1, 2, 3, 0))
            else:
                put(name, "depthwise_kernel", (layer.weights / gain)[..., np.newaxis])
            put(f"{name}/bn", "beta", layer.biases + mean * gain)
            put(f"{name}/bn", "moving_mean", mean)
            put(f"{name}/bn", "moving_variance", variance)
        put(classifier, "kernel", network.class_weights.T)
        put(classifier, "bias", network.class_biases)


@pytest.mark.parametrize(("classifier", "prefix"), [("logits", ""), ("dense", "model_weights/"), ("dense_1", "")])
def test_weights_are_read_from_a_file_of_the_layout_of_yamnet_h5(
    h5py: Any, tmp_path: Path, classifier: str, prefix: str
) -> None:
    network = random_network(0.125, activation="relu")
    h5_of(h5py, tmp_path / "yamnet.h5", network, classifier, prefix)
    found = from_h5(tmp_path / "yamnet.h5")
    for a, b in zip(found.layers, network.layers, strict=True):
        assert (a.kind, a.stride, a.activation) == (b.kind, b.stride, b.activation)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a.biases, b.biases, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.class_weights, network.class_weights)


def test_what_is_no_yamnet_h5_is_refused(h5py: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    path.write_bytes(b"nonsense")
    with pytest.raises(GraphError, match="no HDF5 file"):
        from_h5(path)
    with h5py.File(path, "w") as file:
        file["layer1/conv/layer1/conv/kernel:0"] = np.zeros((3, 3, 1, 4), np.float32)
    with pytest.raises(GraphError, match=r"no weight layer1/conv/bn/moving_mean"):
        from_h5(path)


def test_a_network_without_classes_makes_a_model_with_only_an_embedding(keras: Any) -> None:
    bare = without_classifier(random_network(0.125).layers)
    model = keras_model(bare)
    assert list(model.output) == ["embedding"]
    same(network_of(model), bare)
