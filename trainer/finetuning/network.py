"""YAMNet in Keras with a small head on what the trained head will read: the part that is trained.

The small head, mean and maximum of the inner maps through one hidden layer, is there to tell the network what to look
for. It is thrown away in the end; `ecosight-trainer retrain` fits a better one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.extras import needed
from converters.flatbuffer import GraphError
from converters.keras_yamnet import keras_model, network_of
from converters.network import Network
from trainer.learning.reading import MAPS

HIDDEN = 128
DROPOUT = 0.3


@dataclass(frozen=True)
class SmallHead:
    """The small head in plain numbers: logits = W · max(0, V · read + c) + b."""

    hidden_weights: NDArray[np.float32]
    """float32 [H, F]."""
    hidden_biases: NDArray[np.float32]
    weights: NDArray[np.float32]
    """float32 [K, H]."""
    biases: NDArray[np.float32]

    def __call__(self, read: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 [K] of what was read, float32 [F]."""
        inner = np.maximum(self.hidden_weights @ read + self.hidden_biases, 0)
        return np.asarray(self.weights @ inner + self.biases, np.float32)


class Tuned:
    """The network and the small head in Keras. ``frozen``: maps 0 to so many stay as they are; -1: all are trained."""

    def __init__(self, network: Network, labels: int, frozen: int, seed: int = 1) -> None:
        """``seed``: of the small head's first numbers.

        Raises GraphError: the network has too few layers; MissingExtraError: no Keras here.
        """
        keras = needed("keras")
        keras.utils.set_random_seed(seed)
        self.network = keras_model(network)
        named = {layer.name: layer for layer in self.network.layers}
        self._convolutions = [one for one in self.network.layers if type(one).__name__ in _CONVOLUTIONS]
        if len(self._convolutions) <= 2 * max(MAPS):
            raise GraphError(f"the network has {len(self._convolutions)} layers; a head reads its maps {MAPS}")
        pooled = []
        for number in MAPS:
            name = self._convolutions[2 * number].name
            value = named.get(f"{name}_relu", named[name]).output
            pooled += [keras.layers.GlobalAveragePooling2D()(value), keras.layers.GlobalMaxPooling2D()(value)]
        value = keras.layers.Concatenate(name="read")(pooled)
        self._norm = keras.layers.BatchNormalization(name="read_norm", momentum=0.95)
        self._hidden = keras.layers.Dense(HIDDEN, activation="relu", name="hidden")
        self._logits = keras.layers.Dense(labels, name="labels")
        value = keras.layers.Dropout(DROPOUT)(self._norm(value))
        outputs = {"embedding": named["embedding"].output, "labels": self._logits(self._hidden(value))}
        self._classifier = named.get("context")
        self.model = keras.Model(self.network.input, outputs, name="tuned")
        self._frozen = frozen
        self.train(head_only=True)

    def train(self, head_only: bool) -> list[Any]:
        """Choose what is trained: the small head alone, or the network behind the frozen maps, too. Its variables."""
        for number, layer in enumerate(self._convolutions):
            layer.trainable = not head_only and (number + 1) // 2 > self._frozen
        variables = list(self.model.trainable_variables)
        if self._classifier is not None:
            self._classifier.trainable = not head_only
            variables += self._classifier.trainable_variables
        return variables

    def variables(self) -> list[Any]:
        """All that a checkpoint keeps, in order; seeds of dropout among them."""
        found = list(self.model.variables)
        return found + (list(self._classifier.variables) if self._classifier is not None else [])

    def __call__(self, patches: NDArray[np.float32], training: bool) -> tuple[Any, Any]:
        """Tensors: what the network says (logits of its classes, else the embedding) and the small head's logits."""
        ops = needed("keras").ops
        found = self.model(ops.convert_to_tensor(patches), training=training)
        if self._classifier is None:
            return found["embedding"], found["labels"]
        said = ops.matmul(found["embedding"], self._classifier.kernel) + self._classifier.bias
        return said, found["labels"]

    def plain(self) -> Network:
        """The network in plain numbers."""
        return network_of(self.network)

    def small_head(self) -> SmallHead:
        """Its batch norm is folded in."""
        scale, offset, mean, variance = (np.asarray(one, np.float32) for one in self._norm.get_weights())
        gain = scale / np.sqrt(variance + self._norm.epsilon)
        kernel, biases = (np.asarray(one, np.float32) for one in self._hidden.get_weights())
        weights, last = (np.asarray(one, np.float32) for one in self._logits.get_weights())
        shift = (offset - mean * gain) @ kernel
        return SmallHead((kernel * gain[:, None]).T.copy(), biases + shift, weights.T.copy(), last)


_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
