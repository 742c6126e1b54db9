"""The teacher: Google's int8 YAMNet as it flies, with what it says about a patch on the way.

Besides embedding and logits it tells what the head reads: means and maxima over the maps of inner layers
(`converters.inner`), so that a student learns to see the same.
"""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from converters import flatbuffer
from converters.inner import tensors_of
from converters.yamnet import cut


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of n patches."""

    embedding: NDArray[np.float32]
    """float32 [n, 1024]."""
    logits: NDArray[np.float32]
    """float32 [n, 521]."""
    hints: NDArray[np.float32]
    """Mean and maximum of each channel of the inner maps, float32 [n, H]."""


class Teacher:
    def __init__(self, yamnet: bytes, maps: tuple[int, ...]) -> None:
        """``maps``: pairs (1 to 13) whose means and maxima are hints. Raises GraphError."""
        network = cut(yamnet, [])
        model = network.model
        flatbuffer.prune(model)
        graph = model.subgraphs[0]
        inner = tensors_of(model, maps)
        self._scales = [float(graph.tensors[i].quantization.scale[0]) for i in inner]
        graph.outputs = [*graph.outputs, *inner]
        self._weights, self._biases = network.class_weights, network.class_biases
        self._interpreter = Interpreter(model_content=flatbuffer.pack(model), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [one["index"] for one in self._interpreter.get_output_details()]

    def __call__(self, patches: NDArray[np.float32]) -> Lesson:
        """Its word on patches float32 [n, 96, 64]."""
        embedding = np.empty((len(patches), self._weights.shape[1]), np.float32)
        hints = []
        for row, patch in enumerate(patches):
            self._interpreter.set_tensor(self._input, patch[np.newaxis])
            self._interpreter.invoke()
            embedding[row] = self._interpreter.get_tensor(self._outputs[0])[0]
            found = []
            for index, scale in zip(self._outputs[1:], self._scales, strict=True):
                steps = self._interpreter.get_tensor(index)[0].astype(np.float32) + 128
                found += [steps.mean(axis=(0, 1)) * scale, steps.max(axis=(0, 1)) * scale]
            hints.append(np.concatenate(found))
        logits = embedding @ self._weights.T + self._biases
        return Lesson(embedding, logits, np.stack(hints).astype(np.float32))
