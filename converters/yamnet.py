"""Google's quantised YAMNet, cut at its log-mel patch.

The published ``yamnet.tflite`` takes a waveform: its float front end is inside and takes as long as the int8 network.
The cut takes the patch that ``edge.audio.logmel`` computes for new frames only. The int8 network is untouched, so
its values are exactly the original's; the operators that do nothing are left out, and of the classifier only the
rows of the classes that are wanted.

Outputs: ``embedding`` float32 [1, 1024] and ``context`` float32 [1, C], the scores of ``context_labels``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator, builtin, constant

EMBEDDING = 1024


@dataclass
class Cut:
    """A YAMNet network from the patch on, still open for a head."""

    model: Any
    embedding: int
    """Tensor ``embedding``, float32 [1, 1024]."""
    embedding_scale: float
    """An embedding is a whole number of these steps, 0 to 255."""
    class_weights: NDArray[np.float32]
    """The classifier's own weights, dequantised, float32 [classes, 1024]."""
    class_biases: NDArray[np.float32]
    """Its biases, float32 [classes]."""

    def pack(self) -> bytes:
        flatbuffer.prune(self.model)
        return flatbuffer.pack(self.model)


def cut(content: bytes, context: list[int]) -> Cut:
    """Cut waveform-in YAMNet ``content``; ``context`` are the classes (rows of its 521) to pass on.

    Raises:
        GraphError: not a quantised YAMNet with the front end inside.
    """
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    patch = flatbuffer.tensor_index(graph, "feature_patch")
    pooled = flatbuffer.tensor_index(graph, "layer28/reduce_mean")
    _skip_splits_of_one(model)
    classifier = next(
        (op for op in graph.operators if builtin(model, op) == Operator.FULLY_CONNECTED and pooled in op.inputs), None
    )
    if classifier is None or list(graph.tensors[pooled].shape) != [1, 1, 1, EMBEDDING]:
        raise GraphError("there is no classifier behind an embedding of 1024 values: this is not YAMNet")
    weights, biases = (graph.tensors[i] for i in classifier.inputs[1:3])
    values, offsets = constant(model, weights, "<i1"), constant(model, biases, "<i4")
    scale = float(weights.quantization.scale[0])
    embedding_scale = float(graph.tensors[pooled].quantization.scale[0])
    zero_point = int(graph.tensors[pooled].quantization.zeroPoint[0])
    if len(weights.quantization.scale) != 1 or weights.quantization.zeroPoint[0] != 0 or zero_point != -128:
        raise GraphError("the classifier is not quantised as in Google's file")
    # Without kept dimensions the mean is [1, 1024] as it stands; no reshape is needed behind it.
    mean = flatbuffer.maker(graph, pooled)
    if mean is None or builtin(model, mean) != Operator.MEAN:
        raise GraphError("the embedding is not a mean over time and frequency: this is not YAMNet")
    mean.builtinOptions.keepDims = False
    graph.tensors[pooled].shape = [1, EMBEDDING]
    embedding = flatbuffer.add_tensor(model, "embedding", [1, EMBEDDING])
    flatbuffer.add_operator(model, Operator.DEQUANTIZE, [pooled], [embedding])
    graph.inputs, graph.outputs = [patch], [embedding]
    if context:
        graph.outputs.append(_slice_classifier(model, classifier, context))
    return Cut(
        model,
        embedding,
        embedding_scale,
        (values * np.float32(scale)).astype(np.float32),
        (offsets * np.float32(scale * embedding_scale)).astype(np.float32),
    )


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
