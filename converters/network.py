"""A network of YAMNet's shape in plain numbers: float weights with their batch norms folded in.

The shape is MobileNet v1 (Howard et al., 2017, arXiv:1704.04861) as in YAMNet (tensorflow/models,
research/audioset/yamnet/yamnet.py): a 3x3 convolution, 13 pairs of depthwise 3x3 and pointwise 1x1, a mean over time
and frequency (the embedding), a dense classifier. Any chain of these kinds will do, so narrower ones, too.

**Padding is TensorFlow's SAME.** At stride 2 on an even size, it puts one zero *behind* and none before, where
``padding=1`` of PyTorch puts one before. A network that was trained in PyTorch has the same values here only if it
padded alike: ``F.pad(x, (0, 1, 0, 1))`` and ``padding=0`` at stride 2, ``padding=1`` at stride 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters.flatbuffer import GraphError
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES

Activation = Literal["relu6", "relu", "none"]

WIDTHS_AND_STRIDES = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""The 13 pairs of YAMNet at width 1: channels of the pointwise, stride of the depthwise."""
FIRST_WIDTH, FIRST_STRIDE = 32, 2
"""Of the convolution before them."""


@dataclass(frozen=True)
class Layer:
    """One convolution with its bias and activation."""

    kind: Literal["conv", "depthwise"]
    weights: NDArray[np.float32]
    """float32; ``conv``: [outputs, height, width, inputs] (a pointwise is 1x1), ``depthwise``: [height, width,
    channels]. Height is time, width is frequency."""
    biases: NDArray[np.float32]
    """float32 [outputs]."""
    stride: int = 1
    activation: Activation = "relu6"

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[-1])

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0] if self.kind == "conv" else self.weights.shape[-1])


@dataclass(frozen=True)
class Network:
    """Layers from the log-mel patch [96, 64, 1] on, and the classifier behind their mean."""

    layers: tuple[Layer, ...]
    class_weights: NDArray[np.float32]
    """float32 [classes, D]; [0, D] for none."""
    class_biases: NDArray[np.float32]
    """float32 [classes]."""

    def __post_init__(self) -> None:
        """Raises GraphError where one part does not fit the next, or a number is not finite."""
        channels = 1
        for number, layer in enumerate(self.layers):
            rank = 4 if layer.kind == "conv" else 3
            if layer.weights.ndim != rank or layer.inputs != channels or layer.biases.shape != (layer.outputs,):
                raise GraphError(
                    f"layer {number} ({layer.kind}): weights {layer.weights.shape} and biases {layer.biases.shape} "
                    f"do not fit {channels} channels"
                )
            if not (np.isfinite(layer.weights).all() and np.isfinite(layer.biases).all()):
                raise GraphError(f"layer {number} ({layer.kind}): a weight is not finite; did the training diverge?")
            channels = layer.outputs
        if self.class_weights.shape != (len(self.class_biases), channels):
            raise GraphError(f"class weights {self.class_weights.shape} do not fit an embedding of {channels}")

    @property
    def embedding_width(self) -> int:
        """D, the values of an embedding."""
        return self.layers[-1].outputs

    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Of every layer's output: [1, time, frequency, channels]."""
        height, width, found = PATCH_FRAMES, MEL_BANDS, []
        for layer in self.layers:
            height, width = -(-height // layer.stride), -(-width // layer.stride)
            found.append((1, height, width, layer.outputs))
        return found


def folded(
    kind: Literal["conv", "depthwise"],
    kernel: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
    stride: int = 1,
    activation: Activation = "relu6",
) -> Layer:
    """A layer with its batch norm folded in: weights * scale / sqrt(variance + epsilon), and what is left as bias.

    ``kernel`` as in ``Layer``. ``scale`` and ``offset`` are the batch norm's gamma and beta, float32 [outputs], as are
    its moving ``mean`` and ``variance``.
    """
    gain = np.asarray(scale, np.float64) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    biases = np.asarray(offset, np.float64) - np.asarray(mean, np.float64) * gain
    gains = gain[:, None, None, None] if kind == "conv" else gain
    weights = np.asarray(kernel, np.float64) * gains
    return Layer(kind, weights.astype(np.float32), biases.astype(np.float32), stride, activation)


def from_torch(kind: Literal["conv", "depthwise"], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A kernel of PyTorch in ``Layer``'s order: [O, I, h, w] → [O, h, w, I], depthwise [C, 1, h, w] → [h, w, C]."""
    if kind == "conv":
        return np.ascontiguousarray(kernel.transpose(0, 2, 3, 1))
    return np.ascontiguousarray(kernel[:, 0].transpose(1, 2, 0))


def without_classifier(layers: Sequence[Layer]) -> Network:
    """A network that gives the embedding only."""
    width = layers[-1].outputs
    return Network(tuple(layers), np.zeros((0, width), np.float32), np.zeros(0, np.float32))


def random_start(width: float, classes: int, seed: int, activation: Activation = "relu6") -> Network:
    """A network of ``width`` times YAMNet's channels with random weights (He et al., 2015, arXiv:1502.01852)."""
    random = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...], inputs: int) -> NDArray[np.float32]:
        return np.asarray(random.standard_normal(shape) * (2 / inputs) ** 0.5, np.float32)

    channels = max(1, round(FIRST_WIDTH * width))
    layers = [Layer("conv", normal((channels, 3, 3, 1), 9), np.zeros(channels, np.float32), FIRST_STRIDE, activation)]
    for full, stride in WIDTHS_AND_STRIDES:
        outputs = max(1, round(full * width))
        kernel = normal((3, 3, channels), 9)
        layers.append(Layer("depthwise", kernel, np.zeros(channels, np.float32), stride, activation))
        kernel = normal((outputs, 1, 1, channels), channels)
        layers.append(Layer("conv", kernel, np.zeros(outputs, np.float32), 1, activation))
        channels = outputs
    return Network(tuple(layers), normal((classes, channels), channels), np.zeros(classes, np.float32))
