"""A backbone out of a graph that holds one: Google's quantised YAMNet, cut at its log-mel patch, or one of our own.

The published ``yamnet.tflite`` takes a waveform: its float front end is inside and takes as long as the int8 network.
The cut takes the patch that ``edge.audio.logmel`` computes for new frames only. The int8 network is untouched, so
its values are exactly the original's; the operators that do nothing are left out, and of the classifier only the
rows of the classes that are wanted. A graph that takes the patch already (``converters.int8_network``, a whole model)
is cut in the same way: whatever stands behind the embedding, such as a head, goes.

Outputs: ``embedding`` float32 [1, D] and ``context`` float32 [1, C], the scores of ``context_labels``. D is 1024 for
YAMNet, less for a narrower network.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator, builtin, constant
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES


@dataclass
class Cut:
    """A YAMNet-shaped network from the patch on, still open for a head."""

    model: Any
    embedding: int
    """Tensor ``embedding``, float32 [1, D]."""
    embedding_scale: float
    """An embedding is a whole number of these steps, 0 to 255."""
    class_weights: NDArray[np.float32]
    """The classifier's own weights, dequantised, float32 [classes, D]; [0, D] where the graph has no classifier."""
    class_biases: NDArray[np.float32]
    """Its biases, float32 [classes]."""

    @property
    def width(self) -> int:
        """D, the values of an embedding."""
        return int(self.class_weights.shape[1])

    def pack(self) -> bytes:
        flatbuffer.prune(self.model)
        return flatbuffer.pack(self.model)


def cut(content: bytes, context: list[int]) -> Cut:
    """Cut the network out of ``content``; ``context`` are the classes (rows of its classifier) to pass on.

    Raises:
        GraphError: not an int8 network of YAMNet's shape that starts at a log-mel patch, or it has no such class.
    """
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    patch = flatbuffer.tensor_index(graph, "feature_patch")
    if list(graph.tensors[patch].shape) != [1, PATCH_FRAMES, MEL_BANDS]:
        raise GraphError("feature_patch is not a log-mel patch [1, 96, 64]: this is not YAMNet")
    _skip_splits_of_one(model)
    pooled = pooled_of(model)
    width = int(graph.tensors[pooled].shape[-1])
    embedding_scale = float(graph.tensors[pooled].quantization.scale[0])
    if int(graph.tensors[pooled].quantization.zeroPoint[0]) != -128:
        raise GraphError("the embedding is not quantised as in Google's file")
    # Without kept dimensions the mean is [1, D] as it stands; no reshape is needed behind it.
    mean = flatbuffer.maker(graph, pooled)
    assert mean is not None
    mean.builtinOptions.keepDims = False
    graph.tensors[pooled].shape = [1, width]
    embedding = _as_float(model, pooled, width)
    graph.inputs, graph.outputs = [patch], [embedding]
    classifier = classifier_of(model, pooled)
    if classifier is None:
        if context:
            raise GraphError("this network has no classifier, so no context")
        return Cut(model, embedding, embedding_scale, np.zeros((0, width), np.float32), np.zeros(0, np.float32))
    weights, biases = (graph.tensors[i] for i in classifier.inputs[1:3])
    values, offsets = constant(model, weights, "<i1"), constant(model, biases, "<i4")
    scale = float(weights.quantization.scale[0])
    if len(weights.quantization.scale) != 1 or weights.quantization.zeroPoint[0] != 0:
        raise GraphError("the classifier is not quantised as in Google's file")
    if any(not 0 <= row < len(offsets) for row in context):
        raise GraphError(f"the classifier has {len(offsets)} classes; asked for {max(context)}")
    if context:
        graph.outputs.append(_slice_classifier(model, classifier, context))
    return Cut(
        model,
        embedding,
        embedding_scale,
        (values * np.float32(scale)).astype(np.float32),
        (offsets * np.float32(scale * embedding_scale)).astype(np.float32),
    )


def pooled_of(model: Any) -> int:
    """The int8 tensor of the embedding: the mean of the last convolution over time and frequency. Raises GraphError."""
    graph = model.subgraphs[0]
    for op in graph.operators:
        if builtin(model, op) != Operator.MEAN:
            continue
        source = flatbuffer.maker(graph, int(op.inputs[0]))
        tensor = graph.tensors[op.outputs[0]]
        if source is not None and builtin(model, source) == Operator.CONV_2D and tensor.type == schema.TensorType.INT8:
            return int(op.outputs[0])
    raise GraphError("no int8 mean over time and frequency stands behind convolutions: this is not YAMNet")


def classifier_of(model: Any, pooled: int) -> Any | None:
    """The dense operator that reads the int8 embedding."""
    operators = model.subgraphs[0].operators
    return next(
        (op for op in operators if builtin(model, op) == Operator.FULLY_CONNECTED and pooled in op.inputs), None
    )


def _as_float(model: Any, pooled: int, width: int) -> int:
    for op in model.subgraphs[0].operators:
        if builtin(model, op) == Operator.DEQUANTIZE and pooled in op.inputs:
            return int(op.outputs[0])
    embedding = flatbuffer.add_tensor(model, "embedding", [1, width])
    flatbuffer.add_operator(model, Operator.DEQUANTIZE, [pooled], [embedding])
    return embedding


def _skip_splits_of_one(model: Any) -> None:
    graph = model.subgraphs[0]
    for op in list(graph.operators):
        if builtin(model, op) == Operator.SPLIT and len(op.outputs) == 1:
            for reader in graph.operators:
                reader.inputs = [op.inputs[1] if i == op.outputs[0] else i for i in reader.inputs]
            graph.operators.remove(op)


def _slice_classifier(model: Any, classifier: Any, rows: list[int]) -> int:
    """Cut the classifier down to ``rows`` and follow it to the float32 scores; returns their tensor, ``context``.

    Each row of an int8 product is computed by itself, so the remaining ones keep their exact values.
    """
    graph = model.subgraphs[0]
    for index, dtype in ((classifier.inputs[1], "<i1"), (classifier.inputs[2], "<i4")):
        tensor = graph.tensors[index]
        values = constant(model, tensor, dtype)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values[rows]).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer, tensor.shape = len(model.buffers) - 1, [len(rows), *values.shape[1:]]
    at = classifier.outputs[0]
    for expected in (Operator.LOGISTIC, Operator.DEQUANTIZE):
        graph.tensors[at].shape = [1, len(rows)]
        reader = next((op for op in graph.operators if at in op.inputs), None)
        if reader is None or builtin(model, reader) != expected:
            raise GraphError("the classifier is not followed by a sigmoid and a dequantisation")
        at = reader.outputs[0]
    graph.tensors[at].shape, graph.tensors[at].name = [1, len(rows)], b"context"
    return int(at)
