"""Standard TFLite Metadata for a classifier of sound, so that MediaPipe's audio classifier and others can load it.

Schema: tensorflow/tflite-support, metadata/metadata_schema.fbs (identifier M001). There is no Python package of its
generated code that goes with today's Pythons, so the few tables that are needed are written field by field; the
numbers below are the places of the fields in that schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.detection.appended_zip import tail

NAME = b"TFLITE_METADATA"
IDENTIFIER = b"M001"
_NEEDS_PARSER = "1.3.0"
"""The first that knows AudioProperties."""
_AUDIO_PROPERTIES, _FEATURE_PROPERTIES = 4, 1
_TENSOR_AXIS_LABELS = 2


@dataclass(frozen=True)
class ScoresOf:
    """One output: scores of classes."""

    name: str
    description: str
    labels: Sequence[str]

    @property
    def file(self) -> str:
        """Name of its list of labels in the ZIP."""
        return f"{self.name}_labels.txt"


def audio_metadata(name: str, version: str, description: str, licence: str, outputs: Sequence[ScoresOf]) -> bytes:
    """The flatbuffer: a waveform of one channel at 16 kHz in, ``outputs`` in the order of the graph's."""
    builder = flatbuffers.Builder(4096)
    audio = _table(builder, 2, {0: np.uint32(SAMPLE_RATE_HZ), 1: np.uint32(1)})
    content = _table(builder, 3, {0: np.uint8(_AUDIO_PROPERTIES), 1: audio})
    waveform = _table(
        builder,
        7,
        {0: _text(builder, "audio_clip"), 1: _text(builder, "Waveform, float32, -1 to 1, at 16 kHz."), 3: content},
    )
    heads = [_scores(builder, one) for one in outputs]
    graph = _table(builder, 10, {2: _vector(builder, [waveform]), 3: _vector(builder, heads)})
    root = _table(
        builder,
        8,
        {
            0: _text(builder, name),
            1: _text(builder, description),
            2: _text(builder, version),
            3: _vector(builder, [graph]),
            4: _text(builder, "EcoSight"),
            5: _text(builder, licence),
            7: _text(builder, _NEEDS_PARSER),
        },
    )
    builder.Finish(root, file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def attach(model: Any, metadata: bytes) -> None:
    """Put the metadata into a graph (``ModelT``), which must not be pruned after it."""
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]


def with_labels(graph: bytes, outputs: Sequence[ScoresOf]) -> bytes:
    """The graph with its lists of labels appended, a label a line."""
    files: Mapping[str, bytes] = {one.file: "".join(f"{label}\n" for label in one.labels).encode() for one in outputs}
    return graph + tail(len(graph), files)


def _scores(builder: Any, one: ScoresOf) -> int:
    properties = _table(builder, 0, {})
    bounds = _table(builder, 2, {0: np.int32(1), 1: np.int32(1)})
    content = _table(builder, 3, {0: np.uint8(_FEATURE_PROPERTIES), 1: properties, 2: bounds})
    labels = _table(
        builder,
        5,
        {0: _text(builder, one.file), 1: _text(builder, "Labels, one a line."), 2: np.uint8(_TENSOR_AXIS_LABELS)},
    )
    stats = _table(builder, 2, {0: _floats(builder, [1.0]), 1: _floats(builder, [0.0])})
    return _table(
        builder,
        7,
        {
            0: _text(builder, one.name),
            1: _text(builder, one.description),
            3: content,
            5: stats,
            6: _vector(builder, [labels]),
        },
    )


def _table(builder: Any, count: int, fields: Mapping[int, Any]) -> int:
    """A table of ``count`` fields, of which some are set: offsets (int), or numbers of numpy's types."""
    builder.StartObject(count)
    for place, value in fields.items():
        if isinstance(value, np.uint8):
            builder.PrependUint8Slot(place, int(value), 0)
        elif isinstance(value, np.uint32):
            builder.PrependUint32Slot(place, int(value), 0)
        elif isinstance(value, np.int32):
            builder.PrependInt32Slot(place, int(value), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(place, value, 0)
    return int(builder.EndObject())


def _text(builder: Any, text: str) -> int:
    return int(builder.CreateString(text))


def _vector(builder: Any, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for one in reversed(tables):
        builder.PrependUOffsetTRelative(one)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for one in reversed(values):
        builder.PrependFloat32(one)
    return int(builder.EndVector())
