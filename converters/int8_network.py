"""A network written as ``.tflite``, in int8 or float32, straight by the schema: no TensorFlow, no PyTorch.

    ranges = calibrate(network, patches)            # converters.calibration
    backbone = quantised(network, ranges, [0, 7])   # a Cut, open for a head; classes 0 and 7 as its context
    content = backbone.pack()

The int8 graph is that of Google's quantised YAMNet: weights symmetric with one scale per channel, int32 biases,
activations asymmetric with one scale per tensor (Jacob et al., 2018, arXiv:1712.05877; the rules of
tensorflow.org/lite/performance/quantization_spec), so that it runs in the same fast kernels.

Input ``feature_patch`` float32 [1, 96, 64]; outputs ``embedding`` float32 [1, D] and, where classes are asked for,
``context`` float32 [1, C], their scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import Operator, steps_of
from converters.network import Layer, Network
from converters.yamnet import Cut
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES

_ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_LARGEST_BIAS = 1 << 29
"""Of an int32: what is left is for the sum of the products."""
_SMALLEST_SCALE = 1e-9
"""For a channel whose weights are all zero: the fast kernels refuse a scale of zero."""


@dataclass(frozen=True)
class Ranges:
    """The lowest and highest value of each activation, from which the int8 steps follow."""

    patch: tuple[float, float]
    layers: tuple[tuple[float, float], ...]
    """Of each layer's output."""
    embedding: tuple[float, float]
    logits: tuple[float, float]
    """Of the classifier, over all its classes."""


def write_network(network: Network, ranges: Ranges, context: Sequence[int] = ()) -> bytes:
    """The int8 ``.tflite`` of a network; ``context`` are the classes whose scores it gives."""
    return quantised(network, ranges, context).pack()


def quantised(network: Network, ranges: Ranges, context: Sequence[int] = ()) -> Cut:
    """The int8 graph of a network, open for a head. Its class weights are the quantised ones."""
    writer = _Int8(network, ranges)
    pooled = writer.body()
    model = writer.model
    embedding = flatbuffer.add_tensor(model, "embedding", [1, network.embedding_width])
    flatbuffer.add_operator(model, Operator.DEQUANTIZE, [pooled], [embedding], version=2)
    model.subgraphs[0].outputs = [embedding]
    scale = writer.scale[pooled]
    steps, biases, step = _classifier(network, scale)
    if context:
        model.subgraphs[0].outputs.append(writer.context(pooled, steps[list(context)], biases[list(context)], step))
    rows = (steps * np.float32(step)).astype(np.float32)
    return Cut(model, embedding, scale, rows, (biases * np.float64(step * scale)).astype(np.float32))


def float_network(network: Network, context: Sequence[int] = (), every_output: bool = False) -> bytes:
    """The float32 ``.tflite`` of the same network. ``every_output``: each layer's (``layer0`` on) and ``logits``, the
    classifier's before the sigmoid, are outputs, too: for calibration."""
    writer = _Float(network)
    embedding = writer.body()
    graph = writer.model.subgraphs[0]
    graph.outputs = [embedding]
    rows = list(range(len(network.class_biases))) if every_output else list(context)
    if rows:
        logits = writer.dense("logits", embedding, network.class_weights[rows], network.class_biases[rows])
        if every_output:
            graph.outputs += [*writer.outputs, logits]
        else:
            graph.outputs.append(writer.sigmoid(logits, len(rows)))
    elif every_output:
        graph.outputs += writer.outputs
    flatbuffer.prune(writer.model)
    return flatbuffer.pack(writer.model)


def step_of(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of int8 steps that span a range; zero is always one of them, since padding is made of it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return scale, round(-128 - low / scale)


def weight_steps(
    weights: NDArray[np.float32], biases: NDArray[np.float32], input_scale: float, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """Weights in steps of -127 to 127 (int8), biases in steps of ``input_scale`` times the weights' scale (int32), and
    that scale per index along ``axis`` (float32)."""
    others = tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    scale = np.abs(weights.astype(np.float64)).max(axis=others) / 127
    # A channel of tiny weights and a large bias: coarser steps, so that the bias fits.
    scale = np.maximum(scale, np.abs(biases.astype(np.float64)) / (input_scale * _LARGEST_BIAS))
    scale = np.maximum(scale, _SMALLEST_SCALE).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    steps = np.rint(weights / scale.reshape(shape)).clip(-127, 127).astype(np.int8)
    return steps, np.rint(biases / (input_scale * scale.astype(np.float64))).astype(np.int32), scale


def _classifier(network: Network, embedding_scale: float) -> tuple[NDArray[np.int8], NDArray[np.int32], float]:
    # One scale for all classes, as in Google's file: dense layers with one per class need a newer runtime.
    largest = float(np.abs(network.class_weights).max(initial=0.0))
    bias = float(np.abs(network.class_biases).max(initial=0.0)) / (embedding_scale * _LARGEST_BIAS)
    step = float(np.float32(max(largest / 127, bias, _SMALLEST_SCALE)))
    steps = np.rint(network.class_weights / step).clip(-127, 127).astype(np.int8)
    return steps, np.rint(network.class_biases / (embedding_scale * step)).astype(np.int32), step


class _Writer:
    """Writes the body; how its tensors are stored is what int8 and float32 differ in."""

    def __init__(self, network: Network) -> None:
        self.model = flatbuffer.empty()
        self.network = network
        self.outputs: list[int] = []
        """Tensor of each layer's output."""

    def patch(self) -> int:
        raise NotImplementedError

    def layer(self, number: int, layer: Layer, source: int, shape: tuple[int, ...]) -> tuple[list[int], int, int]:
        """Inputs and output of the operator, and its version."""
        raise NotImplementedError

    def pooled(self) -> tuple[int, int]:
        """The tensor of the mean, and the operator's version."""
        raise NotImplementedError

    def body(self) -> int:
        """From the patch to the mean over time and frequency; returns its tensor."""
        source = self.patch()
        for number, (layer, shape) in enumerate(zip(self.network.layers, self.network.shapes(), strict=True)):
            inputs, output, version = self.layer(number, layer, source, shape)
            code = Operator.CONV_2D if layer.kind == "conv" else Operator.DEPTHWISE_CONV_2D
            flatbuffer.add_operator(self.model, code, inputs, [output], _convolution(layer), version)
            self.outputs.append(output)
            source = output
        output, version = self.pooled()
        axes = flatbuffer.add_tensor(self.model, "axes", [2], np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        options.keepDims = False
        flatbuffer.add_operator(self.model, Operator.MEAN, [source, axes], [output], options, version)
        return output

    def _with_channel(self, source: int, quantisation: Any = None) -> int:
        graph = self.model.subgraphs[0]
        graph.inputs = graph.inputs or [source]
        shape = np.array([1, PATCH_FRAMES, MEL_BANDS, 1], np.int32)
        image = flatbuffer.add_tensor(self.model, "image", [*shape], quantisation=quantisation)
        inputs = [source, flatbuffer.add_tensor(self.model, "image/shape", [4], shape)]
        flatbuffer.add_operator(self.model, Operator.RESHAPE, inputs, [image])
        return image


class _Int8(_Writer):
    def __init__(self, network: Network, ranges: Ranges) -> None:
        super().__init__(network)
        self.ranges = ranges
        self.scale: dict[int, float] = {}

    def _stored(self, tensor: int, scale: float) -> int:
        self.scale[tensor] = scale
        return tensor

    def patch(self) -> int:
        scale, zero = step_of(*self.ranges.patch)
        patch = flatbuffer.add_tensor(self.model, "feature_patch", [1, PATCH_FRAMES, MEL_BANDS])
        self.model.subgraphs[0].inputs = [patch]
        steps = flatbuffer.add_tensor(
            self.model, "patch/steps", [1, PATCH_FRAMES, MEL_BANDS], quantisation=steps_of(scale, zero)
        )
        flatbuffer.add_operator(self.model, Operator.QUANTIZE, [patch], [steps])
        return self._stored(self._with_channel(steps, steps_of(scale, zero)), scale)

    def layer(self, number: int, layer: Layer, source: int, shape: tuple[int, ...]) -> tuple[list[int], int, int]:
        axis = 0 if layer.kind == "conv" else 3
        weights = layer.weights if layer.kind == "conv" else layer.weights[np.newaxis]
        steps, biases, scale = weight_steps(weights, layer.biases, self.scale[source], axis)
        inputs = [
            source,
            flatbuffer.add_tensor(
                self.model, f"layer{number}/weights", steps.shape, steps, quantisation=steps_of(scale, 0, axis)
            ),
            flatbuffer.add_tensor(
                self.model,
                f"layer{number}/biases",
                biases.shape,
                biases,
                quantisation=steps_of(scale * np.float32(self.scale[source])),
            ),
        ]
        found, zero = step_of(*self.ranges.layers[number])
        output = flatbuffer.add_tensor(self.model, f"layer{number}", shape, quantisation=steps_of(found, zero))
        return inputs, self._stored(output, found), 3

    def pooled(self) -> tuple[int, int]:
        # At zero point -128 an embedding is a whole number of steps, 0 to 255, and the trainer stores it in a byte.
        scale = step_of(0.0, self.ranges.embedding[1])[0]
        width = self.network.embedding_width
        tensor = flatbuffer.add_tensor(self.model, "embedding/steps", [1, width], quantisation=steps_of(scale, -128))
        return self._stored(tensor, scale), 2

    def context(self, pooled: int, steps: NDArray[np.int8], biases: NDArray[np.int32], step: float) -> int:
        """Dense, sigmoid, and the scores as float32; returns their tensor."""
        count = len(steps)
        inputs = [
            pooled,
            flatbuffer.add_tensor(self.model, "context/weights", steps.shape, steps, quantisation=steps_of(step)),
            flatbuffer.add_tensor(
                self.model, "context/biases", [count], biases, quantisation=steps_of(step * self.scale[pooled])
            ),
        ]
        logits = flatbuffer.add_tensor(
            self.model, "context/logits", [1, count], quantisation=steps_of(*step_of(*self.ranges.logits))
        )
        # 1/256 from -128 on is the one quantisation that a sigmoid may have, by the specification.
        shares = flatbuffer.add_tensor(self.model, "context/steps", [1, count], quantisation=steps_of(1 / 256, -128))
        scores = flatbuffer.add_tensor(self.model, "context", [1, count])
        flatbuffer.add_operator(
            self.model, Operator.FULLY_CONNECTED, inputs, [logits], schema.FullyConnectedOptionsT(), version=4
        )
        flatbuffer.add_operator(self.model, Operator.LOGISTIC, [logits], [shares], version=2)
        flatbuffer.add_operator(self.model, Operator.DEQUANTIZE, [shares], [scores], version=2)
        return scores


class _Float(_Writer):
    def patch(self) -> int:
        return self._with_channel(flatbuffer.add_tensor(self.model, "feature_patch", [1, PATCH_FRAMES, MEL_BANDS]))

    def layer(self, number: int, layer: Layer, source: int, shape: tuple[int, ...]) -> tuple[list[int], int, int]:
        weights = layer.weights if layer.kind == "conv" else layer.weights[np.newaxis]
        inputs = [
            source,
            flatbuffer.add_tensor(self.model, f"layer{number}/weights", weights.shape, weights),
            flatbuffer.add_tensor(self.model, f"layer{number}/biases", layer.biases.shape, layer.biases),
        ]
        return inputs, flatbuffer.add_tensor(self.model, f"layer{number}", shape), 1

    def pooled(self) -> tuple[int, int]:
        return flatbuffer.add_tensor(self.model, "embedding", [1, self.network.embedding_width]), 1

    def dense(self, name: str, source: int, weights: NDArray[np.float32], biases: NDArray[np.float32]) -> int:
        inputs = [
            source,
            flatbuffer.add_tensor(self.model, f"{name}/weights", weights.shape, weights),
            flatbuffer.add_tensor(self.model, f"{name}/biases", biases.shape, biases),
        ]
        output = flatbuffer.add_tensor(self.model, name, [1, len(weights)])
        options = schema.FullyConnectedOptionsT()
        flatbuffer.add_operator(self.model, Operator.FULLY_CONNECTED, inputs, [output], options)
        return output

    def sigmoid(self, logits: int, count: int) -> int:
        scores = flatbuffer.add_tensor(self.model, "context", [1, count])
        flatbuffer.add_operator(self.model, Operator.LOGISTIC, [logits], [scores])
        return scores


def _convolution(layer: Layer) -> Any:
    options = schema.Conv2DOptionsT() if layer.kind == "conv" else schema.DepthwiseConv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideW = options.strideH = layer.stride
    options.fusedActivationFunction = _ACTIVATIONS[layer.activation]
    if layer.kind == "depthwise":
        options.depthMultiplier = 1
    return options
