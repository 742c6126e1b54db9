"""A head as a Keras model file: ``yamnet_classifier.keras``, for people who go on with it in Keras.

Input ``embedding`` float32 [n, F], all that the head reads: the embedding or, of most heads, pooled inner maps.
Output ``scores`` [n, K], the softmax of ``logits``; before them, of most heads, ``hidden``. The margin that the
device reads is the log-odds of it: log(p / (1 - p)). Standard layers only, so no code of ours is needed to load it.
What the backbone's own classes add to a head (``ensemble_classes``) is not in it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.extras import needed, quietly
from converters.flatbuffer import GraphError
from converters.keras_export import read_keras


def write_keras_head(
    path: Path,
    weights: NDArray[np.float32],
    biases: NDArray[np.float32],
    name: str = "yamnet_classifier",
    hidden: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> None:
    """``weights`` float32 [K, F], ``biases`` float32 [K]. ``path`` ends in ``.keras``. ``hidden``: weights [H, F] and
    biases [H] of a hidden layer; then ``weights`` are [K, H].

    Raises:
        MissingExtraError: no Keras here.
    """
    keras = needed("keras")
    embedding = keras.Input(((weights if hidden is None else hidden[0]).shape[1],), name="embedding")
    inner, before = embedding, None
    if hidden is not None:
        before = keras.layers.Dense(len(hidden[1]), activation="relu", name="hidden")
        inner = before(embedding)
    logits = keras.layers.Dense(len(biases), name="logits")
    scores = keras.layers.Softmax(name="scores")(logits(inner))
    model = keras.Model(embedding, scores, name=name)
    logits.set_weights([np.ascontiguousarray(weights.T), biases])
    if before is not None and hidden is not None:
        before.set_weights([np.ascontiguousarray(hidden[0].T), hidden[1]])
    with quietly():
        model.save(path)


def read_keras_head(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights float32 [K, D] and biases float32 [K] of such a file, as it is or trained further.

    Raises:
        GraphError: another kind of model.
        MissingExtraError: no Keras here.
    """
    model = read_keras(path)
    dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
    if len(dense) != 1 or dense[0].name != "logits" or len(dense[0].get_weights()) != 2:
        raise GraphError(f"{path} is no head: it has {len(dense)} dense layers; expected one, called logits")
    kernel, biases = (np.asarray(one, np.float32) for one in dense[0].get_weights())
    return np.ascontiguousarray(kernel.T), biases
