"""YAMNet's network as float weights, de-quantised from Google's ``yamnet.tflite``.

The file holds the batch norms folded in already, weights in int8 steps with a scale per channel, and biases in int32
steps: value = scale * step. ``converters.yamnet_h5`` reads them from before they were quantised.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator, builtin, constant
from converters.network import Activation, Layer, Network, without_classifier
from converters.yamnet import classifier_of, pooled_of


def from_tflite(content: bytes) -> Network:
    """The network of a quantised YAMNet-shaped ``.tflite``: Google's, or one that ``converters.int8_network`` wrote.

    Without a classifier in the file, the network has none. Raises GraphError.
    """
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    pooled = pooled_of(model)
    mean = flatbuffer.maker(graph, pooled)
    assert mean is not None
    layers: list[Layer] = []
    at = int(mean.inputs[0])
    kinds = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D)
    while (op := flatbuffer.maker(graph, at)) is not None and builtin(model, op) in kinds:
        layers.insert(0, _layer(model, op))
        at = int(op.inputs[0])
    if not layers:
        raise GraphError("there are no convolutions before the embedding: this network is not of YAMNet's shape")
    dense = classifier_of(model, pooled)
    if dense is None:
        return without_classifier(layers)
    return Network(tuple(layers), *(dequantised(model, int(i)) for i in dense.inputs[1:3]))


def dequantised(model: Any, tensor: int) -> NDArray[np.float32]:
    """A constant's values, float32, by its own scale or scales. Raises GraphError where it is not quantised."""
    stored = model.subgraphs[0].tensors[tensor]
    quantisation = stored.quantization
    if quantisation is None or quantisation.scale is None or len(quantisation.scale) == 0:
        raise GraphError(f"tensor {stored.name.decode()!r} is not quantised: this is not an int8 network")
    steps = constant(model, stored, "<i1" if stored.type == schema.TensorType.INT8 else "<i4")
    scale, zero = np.array(quantisation.scale, np.float64), np.array(quantisation.zeroPoint)
    shape = [1] * steps.ndim
    if len(scale) > 1:
        shape[int(quantisation.quantizedDimension)] = -1
    values = (steps.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)
    return np.asarray(values, np.float32)


def _layer(model: Any, op: Any) -> Layer:
    options = op.builtinOptions
    is_depthwise = builtin(model, op) == Operator.DEPTHWISE_CONV_2D
    activation = _ACTIVATIONS.get(int(options.fusedActivationFunction))
    plain = options.padding == 0 and options.strideH == options.strideW and options.dilationHFactor == 1
    if activation is None or not plain or (is_depthwise and options.depthMultiplier not in (0, 1)):
        raise GraphError("a convolution is padded, strided or activated otherwise than in YAMNet")
    weights, biases = dequantised(model, int(op.inputs[1])), dequantised(model, int(op.inputs[2]))
    kernel = weights[0] if is_depthwise else weights
    return Layer("depthwise" if is_depthwise else "conv", kernel, biases, int(options.strideH), activation)


_ACTIVATIONS: dict[int, Activation] = {0: "none", 1: "relu", 3: "relu6"}
