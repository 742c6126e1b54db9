"""A ``.tflite`` from elsewhere, made to look as the device wants it: the patch in, scores out, float32 at both ends.

Whatever the input's shape, if it has 96 x 64 values it is the log-mel patch [1, 96, 64] (time, frequency) with more
dimensions of one. Quantised ends are converted in the graph. Outputs that are still logits get their activation.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES

Missing = Literal["none", "sigmoid", "softmax"]
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8)


def as_patch_graph(content: bytes, outputs: Mapping[str, str | None], missing: Missing = "none") -> bytes:
    """The graph with input ``feature_patch`` float32 [1, 96, 64] and the wanted outputs, each float32 [1, n].

    ``outputs``: what an output is to be called (``scores``, ``context``, ``embedding``), and what it is called in
    ``content``; None for the only one. ``missing``: the activation that ``scores`` still lacks.

    Raises:
        GraphError: another input, or no such output.
    """
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1:
        raise GraphError(
            f"the graph has {len(graph.inputs)} inputs and {len(model.subgraphs)} subgraphs, not one of each"
        )
    found = {wanted: _output(graph, name) for wanted, name in outputs.items()}
    for tensor in graph.tensors:  # the names at the ends must be free
        tensor.name = b"original/" + tensor.name
    operators, graph.operators = list(graph.operators), []
    _put_patch_before(model, int(graph.inputs[0]))
    graph.operators += operators
    graph.outputs = [
        _float_rows(model, tensor, name, missing if name == "scores" else "none") for name, tensor in found.items()
    ]
    flatbuffer.prune(model)
    return flatbuffer.pack(model)


def output_names(content: bytes) -> list[str]:
    """What the outputs are called. Raises GraphError."""
    graph = flatbuffer.parse(content).subgraphs[0]
    return [graph.tensors[i].name.decode() for i in graph.outputs]


def _output(graph: Any, name: str | None) -> int:
    names = {graph.tensors[i].name.decode(): int(i) for i in graph.outputs}
    if name is None:
        if len(names) != 1:
            raise GraphError(f"the model has outputs {', '.join(names)}; say which one holds the scores")
        return next(iter(names.values()))
    if name not in names:
        raise GraphError(f"the model has no output {name!r}; it has {', '.join(names)}")
    return names[name]


def _put_patch_before(model: Any, first: int) -> None:
    graph = model.subgraphs[0]
    old = graph.tensors[first]
    shape = [abs(int(n)) for n in old.shape]
    if int(np.prod(shape)) != PATCH_FRAMES * MEL_BANDS:
        raise GraphError(f"the model takes {shape}; a log-mel patch has 96 x 64 values")
    sizes = [n for n in shape if n != 1]
    if sizes != [PATCH_FRAMES, MEL_BANDS]:
        raise GraphError(f"the model takes {shape}: expected 96 frames of 64 bands, in this order")
    patch = flatbuffer.add_tensor(model, "feature_patch", [1, PATCH_FRAMES, MEL_BANDS])
    graph.inputs = [patch]
    at = patch
    if old.type in _INTEGERS:
        at = flatbuffer.add_tensor(model, "patch/steps", [1, PATCH_FRAMES, MEL_BANDS], like=old)
        flatbuffer.add_operator(model, Operator.QUANTIZE, [patch], [at])
    elif old.type != schema.TensorType.FLOAT32:
        raise GraphError("the model takes neither float32 nor int8")
    sizes_tensor = flatbuffer.add_tensor(model, "patch/shape", [len(shape)], np.array(shape, np.int32))
    flatbuffer.add_operator(model, Operator.RESHAPE, [at, sizes_tensor], [first])


def _float_rows(model: Any, tensor: int, name: str, missing: Missing) -> int:
    """The output as float32 [1, n] under its new name."""
    source = model.subgraphs[0].tensors[tensor]
    count = int(np.prod([abs(int(n)) for n in source.shape]))
    steps: list[tuple[int, list[int], Any]] = []
    if source.type in _INTEGERS:
        steps.append((Operator.DEQUANTIZE, [], None))
    elif source.type != schema.TensorType.FLOAT32:
        raise GraphError(f"the model's output for {name} is neither float32 nor int8")
    rows = flatbuffer.add_tensor(model, f"{name}/shape", [2], np.array([1, count], np.int32))
    steps.append((Operator.RESHAPE, [rows], None))
    if missing == "softmax":
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        steps.append((Operator.SOFTMAX, [], options))
    elif missing == "sigmoid":
        steps.append((Operator.LOGISTIC, [], None))
    at = tensor
    for number, (code, more, options) in enumerate(steps, start=1):
        is_last = number == len(steps)
        shape = list(source.shape) if code == Operator.DEQUANTIZE else [1, count]
        result = flatbuffer.add_tensor(model, name if is_last else f"{name}/{number}", shape)
        flatbuffer.add_operator(model, code, [at, *more], [result], options)
        at = result
    return at
