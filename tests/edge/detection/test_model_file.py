"""The format of the model file."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.audio.logmel import FRONT_END, front_end_hash
from edge.detection import model_file
from edge.detection.appended_zip import tail
from edge.detection.model_file import Decision, ModelFileError, build, parse, read, write
from tests.edge.detection import tiny


@pytest.fixture(scope="module")
def whole() -> bytes:
    return tiny.model_bytes()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    write(path, tiny.graph(), tiny.manifest(metrics={"ångström": 1.5}), b"golden", "# kärt\n")
    file = read(path)
    assert file.graph == tiny.graph()
    assert file.golden == b"golden"
    assert file.card == "# kärt\n"
    assert file.manifest.metrics == {"ångström": 1.5}
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


def test_any_interpreter_opens_it_and_unzip_lists_it(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(whole)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["shape"].tolist() == [1, 96, 64]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "golden.npz", "MODEL_CARD.md"]
        assert json.loads(archive.read("manifest.json"))["labels"] == tiny.LABELS
    listed = subprocess.run(["unzip", "-l", str(path)], capture_output=True, text=True)
    assert listed.returncode == 0 and "manifest.json" in listed.stdout and not listed.stderr


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_is_refused(whole: bytes, position: float, bit: int) -> None:
    damaged = bytearray(whole)
    damaged[int(position * len(whole))] ^= 1 << bit
    with pytest.raises(ModelFileError):
        parse(bytes(damaged))


def test_every_flipped_byte_of_the_zip_structure_and_the_manifest_is_refused(whole: bytes) -> None:
    begin = whole.index(b"PK\3\4")
    golden = whole.index(b"golden.npz")
    directory = whole.index(b"PK\1\2", whole.index(b"# tiny"))
    for position in [*range(begin, golden + 10), *range(directory, len(whole))]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x20
        with pytest.raises(ModelFileError):
            parse(bytes(damaged))


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_any_truncation_is_refused(whole: bytes, share: float) -> None:
    with pytest.raises(ModelFileError):
        parse(whole[: int(share * len(whole))])


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileError):
        parse(content)
    with pytest.raises(ModelFileError):
        parse(b"\0\0\0\0TFL3" + content)


@pytest.mark.parametrize("added", [b"x", b"\0" * 22, b"PK\5\6" + b"\0" * 18])
def test_bytes_before_or_behind_are_refused(whole: bytes, added: bytes) -> None:
    for changed in (whole + added, added + whole):
        with pytest.raises(ModelFileError):
            parse(changed)


def test_a_compressed_or_foreign_member_is_refused(tmp_path: Path, whole: bytes) -> None:
    bomb = tmp_path / "bomb.tflite"
    bomb.write_bytes(tiny.graph())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * 10_000_000)
    with pytest.raises(ModelFileError):
        read(bomb)
    foreign = tiny.graph()
    foreign += tail(len(foreign), {"manifest.json": b"{}", "evil.so": b"x"})
    with pytest.raises(ModelFileError):
        parse(foreign)


def test_a_file_too_large_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.truncate(model_file.MAX_FILE_BYTES + 1)
    with pytest.raises(ModelFileError, match="at most"):
        read(path)


@pytest.mark.parametrize("name", ["nothing.tflite", "."])
def test_a_missing_file_or_a_folder_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read|not a file"):
        read(tmp_path / name)


def test_another_front_end_is_refused_by_name() -> None:
    other = {**FRONT_END, "log_offset": 0.01}
    with pytest.raises(ModelFileError, match="front end"):
        build(tiny.graph(), tiny.manifest(front_end=other, front_end_hash=front_end_hash(other)), None, "")
    with pytest.raises(ModelFileError, match="front end"):
        build(tiny.graph(), tiny.manifest(front_end_hash="0" * 63 + "1"), None, "")


BAD: list[tuple[str, dict[str, Any]]] = [
    ("no alert", {"roles": {"gun_shot": "context", "background": "background"}, "decisions": {}}),
    ("no decision", {"decisions": {}}),
    ("unknown role", {"roles": {"gun_shot": "alarm", "background": "background"}}),
    ("label without role", {"roles": {"gun_shot": "alert"}}),
    ("role of nothing", {"roles": {"gun_shot": "alert", "background": "background", "ufo": "context"}}),
    ("label twice", {"labels": ["gun_shot", "background", "gun_shot"]}),
    ("speech of nothing", {"speech_label": "Whisper"}),
    ("other rate", {"sample_rate_hz": 8000}),
    ("other version", {"format_version": 2}),
    ("infinite", {"score_scale": float("inf")}),
]


@pytest.mark.parametrize(("what", "changes"), BAD, ids=[what for what, _ in BAD])
def test_an_inconsistent_manifest_is_refused(what: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiny.manifest(**changes)
    text = json.dumps({**tiny.manifest().model_dump(mode="json"), **changes}).encode()
    graph = tiny.graph()
    with pytest.raises(ModelFileError):
        parse(graph + tail(len(graph), {"manifest.json": text}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(model_file.Manifest.model_fields)), value=json_values)
@settings(max_examples=80, deadline=None)
def test_a_manifest_with_any_value_anywhere_is_read_or_refused_never_a_traceback(key: str, value: Any) -> None:
    text = json.dumps({**tiny.manifest().model_dump(mode="json"), key: value}).encode()
    graph = tiny.graph()
    with pytest.raises(ModelFileError):  # at the latest, the digest does not hold
        parse(graph + tail(len(graph), {"manifest.json": text}))


def test_deep_nesting_is_refused(whole: bytes) -> None:
    graph = tiny.graph()
    with pytest.raises(ModelFileError):
        parse(graph + tail(len(graph), {"manifest.json": b"[" * 500_000}))


@given(hop=st.integers(6, 96), base=st.sampled_from([{"0.24": 2, "0.48": 1}, {"0.24": 1}, {"0.12": 4}, {"0.48": 1}]))
def test_required_hits_never_exceed_the_windows_that_hold_one_shot(hop: int, base: dict[str, int]) -> None:
    hits = Decision(threshold=0.5, release=0.3, hits=base).required_hits(hop / 100)
    assert 1 <= hits <= max(1, int(0.975 / (hop / 100)))
    if hop >= 24:
        assert hits <= 2


@pytest.mark.parametrize("hits", [{"0.24": 3}, {"0.24": 0}, {"0.96": 2}, {"2": 1}, {"x": 1}, {}])
def test_hits_that_a_shot_cannot_give_are_refused(hits: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Decision(threshold=0.5, release=0.3, hits=hits)


def test_the_same_parts_give_the_same_bytes(whole: bytes) -> None:
    assert tiny.model_bytes() == whole
