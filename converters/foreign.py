"""A model file for the device of a network from elsewhere: Keras, ONNX, or a ``.tflite``.

It takes the log-mel patch of ``edge.audio.logmel`` (another front end is refused by the device, rightly) and gives a
score for each label. What it cannot say of itself stands in a ``Description``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from converters import flatbuffer
from converters.clips import Clips, Sound
from converters.description import Description
from converters.flatbuffer import GraphError
from converters.golden import golden
from converters.keras_export import float_tflite, read_keras
from converters.onnx_network import onnx_to_tflite
from converters.parity import Run
from converters.patch_graph import as_patch_graph
from converters.quantise import halved, static_int8
from converters.running import input_of, run_keras, run_onnx, run_tflite
from edge.detection.graph import Graph
from edge.detection.model import PatchScorer
from edge.detection.model_file import build, read_bytes

Size = Literal["float32", "float16", "int8"]


def original(source: Path) -> tuple[bytes, Run]:
    """A float ``.tflite`` of the model in ``source`` (a ``.tflite`` is taken as it is), and the model itself, running.

    Raises:
        GraphError: a file that cannot be used.
        MissingExtraError: a library is not installed.
    """
    kind = source.suffix.lower()
    if kind == ".keras":
        model = read_keras(source)
        return float_tflite(model), run_keras(model)
    if kind == ".onnx":
        return onnx_to_tflite(source), run_onnx(source)
    if kind == ".tflite":
        content = read_bytes(source)
        return content, run_tflite(content, str(source))
    raise GraphError(f"{source} is of no kind that is known: .keras, .onnx or .tflite")


def model_file_of(content: bytes, described: Description, size: Size, calibrate_on: Clips) -> bytes:
    """The bytes of a model file from the ``.tflite`` ``content``.

    Raises:
        GraphError, ModelFileError: its ends do not fit the description.
    """
    if size == "float16":
        content = halved(content)
    elif size == "int8":
        graph = flatbuffer.parse(content).subgraphs[0]
        shape = [int(n) for n in graph.tensors[graph.inputs[0]].shape]
        content = static_int8(content, [input_of(sound, shape) for sound in calibrate_on.sounds])
    packed = as_patch_graph(content, described.outputs, described.activation)
    manifest = described.manifest()
    vectors = golden(PatchScorer(Graph(packed, described.name), manifest, described.name))
    return build(packed, manifest, vectors, described.card)


def described_run(run: Run, described: Description) -> Run:
    """The original, its outputs called and activated as the model file's are."""

    def renamed(sound: Sound) -> dict[str, NDArray[np.float32]]:
        found = run(sound)
        chosen = {wanted: _one(found, name) for wanted, name in described.outputs.items()}
        chosen["scores"] = _activated(chosen["scores"], described.activation)
        return chosen

    return renamed


def _one(found: Mapping[str, NDArray[np.float32]], name: str | None) -> NDArray[np.float32]:
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None or name not in found:
        wanted = "say which one holds the scores" if name is None else f"not {name!r}"
        raise GraphError(f"the model has outputs {', '.join(found)}; {wanted}")
    return found[name]


def _activated(logits: NDArray[np.float32], missing: str) -> NDArray[np.float32]:
    values = logits.astype(np.float64)
    if missing == "sigmoid":
        values = 1 / (1 + np.exp(-values))
    elif missing == "softmax":
        values = np.exp(values - values.max())
        values /= values.sum()
    return values.astype(np.float32)
