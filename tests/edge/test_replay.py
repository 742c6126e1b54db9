"""Replay: the device's pipeline over recordings, as lines that other programs read."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.detection.model import Model, load
from edge.replay import replay_files
from edge.settings import DetectionSettings
from trainer.synthesis.scene import write_scene

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def loaded(model: Path) -> Model:
    return load(model, verify=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.flac"
    write_scene(path)
    return path


def run(paths: list[Path], model: Model, emit: str = "events", **changes: Any) -> tuple[int, list[dict[str, Any]], str]:
    out, progress = io.StringIO(), io.StringIO()
    settings = DetectionSettings.model_validate(changes)
    code = replay_files(paths, model, settings, emit, out, progress)
    return code, [json.loads(line) for line in out.getvalue().splitlines()], progress.getvalue()


def test_one_recording_gives_a_line_for_each_event_with_exactly_the_promised_keys(scene: Path, loaded: Model) -> None:
    code, lines, progress = run([scene], loaded)
    assert code == 0
    assert [round(line["onset_s"], 2) for line in lines] == [5.0, 15.0, 33.0]
    assert [line["shots"] for line in lines] == [1, 3, 1]
    assert all(set(line) == {"onset_s", "label", "score", "duration_s", "shots"} for line in lines)
    assert all(0 < line["duration_s"] < 4 for line in lines)
    assert lines[1]["duration_s"] > 0.9
    assert "scene.flac: 40.0 s" in progress


@pytest.mark.parametrize("hop_s", [0.24, 0.48])
def test_windows_are_every_hop_of_the_recording_in_order(scene: Path, loaded: Model, hop_s: float) -> None:
    code, lines, _ = run([scene], loaded, "windows", hop_s=hop_s)
    assert code == 0
    assert [line["t"] for line in lines] == [round(k * hop_s, 6) for k in range(int((40 - 0.975) / hop_s) + 1)]
    assert all(set(line) == {"t", "scores"} for line in lines)
    assert all(set(line["scores"]) == set(loaded.manifest.labels) for line in lines)


def test_the_events_are_those_of_the_windows_scores(scene: Path, loaded: Model) -> None:
    _, events, _ = run([scene], loaded)
    _, windows, _ = run([scene], loaded, "windows")
    assert events
    for event in events:
        near = [w["scores"]["gun_shot"] for w in windows if event["onset_s"] - 1 < w["t"] < event["onset_s"] + 5]
        assert event["score"] == pytest.approx(max(near), abs=1e-6)


def test_several_recordings_or_a_folder_name_the_file_in_every_line(scene: Path, loaded: Model, tmp_path: Path) -> None:
    shutil.copy(scene, tmp_path / "b.flac")
    shutil.copy(scene, tmp_path / "a.flac")
    _, lines, _ = run([tmp_path], loaded)
    assert [Path(line["file"]).name for line in lines] == ["a.flac"] * 3 + ["b.flac"] * 3
    _, lines, _ = run([tmp_path / "b.flac", scene], loaded)
    assert [line["file"] for line in lines] == [str(tmp_path / "b.flac")] * 3 + [str(scene)] * 3


def test_a_bad_file_is_named_and_the_others_are_still_heard(scene: Path, loaded: Model, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("this is no sound")
    code, lines, progress = run([empty, text, tmp_path / "missing.wav", scene], loaded)
    assert code == 1
    assert len(lines) == 3
    for name in ("empty.wav", "text.wav", "missing.wav"):
        assert name in progress


def test_a_folder_without_recordings_is_an_error(loaded: Model, tmp_path: Path) -> None:
    code, lines, progress = run([tmp_path], loaded)
    assert (code, lines) == (1, [])
    assert "holds no recording" in progress


@pytest.mark.parametrize(
    ("rate", "subtype"), [(16_000, "PCM_16"), (22_050, "FLOAT"), (44_100, "PCM_24"), (96_000, "PCM_16")]
)
def test_any_rate_and_format_gives_the_same_shots(
    scene: Path, loaded: Model, tmp_path: Path, rate: int, subtype: str
) -> None:
    import soxr

    samples, scene_rate = soundfile.read(scene, dtype="float32", frames=8 * 48_000)
    soundfile.write(tmp_path / "scene.wav", soxr.resample(samples, scene_rate, rate), rate, subtype=subtype)
    _, lines, _ = run([tmp_path / "scene.wav"], loaded)
    assert len(lines) == 1
    assert abs(lines[0]["onset_s"] - 5.0) < 0.005


@pytest.mark.parametrize("length_s", [0.95, 1.2])
def test_a_short_clip_of_a_shot_is_still_heard(scene: Path, loaded: Model, tmp_path: Path, length_s: float) -> None:
    samples, rate = soundfile.read(scene, dtype="float32")
    soundfile.write(tmp_path / "clip.wav", samples[round(4.9 * rate) :][: round(length_s * rate)], rate)
    code, windows, _ = run([tmp_path / "clip.wav"], loaded, "windows")
    assert code == 0
    assert [window["t"] for window in windows] == [0.0]
    _, lines, _ = run([tmp_path / "clip.wav"], loaded)
    assert [round(line["onset_s"], 2) for line in lines] == [0.1]


def test_a_storm_of_shots_is_not_collapsed(scene: Path, loaded: Model, tmp_path: Path) -> None:
    samples, rate = soundfile.read(scene, dtype="float32")
    soundfile.write(tmp_path / "many.wav", np.tile(samples[3 * rate : 10 * rate], 12), rate)
    _, lines, _ = run([tmp_path / "many.wav"], loaded, storm_alerts=2)
    assert len(lines) == 12


def test_shots_of_real_recordings_are_found_and_quiet_ones_stay_quiet(data: Path, loaded: Model) -> None:
    # The test part, which no head was trained on. No figure of quality, but what a broken step would not reach.
    shots = sorted((data / "audio" / "sesa" / "test" / "gunshot").glob("*.flac"))
    forest = sorted((data / "audio" / "ambience").rglob("*.flac"))[:20]
    assert len(shots) == 21 and len(forest) == 20
    _, lines, _ = run(shots, loaded)
    found = len({line["file"] for line in lines}) / len(shots)
    assert found >= 0.5
    _, false, _ = run(forest, loaded)
    assert len({line["file"] for line in false}) <= 1
