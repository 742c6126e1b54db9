"""A model file of a few kilobytes with a graph that really runs, for tests that are not about sound."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters import flatbuffer
from converters.flatbuffer import Operator
from converters.golden import golden
from edge.detection.graph import Graph
from edge.detection.model import PatchScorer
from edge.detection.model_file import Manifest, build

LABELS = ["gun_shot", "background"]
CONTEXT = ["Speech", "Shout", "Engine"]


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "tiny",
            "version": "1",
            "labels": LABELS,
            "roles": {"gun_shot": "alert", "background": "background", "Shout": "privacy"},
            "decisions": {"gun_shot": {"threshold": 0.5, "release": 0.3, "hits": {"0.24": 2, "0.48": 1}}},
            "context_labels": CONTEXT,
            "speech_label": "Speech",
            **changes,
        }
    )


def graph(width: int = 64, outputs: tuple[str, ...] = ("scores", "context")) -> bytes:
    """Patch [1, 96, width] → mean over time → dense → sigmoid, with as many columns as the labels have."""
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [schema.BufferT()]
    inner = schema.SubGraphT()
    inner.tensors, inner.operators = [], []
    model.subgraphs = [inner]
    patch = flatbuffer.add_tensor(model, "patch", [1, 96, width])
    mean = flatbuffer.add_tensor(model, "mean", [1, width])
    axis = flatbuffer.add_tensor(model, "axis", [1], np.array([1], np.int32))
    options = schema.ReducerOptionsT()
    options.keepDims = False
    flatbuffer.add_operator(model, Operator.MEAN, [patch, axis], [mean], options)
    inner.inputs, inner.outputs = [patch], []
    random = np.random.default_rng(3)
    for name in outputs:
        count = len(LABELS if name == "scores" else CONTEXT)
        weights = (random.standard_normal((count, width)) * 0.05).astype(np.float32)
        dense = flatbuffer.add_tensor(model, f"{name}/dense", [1, count])
        inputs = [mean, flatbuffer.add_tensor(model, f"{name}/weights", weights.shape, weights), -1]
        flatbuffer.add_operator(model, Operator.FULLY_CONNECTED, inputs, [dense], schema.FullyConnectedOptionsT())
        output = flatbuffer.add_tensor(model, name, [1, count])
        flatbuffer.add_operator(model, Operator.LOGISTIC, [dense], [output])
        inner.outputs.append(output)
    flatbuffer.prune(model)
    return flatbuffer.pack(model)


def model_bytes(**changes: Any) -> bytes:
    described, content = manifest(**changes), graph()
    vectors = golden(PatchScorer(Graph(content), described, "tiny"))
    return build(content, described, vectors, "# tiny\n")
