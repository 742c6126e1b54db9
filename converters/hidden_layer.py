"""The hidden layer of a head in the graph: max(0, V · x + c), x being what the head reads.

A device wakes for each window with cold caches, and reads every weight once: their bytes are what the layer costs.
Weights in float16 are made float32 when the graph is loaded. Whole numbers stay bytes while it runs. A dense layer with
float inputs and int8 weights turns its inputs into int8 steps, from the lowest of them to the highest. Now each *part*
of x (an embedding, the mean of a map, its maximum) consists of 256 steps already; so each has a layer of its own, and
beside its values stand the ends of its range, with weights of zero. The steps are then the part's own, and the sum over
the parts is what float32 weights would give.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator

_NAME = "head/hidden"
_QUANTISES_WITH_ZERO_POINT = 9
"""Version of the dense operator that takes its inputs' own range."""


def append(model: Any, parts: Sequence[int], weights: NDArray[Any], biases: NDArray[np.float32]) -> int:
    """Add the layer and return its tensor, float32 [1, H].

    ``parts``: the tensors of x, float32 [1, F_i] each. ``weights``: int8 [H, F], whole numbers, or float16.

    Raises:
        GraphError: int8 weights, and a part that does not consist of int8 steps.
    """
    offsets = flatbuffer.add_tensor(model, f"{_NAME}/biases", biases.shape, biases)
    if weights.dtype != np.int8:
        kept = flatbuffer.add_tensor(model, f"{_NAME}/weights/kept", weights.shape, weights)
        expanded = flatbuffer.add_tensor(model, f"{_NAME}/weights", weights.shape)
        flatbuffer.add_operator(model, Operator.DEQUANTIZE, [kept], [expanded], version=3)
        return _dense(model, _NAME, [joined(model, parts), expanded, offsets], len(biases), is_last=True)
    first, total = 0, None
    for number, part in enumerate(parts):
        title, is_last = f"{_NAME}/{number}", number == len(parts) - 1
        ends = _ends(model, part)
        columns = weights[:, first : first + _width(model, part)]
        first += columns.shape[1]
        kept = flatbuffer.add_tensor(
            model,
            f"{title}/weights",
            [len(biases), columns.shape[1] + len(ends)],
            np.pad(columns, ((0, 0), (0, len(ends)))),
            quantisation=flatbuffer.steps_of(1.0),
        )
        ends_there = flatbuffer.add_tensor(model, f"{title}/ends", [1, len(ends)], ends[np.newaxis])
        read = joined(model, [part, ends_there], f"{title}/read")
        if total is None:
            total = _dense(model, title, [read, kept, offsets], len(biases), is_last)
            continue
        share = _dense(model, title, [read, kept, -1], len(biases), is_last=False)
        both = [total, share]
        total = flatbuffer.add_tensor(model, f"{title}/sum", [1, len(biases)])
        flatbuffer.add_operator(model, Operator.ADD, both, [total], _rectified(schema.AddOptionsT(), is_last))
    assert total is not None
    return total


def weights_of(model: Any, named: Mapping[str, Any]) -> NDArray[np.float32] | None:
    """The weights float32 [H, F] of the layer in a graph, whose tensors are ``named``; None where it has none."""
    if kept := named.get(f"{_NAME}/weights/kept"):  # int8, too: files of before made float32 of them when loaded
        found = flatbuffer.constant(model, kept, "<i1" if kept.type == schema.TensorType.INT8 else "<f2")
        return found.astype(np.float32)
    parts: list[NDArray[np.float32]] = []
    while weights := named.get(f"{_NAME}/{len(parts)}/weights"):
        ends = int(named[f"{_NAME}/{len(parts)}/ends"].shape[-1])
        parts.append(flatbuffer.constant(model, weights, "<i1")[:, :-ends].astype(np.float32))
    return np.concatenate(parts, axis=1) if parts else None


def joined(model: Any, parts: Sequence[int], name: str = "head/read") -> int:
    """The tensors ``parts``, float32 [1, n] each, behind one another."""
    if len(parts) == 1:
        return parts[0]
    result = flatbuffer.add_tensor(model, name, [1, sum(_width(model, part) for part in parts)])
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    flatbuffer.add_operator(model, Operator.CONCATENATION, parts, [result], options)
    return result


def _dense(model: Any, name: str, inputs: Sequence[int], width: int, is_last: bool) -> int:
    in_steps = model.subgraphs[0].tensors[inputs[1]].type == schema.TensorType.INT8
    result = flatbuffer.add_tensor(model, name, [1, width])
    options = _rectified(schema.FullyConnectedOptionsT(), is_last)
    options.asymmetricQuantizeInputs = in_steps
    version = _QUANTISES_WITH_ZERO_POINT if in_steps else 1
    flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, inputs, [result], options, version)
    return result


def _rectified(options: Any, is_last: bool) -> Any:
    if is_last:
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    return options


def _ends(model: Any, part: int) -> NDArray[np.float32]:
    """The lowest and the highest value that a part may have; the highest alone where the lowest is 0, which always
    counts."""
    graph = model.subgraphs[0]
    source = flatbuffer.maker(graph, part)
    if source is None or flatbuffer.builtin(model, source) != Operator.DEQUANTIZE:
        raise GraphError(f"{graph.tensors[part].name.decode()} does not consist of int8 steps")
    steps = graph.tensors[source.inputs[0]].quantization
    scale, zero = float(steps.scale[0]), int(steps.zeroPoint[0])
    ends = [scale * (-128 - zero), scale * (127 - zero)]
    return np.array(ends if ends[0] else ends[1:], np.float32)


def _width(model: Any, tensor: int) -> int:
    return int(model.subgraphs[0].tensors[tensor].shape[-1])
