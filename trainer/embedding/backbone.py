"""What turns a patch into an embedding: the int8 network, and how its steps are to be read."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import GraphError, Operator
from converters.yamnet import cut
from edge.audio.logmel import front_end_hash

HOP_S = 0.24


@dataclass(frozen=True)
class Feature:
    """One output of the graph: float32 [1, width], each value a whole number of steps."""

    name: str
    width: int
    scale: float
    """One step."""
    zero: int
    """The int8 value that stands for 0; stored are int8 values plus 128."""


@dataclass(frozen=True)
class Backbone:
    """A patch-in graph, and its outputs side by side as one embedding of D values."""

    graph: bytes
    features: tuple[Feature, ...]
    sha256: str
    """Of the file that it was made from (hex)."""

    @property
    def width(self) -> int:
        """D: 1024 for Google's YAMNet, less for narrow ones."""
        return sum(one.width for one in self.features)

    @property
    def scale(self) -> float:
        """One step of the embedding. Raises GraphError: its parts have different ones, see ``values``."""
        if len({(one.scale, one.zero) for one in self.features}) != 1 or self.features[0].zero != -128:
            raise GraphError("the parts of this embedding have steps of their own; ask for its values")
        return self.features[0].scale

    @cached_property
    def identity(self) -> str:
        """SHA-256 (hex) of all that an embedding depends on beside the sound: graph, front end, hop."""
        text = f"{hashlib.sha256(self.graph).hexdigest()} {front_end_hash()} {HOP_S} {self.width}"
        return hashlib.sha256(text.encode()).hexdigest()

    def values(self, steps: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embeddings that ``steps`` (uint8 [n, D]) stand for, float32 [n, D]; exactly what the graph gave."""
        scales = np.concatenate([np.full(one.width, one.scale, np.float32) for one in self.features])
        zeros = np.concatenate([np.full(one.width, one.zero + 128, np.float32) for one in self.features])
        values: NDArray[np.float32] = (steps.astype(np.float32) - zeros) * scales
        return values


def backbone_of(content: bytes) -> Backbone:
    """The backbone in ``content``: Google's waveform-in ``yamnet.tflite``, a patch-in network, or a whole model.

    Raises:
        GraphError: there is no int8 network of YAMNet's shape in it.
    """
    return prepared(cut(content, []).pack(), hashlib.sha256(content).hexdigest())


def prepared(graph: bytes, sha256: str = "") -> Backbone:
    """A patch-in graph as it stands, for embeddings made of several parts; ``sha256`` of the file it was made from.

    Raises:
        GraphError: an output is not a dequantised int8 tensor [1, D].
    """
    model = flatbuffer.parse(graph)
    inner = model.subgraphs[0]
    features = []
    for output in inner.outputs:
        name = inner.tensors[output].name.decode()
        maker = flatbuffer.maker(inner, output)
        if maker is None or flatbuffer.builtin(model, maker) != Operator.DEQUANTIZE:
            raise GraphError(f"the output {name} is not a dequantised int8 tensor, so it has no steps")
        steps = inner.tensors[int(maker.inputs[0])]
        width = int(np.prod(inner.tensors[output].shape))
        features.append(Feature(name, width, float(steps.quantization.scale[0]), int(steps.quantization.zeroPoint[0])))
    return Backbone(graph, tuple(features), sha256 or hashlib.sha256(graph).hexdigest())
