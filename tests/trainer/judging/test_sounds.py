"""Lists of frozen sounds."""

import json
from pathlib import Path

import pytest
import soundfile

from tests.trainer.judging.judges import RATE, clicks, hiss
from trainer.judging.sounds import LISTED, Shot, Sound, SoundError, Sounds, read_sounds, write_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "shot.wav", clicks(12, (5.0,)), RATE)
    soundfile.write(tmp_path / "rain.wav", hiss(12), RATE)
    some = [
        Sound("gun", "gun_shot", (5.0,), snr_db=10.0, path=tmp_path / "shot.wav"),
        Sound("rain", "rain", path=tmp_path / "rain.wav", rated=False),
    ]
    write_list(tmp_path, "field", "3", some)
    return tmp_path


def test_a_list_comes_back_as_it_was_written(folder: Path) -> None:
    found = read_sounds(folder)
    assert (found.name, found.version) == ("field", "3")
    shot, rain = found
    assert (shot.recording, shot.shots, shot.snr_db, shot.is_rated, shot.title) == (
        "gun",
        (5.0,),
        10,
        False,
        "shot.wav",
    )
    assert (rain.rated, rain.path) == (False, folder / "rain.wav")
    assert json.loads((folder / LISTED).read_text())["schema_version"] == 1


def test_frozen_data_that_has_changed_is_refused_by_name(folder: Path) -> None:
    with (folder / "rain.wav").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x55")
    with pytest.raises(SoundError, match=r"rain\.wav is not as sounds\.json lists it"):
        read_sounds(folder)


def test_the_digest_is_of_the_sound_and_of_all_that_is_known_of_it(folder: Path) -> None:
    first = read_sounds(folder)
    assert Sounds("other name", "4", list(first)[::-1]).sha256() == first.sha256()
    later = Sound("gun", "gun_shot", (5.1,), snr_db=10.0, path=folder / "shot.wav")
    assert Sounds("field", "3", [later, *list(first)[1:]]).sha256() != first.sha256()
    held = Sounds("held", "", [Sound("a", "x", samples=hiss(2, 1))]).sha256()
    assert held == Sounds("held", "", [Sound("a", "x", samples=hiss(2, 1))]).sha256()
    assert held != Sounds("held", "", [Sound("a", "x", samples=hiss(2, 2))]).sha256()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "../shot.wav"}, "not within"),
        ({"sha256": "12"}, "sha256"),
        ({"shots": [9.0, 5.0]}, "not in order"),
        ({"shots": [0.5]}, "always on"),
        ({"recording": None}, "recording"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(folder: Path, change: dict[str, object], complaint: str) -> None:
    document = json.loads((folder / LISTED).read_text())
    document["sounds"][0] |= change
    (folder / LISTED).write_text(json.dumps(document))
    with pytest.raises(SoundError, match=complaint):
        read_sounds(folder)


def test_a_folder_without_a_list_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="benchmark make"):
        read_sounds(tmp_path)


def test_a_sound_is_a_file_or_samples() -> None:
    with pytest.raises(SoundError, match="either"):
        Sound("r", "x")


def test_a_shot_is_known_by_what_is_said_of_it_else_by_what_is_said_of_its_sound(folder: Path) -> None:
    path = folder / "rain.wav"
    shots = (3.0, Shot(8.0, "another gun", 5.0))
    sound = Sound("bed", "", shots, snr_db=20.0, distance_m=100.0, path=path)
    assert sound.shot(0) == Shot(3.0, "bed", 20.0, 100.0)
    assert sound.shot(1) == Shot(8.0, "another gun", 5.0, 100.0)
    again = next(iter(write_list(folder, "bed", "1", [sound])))
    assert (again.shots, again.distance_m) == (shots, 100.0)
