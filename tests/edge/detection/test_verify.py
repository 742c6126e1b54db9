"""Verifying model files in a child process."""

import os
from pathlib import Path

import numpy as np
import pytest

from converters.head_file import pack_arrays
from edge.detection.model_file import ModelFileError, build, parse
from edge.detection.verify import check, read_golden, verify
from tests.edge.detection import tiny


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny.model_bytes())
    return path


def with_golden(**changes: np.ndarray) -> bytes:
    file = parse(tiny.model_bytes())
    assert file.golden is not None
    vectors = {**read_golden(file.golden), **changes}
    return build(file.graph, file.manifest, pack_arrays(**vectors), "")


def test_a_good_file_passes_and_is_known_by_its_digest(path: Path) -> None:
    assert verify(path) == parse(path.read_bytes()).sha256


def test_what_passed_is_remembered_and_only_these_very_bytes(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    verify(path, cache)
    verify(path, cache, deadline_s=0.001)  # no child could start that fast
    path.write_bytes(tiny.model_bytes(version="2"))
    with pytest.raises(ModelFileError, match="within"):
        verify(path, cache, deadline_s=0.001)


def test_a_cache_that_cannot_be_written_or_read_is_no_obstacle(path: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"\xff\xfe")
    assert verify(path, in_the_way)


def test_a_flipped_byte_is_refused_with_the_reason(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="damaged"):
        verify(path)


def test_golden_vectors_that_do_not_come_out_are_refused(path: Path) -> None:
    vectors = read_golden(parse(path.read_bytes()).golden or b"")
    path.write_bytes(with_golden(scores=(vectors["scores"] + np.float32(0.2)).astype(np.float32)))
    with pytest.raises(ModelFileError, match="off by"):
        verify(path)


def test_golden_scores_that_are_no_numbers_are_refused() -> None:
    vectors = read_golden(parse(tiny.model_bytes()).golden or b"")
    with pytest.raises(ModelFileError):
        check(with_golden(scores=np.full_like(vectors["scores"], np.nan)))


def test_a_file_without_golden_vectors_is_refused() -> None:
    with pytest.raises(ModelFileError, match="golden"):
        check(build(tiny.graph(), tiny.manifest(), None, ""))


@pytest.mark.parametrize(
    "changes",
    [
        {"waveform": np.zeros((0, 15600), np.int16)},
        {"waveform": np.zeros((4, 15599), np.int16)},
        {"waveform": np.zeros((4, 15600), np.float32)},
        {"scores": np.zeros((3, 2), np.float32)},
        {"scores": np.zeros((4, 2), np.float64)},
        {"tolerance": np.array(0.9, np.float32)},
        {"tolerance": np.array(np.nan, np.float32)},
        {"tolerance": np.array([0.1], np.float32)},
    ],
)
def test_golden_vectors_of_wrong_shape_or_type_are_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelFileError, match="golden"):
        check(with_golden(**changes))


def test_pickles_in_golden_vectors_are_never_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    trap = tmp_path / "trap.npz"
    np.savez(trap, waveform=np.array([Evil()], dtype=object))
    with pytest.raises(ModelFileError, match="golden"):
        read_golden(trap.read_bytes())
    assert not (tmp_path / "owned").exists()


def test_a_child_that_takes_too_long_is_ended(path: Path) -> None:
    with pytest.raises(ModelFileError, match="within"):
        verify(path, deadline_s=0.01)


def test_a_child_that_needs_more_memory_than_its_limit_fails_alone(path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"memory|broke|cannot run"):
        verify(path, memory_bytes=120 << 20)
    assert verify(path)


@pytest.mark.data
def test_googles_bare_model_passes_too(yamnet: Path) -> None:
    assert verify(yamnet).startswith("10c95ea3")
