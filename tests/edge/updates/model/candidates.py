"""Small model files that really run, validly built, golden vectors and all; some are what must never stay.

Their score is the loudness of the window: ``sigmoid(gain * (mean of the log-mel patch - centre))``. Quiet forest has a
mean of about -4, the shot of the golden vectors -1.1, digital silence -6.9.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.flatbuffer import Operator
from converters.golden import golden
from edge.audio.logmel import MEL_BANDS
from edge.detection.graph import Graph
from edge.detection.model import PatchScorer
from edge.detection.model_file import Manifest, build, parse
from tests.edge.detection.tiny import CONTEXT, manifest

CENTRE, GAIN = -1.5, 3.0
QUIET = -4.3
"""A centre that quiet forest passes half of the time."""


def candidate(
    version: str = "2",
    *,
    gain: float = GAIN,
    centre: float = CENTRE,
    slow: int = 0,
    hungry: int = 0,
    root_of_quiet: bool = False,
    lonely: bool = False,
    **changes: Any,
) -> bytes:
    """``slow``: products with a matrix of 512 by 512 before the score. ``hungry``: MiB of memory on the way.
    ``root_of_quiet``: NaN for sound quieter than the golden vectors. ``lonely``: without labels of voices.
    ``changes``: of the manifest."""
    lonely_changes: dict[str, Any] = (
        {
            "context_labels": [],
            "speech_label": None,
            "roles": {"gun_shot": "alert", "background": "background"},
        }
        if lonely
        else {}
    )
    described = manifest(version=version, name="loud", **{**lonely_changes, **changes})
    graph = _graph(described, gain, centre, slow, hungry, root_of_quiet)
    vectors = golden(PatchScorer(Graph(graph), described, "loud"))
    return build(graph, described, vectors, "# loud\n")


def with_other_golden(content: bytes) -> bytes:
    """A whole file whose golden vectors are those of another model."""
    file, other = parse(content), parse(candidate(gain=-GAIN))
    return build(file.graph, file.manifest, other.golden, "")


def that_crashes(content: bytes) -> bytes:
    """A whole file whose graph takes the interpreter down: a branch that is the graph itself, without end."""
    file = parse(content)
    model = flatbuffer.empty()
    inner = model.subgraphs[0]
    patch = flatbuffer.add_tensor(model, "patch", [1, 96, MEL_BANDS])
    always, scores = schema.TensorT(), flatbuffer.add_tensor(model, "scores", [1, len(file.manifest.labels)])
    content_of = schema.BufferT()
    content_of.data = np.array([1], np.uint8)
    model.buffers.append(content_of)
    always.name, always.shape, always.type = b"always", [1], schema.TensorType.BOOL
    always.buffer = len(model.buffers) - 1
    inner.tensors.append(always)
    options = schema.IfOptionsT()
    options.thenSubgraphIndex = options.elseSubgraphIndex = 0
    flatbuffer.add_operator(model, Operator.IF, [len(inner.tensors) - 1, patch], [scores], options)
    inner.inputs, inner.outputs = [patch], [scores]
    return build(flatbuffer.pack(model), file.manifest, file.golden, "")


def _graph(described: Manifest, gain: float, centre: float, slow: int, hungry: int, root_of_quiet: bool) -> bytes:
    model = flatbuffer.empty()
    inner = model.subgraphs[0]
    patch = flatbuffer.add_tensor(model, "patch", [1, 96, MEL_BANDS])
    now = flatbuffer.add_tensor(model, "mean", [1, MEL_BANDS])
    options = schema.ReducerOptionsT()
    options.keepDims = False
    axis = flatbuffer.add_tensor(model, "axis", [1], np.array([1], np.int32))
    flatbuffer.add_operator(model, Operator.MEAN, [patch, axis], [now], options)
    average: NDArray[np.float32] = np.full((1, MEL_BANDS), 1 / MEL_BANDS, np.float32)
    now = _dense(model, "loudness", now, average, np.zeros(1, np.float32))
    if root_of_quiet:
        # log(mean + 4.13): the golden vectors' quietest has -4.1228, quieter sound gives NaN.
        moved = _dense(model, "moved", now, np.ones((1, 1), np.float32), np.array([4.13], np.float32))
        logged = flatbuffer.add_tensor(model, "logged", [1, 1])
        flatbuffer.add_operator(model, Operator.LOG, [moved], [logged])
        tiny = _dense(model, "tiny", logged, np.full((1, 1), 1e-6, np.float32), np.zeros(1, np.float32))
        both = flatbuffer.add_tensor(model, "both", [1, 1])
        flatbuffer.add_operator(model, Operator.ADD, [now, tiny], [both], schema.AddOptionsT())
        now = both
    if slow:
        wide = _dense(model, "wide", now, np.ones((512, 1), np.float32), np.zeros(512, np.float32))
        matrix = flatbuffer.add_tensor(model, "matrix", [512, 512], np.eye(512, dtype=np.float32))
        for number in range(slow):
            made = flatbuffer.add_tensor(model, f"wide{number}", [1, 512])
            options = schema.FullyConnectedOptionsT()
            flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, [wide, matrix, -1], [made], options)
            wide = made
        now = _dense(model, "narrow", wide, np.full((1, 512), 1 / 512, np.float32), np.zeros(1, np.float32))
    if hungry:
        size = hungry * (1 << 18)
        pads = flatbuffer.add_tensor(model, "pads", [2, 2], np.array([[0, 0], [0, size - 1]], np.int32))
        large = flatbuffer.add_tensor(model, "large", [1, size])
        flatbuffer.add_operator(model, Operator.PAD, [now, pads], [large], schema.PadOptionsT())
        summed = flatbuffer.add_tensor(model, "summed", [1, 1])
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axis = flatbuffer.add_tensor(model, "axis1", [1], np.array([1], np.int32))
        flatbuffer.add_operator(model, Operator.SUM, [large, axis], [summed], options)
        now = summed
    count = len(described.labels)
    weights = np.array([[gain], *[[-gain]] * (count - 1)], np.float32)
    _sigmoid(model, "scores", now, weights, -weights[:, 0] * centre)
    if described.context_labels:
        _sigmoid(model, "context", now, np.zeros((len(CONTEXT), 1), np.float32), np.full(len(CONTEXT), -3, np.float32))
    inner.inputs = [patch]
    flatbuffer.prune(model)
    return flatbuffer.pack(model)


def _dense(model: Any, name: str, source: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> int:
    made = flatbuffer.add_tensor(model, name, [1, len(weights)])
    constants = [
        flatbuffer.add_tensor(model, f"{name}/weights", weights.shape, weights),
        flatbuffer.add_tensor(model, f"{name}/bias", bias.shape, bias),
    ]
    options = schema.FullyConnectedOptionsT()
    flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, [source, *constants], [made], options)
    return made


def _sigmoid(model: Any, name: str, source: int, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    dense = _dense(model, f"{name}/dense", source, weights, bias.astype(np.float32))
    output = flatbuffer.add_tensor(model, name, [1, len(weights)])
    flatbuffer.add_operator(model, Operator.LOGISTIC, [dense], [output])
    model.subgraphs[0].outputs.append(output)
