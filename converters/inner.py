"""What inner layers of a network see, pooled: the mean and the maximum of each channel over time and frequency.

A head reads these, or the embedding. That is made for the classes that the network was trained on, and as a mean over a
second it drowns a shot under rain. Earlier layers still have it, and a maximum keeps it: on recordings never heard, a
head on these finds two to three times as many weak shots as one on the embedding (docs/adr/0014), which then adds
nothing. It costs nothing: the maps are computed anyway.

A *map* is the output of the n-th pointwise convolution, 1 to 13 (0 is the first convolution).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator
from converters.yamnet import Cut

MEAN_FINER = 2.0
"""Steps of a mean are this much finer than its map's: means of a ReLU6 hardly pass a third of its range."""


@dataclass(frozen=True)
class Pooled:
    """One pooled map in the graph."""

    tensor: int
    """float32 [1, width]."""
    width: int


def tensors_of(model: Any, maps: Sequence[int]) -> list[int]:
    """Which tensors of the network hold ``maps``. Raises GraphError: there is no such map."""
    convolutions = [op for op in model.subgraphs[0].operators if flatbuffer.builtin(model, op) == Operator.CONV_2D]
    for number in maps:
        if not 0 <= number < len(convolutions):
            raise GraphError(f"the network has maps 0 to {len(convolutions) - 1}, no map {number}")
    return [int(convolutions[number].outputs[0]) for number in maps]


def append_pooled(backbone: Cut, maps: Sequence[int]) -> list[Pooled]:
    """Add mean and maximum of each of ``maps``, in this order: mean, maximum, mean, maximum….

    Raises:
        GraphError: there is no such map, or it is not int8.
    """
    model = backbone.model
    graph = model.subgraphs[0]
    found: list[Pooled] = []
    for number, source in zip(maps, tensors_of(model, maps), strict=True):
        tensor = graph.tensors[source]
        if tensor.type != schema.TensorType.INT8:
            raise GraphError(f"map {number} is not int8")
        scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
        width = int(tensor.shape[-1])
        axes = flatbuffer.add_tensor(model, f"inner/{number}/axes", [2], np.array([1, 2], np.int32))
        for name, code, step in (
            ("mean", Operator.MEAN, scale / MEAN_FINER),
            ("maximum", Operator.REDUCE_MAX, scale),
        ):
            options = schema.ReducerOptionsT()
            options.keepDims = False
            title = f"inner/{number}/{name}"
            pooled = flatbuffer.add_tensor(
                model, f"{title}/steps", [1, width], quantisation=flatbuffer.steps_of(step, zero)
            )
            graph.tensors[pooled].type = schema.TensorType.INT8
            flatbuffer.add_operator(model, code, [source, axes], [pooled], options, version=2)
            plain = flatbuffer.add_tensor(model, title, [1, width])
            flatbuffer.add_operator(model, Operator.DEQUANTIZE, [pooled], [plain], version=2)
            found.append(Pooled(plain, width))
    return found


def reading_width(backbone: Cut, maps: Sequence[int]) -> int:
    """Values that a head reads: those of the pooled maps that it names; of the embedding if it names none."""
    if not maps:
        return backbone.width
    tensors = backbone.model.subgraphs[0].tensors
    return sum(2 * int(tensors[index].shape[-1]) for index in tensors_of(backbone.model, maps))


def reading_graph(backbone: Cut, maps: Sequence[int]) -> bytes:
    """A graph that gives what a head reads: the pooled maps, each an output of its own, or ``embedding`` without any.

    Layers behind the last map are left out.
    """
    pooled = append_pooled(backbone, maps)
    backbone.model.subgraphs[0].outputs = [one.tensor for one in pooled] or [backbone.embedding]
    return backbone.pack()
