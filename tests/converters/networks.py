"""Networks of YAMNet's shape with random weights, for tests that are not about sound."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.network import Activation, Network, random_start


def random_network(width: float, classes: int = 5, seed: int = 0, activation: Activation = "relu6") -> Network:
    """``width`` times YAMNet's channels, with biases, too."""
    start = random_start(width, classes, seed, activation)
    random = np.random.default_rng(seed)

    def biases(count: int, scale: float) -> NDArray[np.float32]:
        return (random.standard_normal(count) * scale).astype(np.float32)

    layers = tuple(replace(layer, biases=biases(layer.outputs, 0.1)) for layer in start.layers)
    return Network(layers, start.class_weights, biases(classes, 1))


def random_patches(count: int, seed: int = 0) -> NDArray[np.float32]:
    """As log-mel patches go: float32 [count, 96, 64], loud and quiet."""
    random = np.random.default_rng(seed)
    level = random.uniform(-6, 1, (count, 1, 1))
    return np.maximum(random.standard_normal((count, 96, 64)) + level, -6.9).astype(np.float32)
