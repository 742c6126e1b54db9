"""Plain recordings and made sounds, as sounds to judge a model on."""

import json
from pathlib import Path

import pytest
import soundfile

from tests.trainer.judging.judges import RATE, clicks, detector, hiss, loud
from trainer.data.sources import FolderError
from trainer.judging.evaluate import evaluate
from trainer.judging.plain import from_path
from trainer.judging.sounds import LEAD_S, Shot, Sound, SoundError, write_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, sound in (("gun_shot", clicks(6, (0.3, 4.0))), ("rain", hiss(30)), ("explosion", clicks(6, (3.0,)))):
        (tmp_path / "pack" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "pack" / label / "one.wav", sound, RATE)
    return tmp_path / "pack"


def test_a_folder_for_each_class_will_do_and_what_cannot_be_used_is_told(folder: Path) -> None:
    (folder / "rain" / "broken.wav").write_bytes(b"RIFF")
    found, refused = from_path(folder, "gun_shot")
    assert sorted((one.label, one.somewhere_s) for one in found) == [("explosion", 0), ("gun_shot", 6), ("rain", 0)]
    assert [one.path.name for one in refused] == ["broken.wav"]
    # Explosions are neither shot nor false alarm. What leads to a sound ends in a step, and a step sounds like a shot:
    # only a shot is led to.
    assert {one.label: (one.shots, one.is_rated, one.lead_s) for one in found} == {
        "gun_shot": ((LEAD_S,), False, LEAD_S),
        "rain": ((), True, 0),
        "explosion": ((), False, 0),
    }
    judged = evaluate(detector(loud), found).metrics
    assert judged.shipped.recalls.all.value == 1
    assert judged.shipped.false_alarms.hours == pytest.approx(30 / 3600)
    assert judged.shipped.by_label["explosion"].events == 1


def test_a_made_sound_brings_its_shots_and_what_is_no_shot_in_it_is_a_false_alarm(tmp_path: Path) -> None:
    path = tmp_path / "scene.wav"
    soundfile.write(path, clicks(40, (5.0, 15.0, 15.4, 30.0)), RATE)
    events = [
        {"shot": True, "onsets_s": [5.0], "snr_db": 20.0, "distance_m": 50.0},
        {"shot": True, "onsets_s": [15.0, 15.4], "snr_db": 5.0, "distance_m": 300.0},
        {"shot": False, "onsets_s": [30.0]},
    ]
    path.with_suffix(".json").write_text(json.dumps({"recording": "scene-1", "events": events}))
    found, _ = from_path(path, "gun_shot")
    assert next(iter(found)).shots == (Shot(5, "", 20, 50), Shot(15, "", 5, 300), Shot(15.4, "", 5, 300))
    judged = evaluate(detector(loud), found).metrics
    assert [(one.distance_m, one.value) for one in judged.shipped.recalls.by_distance] == [(50, 1), (300, 1)]
    assert judged.shipped.recalls.all.bursts == 2
    assert judged.shipped.false_alarms.events == 1
    assert any("hold shots" in note for note in judged.notes)


def test_shots_of_several_guns_on_one_bed_are_drawn_apart(tmp_path: Path) -> None:
    shots = (Shot(5, "gun a", 20.0), Shot(15, "gun b", 20.0), Shot(25, "gun b", 5.0))
    path = tmp_path / "bed.wav"
    soundfile.write(path, clicks(40, (5.0, 25.0)), RATE)
    judged = evaluate(detector(loud), write_list(tmp_path, "bed", "1", [Sound("bed", "", shots, path=path)])).metrics
    assert judged.shipped.recalls.all.recordings == 2
    rows = {one.recording: (one.bursts, one.found["shipped"]) for one in judged.recordings}
    assert rows == {"gun a": (1, 1), "gun b": (2, 1), "bed": (0, 0)}
    assert [(one.recording, one.onset_s, one.snr_db) for one in judged.misses] == [("gun b", 15, 20)]


def test_what_holds_nothing_to_judge_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError):
        from_path(tmp_path, "gun_shot")
    soundfile.write(tmp_path / "x.wav", hiss(3), RATE)
    with pytest.raises(SoundError, match="no annotations"):
        from_path(tmp_path / "x.wav", "gun_shot")
