"""YAMNet's network from Google's ``yamnet.h5``: the weights as they were trained, before any quantisation.

storage.googleapis.com/audioset/yamnet.h5 (Apache-2.0) is what ``yamnet.save_weights`` of Keras 2 wrote for the model
of yamnet/yamnet.py (tensorflow/models, research/audioset). A weight stands at ``<layer>/<layer>/<weight>:0``, where
a layer's name has slashes of its own: ``layer1/conv`` and ``layer1/conv/bn``; for n = 2 to 14
``layer{n}/depthwise_conv`` and ``layer{n}/pointwise_conv``, each with its ``/bn``; ``logits`` (newer: ``dense``).
The batch norms have no gamma. Unlike the quantised file's, the activations have no end at 6.
"""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.extras import needed
from converters.flatbuffer import GraphError
from converters.network import FIRST_STRIDE, WIDTHS_AND_STRIDES, Layer, Network, folded

EPSILON = 1e-4
"""``batchnorm_epsilon`` in yamnet/params.py; it is not Keras's default."""
_WEIGHT = re.compile(r"((?:layer\d+/(?:depthwise_|pointwise_)?conv(?:/bn)?|logits|dense(?:_\d+)?)/[a-z_]+)(?::0)?$")


def from_h5(path: Path) -> Network:
    """The network with its batch norms folded in.

    Raises:
        GraphError: no such file, or a weight is not in it.
        MissingExtraError: h5py is not installed.
    """
    weights = _Weights(path)
    layers = [weights.layer("conv", "layer1/conv", FIRST_STRIDE)]
    for number, (_, stride) in enumerate(WIDTHS_AND_STRIDES, start=2):
        layers.append(weights.layer("depthwise", f"layer{number}/depthwise_conv", stride))
        layers.append(weights.layer("conv", f"layer{number}/pointwise_conv", 1))
    kernel, biases = weights.classifier()
    return Network(tuple(layers), np.ascontiguousarray(kernel.T), biases)


class _Weights:
    """The arrays of the file by plain name (``layer1/conv/kernel``)."""

    def __init__(self, path: Path) -> None:
        h5py = needed("h5py")
        self.path = path
        self.found: dict[str, NDArray[np.float32]] = {}

        def collect(name: str, item: Any) -> None:
            plain = _WEIGHT.search(name)
            if plain and hasattr(item, "shape"):
                self.found[plain.group(1)] = np.asarray(item, np.float32)

        try:
            with h5py.File(path, "r") as file:
                file.visititems(collect)
        except OSError as error:
            raise GraphError(f"{path} is no HDF5 file: {error}") from error

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self.found:
            raise GraphError(f"{self.path} holds no weight {name}: it is not the yamnet.h5 of Google's AudioSet models")
        return self.found[name]

    def layer(self, kind: Literal["conv", "depthwise"], name: str, stride: int) -> Layer:
        # Keras keeps [height, width, inputs, outputs], and of a depthwise [height, width, channels, 1].
        stored = self[f"{name}/depthwise_kernel" if kind == "depthwise" else f"{name}/kernel"]
        kernel = stored[..., 0] if kind == "depthwise" else np.ascontiguousarray(stored.transpose(3, 0, 1, 2))
        mean = self[f"{name}/bn/moving_mean"]
        scale = self.found.get(f"{name}/bn/gamma", np.ones_like(mean))
        offset, variance = self[f"{name}/bn/beta"], self[f"{name}/bn/moving_variance"]
        return folded(kind, kernel, scale, offset, mean, variance, EPSILON, stride, "relu")

    def classifier(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        names = [name.removesuffix("/kernel") for name in self.found if re.match(r"(logits|dense).*/kernel$", name)]
        if len(names) != 1:
            raise GraphError(f"{self.path} holds {len(names)} classifiers (logits or dense); expected one")
        return self[f"{names[0]}/kernel"], self[f"{names[0]}/bias"]
