"""Networks of YAMNet's shape with random weights, for tests that are not about sound."""

import numpy as np
from numpy.typing import NDArray

from converters.network import FIRST_STRIDE, FIRST_WIDTH, WIDTHS_AND_STRIDES, Activation, Layer, Network


def random_network(width: float, classes: int = 5, seed: int = 0, activation: Activation = "relu6") -> Network:
    """``width`` times YAMNet's channels, weights by He et al. (2015), so that values neither fade nor grow."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    channels = max(1, round(FIRST_WIDTH * width))
    first = normal(channels, 3, 3, 1, scale=0.2)
    layers = [Layer("conv", first, normal(channels, scale=0.3), FIRST_STRIDE, activation)]
    for pointwise, stride in WIDTHS_AND_STRIDES:
        outputs = max(1, round(pointwise * width))
        kernel = normal(3, 3, channels, scale=(2 / 9) ** 0.5)
        layers.append(Layer("depthwise", kernel, normal(channels, scale=0.1), stride, activation))
        weights = normal(outputs, 1, 1, channels, scale=(2 / channels) ** 0.5)
        layers.append(Layer("conv", weights, normal(outputs, scale=0.1), 1, activation))
        channels = outputs
    return Network(tuple(layers), normal(classes, channels, scale=0.2), normal(classes, scale=1))


def random_patches(count: int, seed: int = 0) -> NDArray[np.float32]:
    """As log-mel patches go: float32 [count, 96, 64], loud and quiet."""
    random = np.random.default_rng(seed)
    level = random.uniform(-6, 1, (count, 1, 1))
    return np.maximum(random.standard_normal((count, 96, 64)) + level, -6.9).astype(np.float32)
