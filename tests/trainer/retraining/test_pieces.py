"""Long recordings in pieces."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from trainer.data.clip import Clip
from trainer.retraining.pieces import MOST_OF_AMBIENCE, MOST_OF_OTHERS, PIECE_S, in_pieces

RATE = 16_000


def clip(path: Path, label: str, seconds: float) -> Clip:
    return Clip(path, "made", label, "a night", seconds, "own", "ab" * 32)


def night(path: Path, seconds: int, loud_s: tuple[int, ...] = (), rate: int = RATE) -> Path:
    """Quiet noise with a loud burst at some seconds, written a second at a time."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for second in range(seconds):
            sound = 0.001 * random.standard_normal(rate)
            if second in loud_s:
                sound[: rate // 10] += 0.5 * random.standard_normal(rate // 10)
            file.write(sound)
    return path


def test_short_clips_stay_as_they_are(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "no such file.wav", "rain", 60.0)]
    found = in_pieces(clips, tmp_path / "pieces")
    assert (found.clips, found.long, found.pieces) == (clips, 0, 0)
    assert not (tmp_path / "pieces").exists()


def test_ambience_is_taken_all_along(tmp_path: Path) -> None:
    found = in_pieces([clip(night(tmp_path / "a.flac", 95), "background", 95.0)], tmp_path / "pieces")
    assert (found.long, found.pieces) == (1, 4)
    assert sum(one.seconds for one in found.clips) == 95.0  # what is left over goes with the last
    assert {one.recording for one in found.clips} == {"a night"}
    assert len({one.sha256 for one in found.clips}) == 4
    for one in found.clips:
        assert soundfile.info(one.path).frames == one.seconds * RATE


def test_of_anything_else_only_what_is_loud_is_taken(tmp_path: Path) -> None:
    path = night(tmp_path / "a.flac", 200, loud_s=(45, 130, 131))
    found = in_pieces([clip(path, "gun_shot", 200.0)], tmp_path / "pieces")
    assert [one.path.stem for one in found.clips] == ["2", "6"]
    peaks = [np.abs(soundfile.read(one.path)[0]).max() for one in found.clips]
    assert min(peaks) > 0.5


def test_no_more_than_so_many_pieces_are_taken(tmp_path: Path) -> None:
    seconds = round((MOST_OF_AMBIENCE + 20) * PIECE_S)
    path = night(tmp_path / "a.flac", seconds, loud_s=tuple(range(0, seconds, 5)), rate=8000)
    of_ambience = in_pieces([clip(path, "background", seconds)], tmp_path / "pieces").clips
    numbers = [int(one.path.stem) for one in of_ambience]
    assert len(numbers) == MOST_OF_AMBIENCE
    assert numbers[0] == 0 and numbers[-1] >= MOST_OF_AMBIENCE + 15
    assert len(in_pieces([clip(path, "gun_shot", seconds)], tmp_path / "pieces").clips) == MOST_OF_OTHERS


def test_they_are_cut_once(tmp_path: Path) -> None:
    clips = [clip(night(tmp_path / "a.flac", 70), "background", 70.0)]
    first = in_pieces(clips, tmp_path / "pieces").clips
    (tmp_path / "a.flac").unlink()
    assert in_pieces(clips, tmp_path / "pieces").clips == first
    first[0].path.unlink()  # one is gone: all are cut again
    with pytest.raises(ValueError, match="No such file"):
        in_pieces(clips, tmp_path / "pieces")


def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    path = night(tmp_path / "a.flac", 900, rate=8000)
    tracemalloc.start()
    in_pieces([clip(path, "background", 900.0)], tmp_path / "pieces")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20
