"""A head as a Keras model file: ``yamnet_classifier.keras``, for people who go on with it in Keras.

Input ``embedding`` float32 [n, F], all that the head reads: the embedding or, of most heads, pooled inner maps.
Output ``scores`` [n, K], the softmax of ``logits``; before them, of most heads, ``hidden``. The margin that the
device reads is the log-odds of it: log(p / (1 - p)). Standard layers only, so no code of ours is needed to load it.
What the backbone's own classes add to a head (``ensemble_classes``) is not in it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.extras import needed, quietly
from converters.flatbuffer import GraphError
from converters.head_file import Weights
from converters.keras_export import read_keras


def write_keras_head(path: Path, head: Weights, name: str = "yamnet_classifier") -> None:
    """``path`` ends in ``.keras``.

    Raises:
        MissingExtraError: no Keras here.
    """
    keras = needed("keras")
    hidden, hidden_biases = head.hidden_weights, head.hidden_biases
    reads = (head.weights if hidden is None else hidden).shape[1]
    embedding = keras.Input((reads,), name="embedding")
    inner, before = embedding, None
    if hidden_biases is not None:
        before = keras.layers.Dense(len(hidden_biases), activation="relu", name="hidden")
        inner = before(embedding)
    logits = keras.layers.Dense(len(head.biases), name="logits")
    scores = keras.layers.Softmax(name="scores")(logits(inner))
    model = keras.Model(embedding, scores, name=name)
    logits.set_weights([np.ascontiguousarray(head.weights.T), head.biases])
    if before is not None and hidden is not None:
        before.set_weights([np.ascontiguousarray(hidden.T), hidden_biases])
    with quietly():
        model.save(path)


def read_keras_head(path: Path) -> Weights:
    """The numbers of such a file, as it is or trained further.

    Raises:
        GraphError: another kind of model.
        MissingExtraError: no Keras here.
    """
    model = read_keras(path)
    dense = {layer.name: layer for layer in model.layers if type(layer).__name__ == "Dense"}
    if set(dense) not in ({"logits"}, {"hidden", "logits"}) or any(len(one.weights) != 2 for one in dense.values()):
        raise GraphError(
            f"{path} is no head: its dense layers are {', '.join(dense) or 'none'}; expected one, called logits, or "
            "hidden and logits"
        )
    if dense["logits"].activation.__name__ != "linear":
        raise GraphError(f"{path} is no head: logits are not activated, the softmax comes behind them")
    if "hidden" not in dense:
        return Weights(*_numbers(dense["logits"]))
    if dense["hidden"].activation.__name__ != "relu":
        raise GraphError(f"{path} is no head: its hidden layer ends in {dense['hidden'].activation.__name__}, not relu")
    return Weights(*_numbers(dense["logits"]), *_numbers(dense["hidden"]))


def _numbers(layer: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights float32 [outputs, inputs] and biases float32 [outputs]."""
    kernel, biases = (np.asarray(one, np.float32) for one in layer.get_weights())
    return np.ascontiguousarray(kernel.T), biases
