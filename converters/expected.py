"""What a model made from a backbone must give: the original graph, and the head in plain numbers behind it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.backbone_file import Backbone
from converters.clips import Sound
from converters.flatbuffer import GraphError
from converters.head import Head, head_scores
from converters.parity import Run
from converters.running import run_tflite


def expected(backbone: Backbone, context: Sequence[str], head: Head | None = None) -> Run:
    """The original's scores of ``context``, from the waveform where it takes that, and ``scores`` of the head in
    float64 on its embedding."""
    original = run_tflite(backbone.graph, "the original")
    network = backbone.cut()
    embed = run_tflite(backbone.cut().pack())
    rows = [backbone.classes.index(label) for label in context]

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}
        if rows:
            outputs = original(sound)
            every = [one for name, one in outputs.items() if name == "context" or len(outputs) == 1]
            if len(every) != 1 or len(every[0]) != len(backbone.classes):
                raise GraphError("the original does not give the scores of all its classes")
            found["context"] = every[0][rows]
        if head is not None:
            embedding = embed(sound)["embedding"]
            found["scores"] = head_scores(network, head, embedding[np.newaxis])[0].astype(np.float32)
        return found

    return run
