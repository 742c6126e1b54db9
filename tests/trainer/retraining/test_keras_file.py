"""``yamnet_classifier.keras``: what the device hears, for whoever works on with Keras."""

from pathlib import Path

import numpy as np

from converters.head_file import Weights
from tests.converters.conftest import extra
from trainer.retraining.keras_file import NAME, keras_file
from trainer.retraining.telling import Telling

RANDOM = np.random.default_rng(4)


def head(hidden: int) -> Weights:
    def normal(*shape: int) -> np.ndarray:
        return RANDOM.standard_normal(shape).astype(np.float32)

    if not hidden:
        return Weights(normal(3, 24), normal(3))
    return Weights(normal(3, hidden), normal(3), normal(hidden, 24), normal(hidden))


def shares(one: Weights, read: np.ndarray) -> np.ndarray:
    inner = read.astype(np.float64)
    if one.hidden_weights is not None and one.hidden_biases is not None:
        inner = np.maximum(inner @ one.hidden_weights.T + one.hidden_biases, 0)
    logits = inner @ one.weights.T + one.biases
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(wanted / wanted.sum(axis=1, keepdims=True))


def test_anyone_can_load_it_and_gets_the_same_shares(tmp_path: Path) -> None:
    keras = extra("keras")
    for hidden in (0, 8):
        one, read = head(hidden), RANDOM.uniform(0, 2, (5, 24)).astype(np.float32)
        path = tmp_path / NAME
        path.write_bytes(keras_file(one, Telling(quiet=True)) or b"")
        found = keras.saving.load_model(path).predict(read, verbose=0)
        np.testing.assert_allclose(found, shares(one, read), atol=2e-6)
