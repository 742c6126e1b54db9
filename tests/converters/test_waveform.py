"""The waveform-in variant, and the metadata by which others load it."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers.table
import pytest
from flatbuffers import encode, number_types
from typer.testing import CliRunner

from converters.cli import app
from converters.flatbuffer import GraphError, parse
from converters.tflite_metadata import IDENTIFIER, ScoresOf, audio_metadata
from converters.waveform import waveform_variant
from tests.edge.detection import tiny


class Table:
    """Reads the fields of a flatbuffer's table by their places."""

    def __init__(self, content: bytes, at: int) -> None:
        self._table = flatbuffers.table.Table(content, at)

    @classmethod
    def root(cls, content: bytes) -> "Table":
        return cls(content, encode.Get(number_types.UOffsetTFlags.packer_type, content, 0))

    def _offset(self, place: int) -> int:
        return int(self._table.Offset(4 + 2 * place))

    def text(self, place: int) -> str:
        offset = self._offset(place)
        return self._table.String(self._table.Pos + offset).decode() if offset else ""

    def number(self, place: int, kind: Any) -> int:
        offset = self._offset(place)
        return int(self._table.Get(kind, self._table.Pos + offset)) if offset else 0

    def table(self, place: int) -> "Table":
        at = self._table.Indirect(self._table.Pos + self._offset(place))
        return Table(self._table.Bytes, at)

    def tables(self, place: int) -> list["Table"]:
        offset = self._offset(place)
        start = self._table.Vector(offset)
        return [
            Table(self._table.Bytes, self._table.Indirect(start + 4 * i)) for i in range(self._table.VectorLen(offset))
        ]


def read(metadata: bytes) -> dict[str, Any]:
    """What matters to who loads it."""
    root = Table.root(metadata)
    (graph,) = root.tables(3)
    (source,) = graph.tables(2)
    audio = source.table(3)
    return {
        "parser": root.text(7),
        "input": audio.number(0, number_types.Uint8Flags),
        "rate": audio.table(1).number(0, number_types.Uint32Flags),
        "channels": audio.table(1).number(1, number_types.Uint32Flags),
        "outputs": [
            [(file.text(0), file.number(2, number_types.Uint8Flags)) for file in one.tables(6)]
            for one in graph.tables(3)
        ],
        "kinds": [one.table(3).number(0, number_types.Uint8Flags) for one in graph.tables(3)],
    }


def metadata_of(content: bytes) -> bytes:
    model = parse(content)
    (entry,) = (one for one in model.metadata if one.name == b"TFLITE_METADATA")
    return bytes(model.buffers[entry.buffer].data)


def test_the_metadata_says_what_goes_in_and_where_the_labels_are() -> None:
    outputs = [ScoresOf("scores", "Scores.", ["a", "b"]), ScoresOf("context", "More.", ["c"])]
    content = audio_metadata("name", "1", "about", "Apache-2.0", outputs)
    assert content[4:8] == IDENTIFIER
    assert read(content) == {
        "parser": "1.3.0",
        "input": 4,
        "rate": 16_000,
        "channels": 1,
        "outputs": [[("scores_labels.txt", 2)], [("context_labels.txt", 2)]],
        "kinds": [1, 1],
    }


@pytest.mark.data
def test_the_metadata_has_the_form_of_that_in_googles_own_file(yamnet: Path) -> None:
    google = read(metadata_of(yamnet.read_bytes()))
    outputs = [ScoresOf("yamnet", "Scores.", ["a"])]
    ours = read(audio_metadata("name", "1", "about", "Apache-2.0", outputs))
    assert google.pop("outputs") == [[("yamnet_label_list.txt", 2)]]
    assert ours.pop("outputs") == [[("yamnet_labels.txt", 2)]]
    assert ours == google


def test_what_is_no_waveform_yamnet_gives_no_front_end() -> None:
    model = tiny.model_bytes()
    with pytest.raises(GraphError):
        waveform_variant(tiny.graph(), model)


@pytest.fixture(scope="module")
def variant(yamnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variant")
    model, out = folder / "model.tflite", folder / "waveform.tflite"
    model.write_bytes(tiny.model_bytes())
    command = ["waveform", str(model), "--yamnet", str(yamnet), "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "scores: correlation" in done.output and "FAILS" not in done.output
    return out


@pytest.mark.data
def test_the_variant_takes_sound_and_lists_its_labels(variant: Path) -> None:
    with zipfile.ZipFile(variant) as archive:
        assert archive.read("scores_labels.txt").decode().splitlines() == tiny.LABELS
        assert archive.read("context_labels.txt").decode().splitlines() == tiny.CONTEXT
    graph = parse(variant.read_bytes()).subgraphs[0]
    assert [list(graph.tensors[i].shape) for i in graph.inputs] == [[15_600]]
    assert [graph.tensors[i].name for i in graph.outputs] == [b"scores", b"context"]


MEDIAPIPE = """
import sys
import numpy as np
from mediapipe.tasks import python
from mediapipe.tasks.python import audio
from mediapipe.tasks.python.components import containers
options = audio.AudioClassifierOptions(base_options=python.BaseOptions(model_asset_path=sys.argv[1]))
with audio.AudioClassifier.create_from_options(options) as classifier:
    sound = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    for head in classifier.classify(containers.AudioData.create_from_array(sound, 16_000))[0].classifications:
        print(head.head_name, *sorted(one.category_name for one in head.categories), sep=",")
"""


def test_mediapipe_loads_the_variant_and_names_its_labels(variant: Path) -> None:
    pytest.importorskip("mediapipe", reason="MISSING LIBRARY: no mediapipe (pip install mediapipe)")
    # In a process of its own: it brings an interpreter and a threading of its own.
    done = subprocess.run(
        [sys.executable, "-c", MEDIAPIPE, str(variant)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        ",".join(["scores", *sorted(tiny.LABELS)]),
        ",".join(["context", *sorted(tiny.CONTEXT)]),
    ]
