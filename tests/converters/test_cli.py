"""``ecosight-convert yamnet``."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from converters.cli import app
from converters.flatbuffer import GraphError
from converters.head_file import GUN_SHOT, load, save
from edge.audio.frontend import FrontEnd
from edge.detection.event import Rule, Timing
from edge.detection.events import EventLogic
from edge.detection.model import Model
from edge.detection.model import load as load_model
from edge.detection.model_file import read
from edge.settings import DetectionSettings
from tests.edge.detection import tiny


@pytest.fixture(scope="module")
def made(yamnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "gun_shot.tflite"
    result = CliRunner().invoke(app, ["yamnet", str(yamnet), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def confirmed(model: Model, path: Path) -> int:
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    silence = np.zeros(rate // 2, np.float32)
    front_end, settings = FrontEnd(rate, 0.24), DetectionSettings()
    decision = model.manifest.decisions["gun_shot"]
    rule = Rule("gun_shot", decision.threshold, decision.release, decision.required_hits(0.24))
    logic = EventLogic([rule], Timing.of(settings, rate, 0.975))
    windows = front_end.push(0, np.concatenate([silence, frames[:, 0], silence])) + front_end.finish()
    found = [e for w in windows for e in logic.observe(w.start, [float(model.score(w).labels[0])])]
    return sum(event.phase == "new" for event in found + logic.finish())


def rows(data: Path, **wanted: str) -> list[Path]:
    with (data / "MANIFEST.csv").open(newline="") as file:
        return [data / row["path"] for row in csv.DictReader(file) if all(row[k] == v for k, v in wanted.items())]


@pytest.mark.data
def test_it_writes_a_whole_model_well_below_four_megabytes(made: Path) -> None:
    file = read(made)
    assert made.stat().st_size < 3_900_000
    assert file.manifest.alert_labels == ["gun_shot"]
    assert file.manifest.speech_label == "Speech"
    assert file.golden is not None and "SESA" in file.card
    assert not [path for path in made.parent.iterdir() if path != made]


@pytest.mark.data
def test_the_model_hears_most_shots_of_clips_it_never_saw_and_none_in_the_forest(made: Path, data: Path) -> None:
    model = load_model(made)
    shots = rows(data, source="SESA/test", label="gun_shot")
    forest = rows(data, label="background")[::4]
    assert len(shots) > 20 and len(forest) > 20
    heard = sum(confirmed(model, path) > 0 for path in shots)
    assert heard >= 0.55 * len(shots)
    assert sum(confirmed(model, path) for path in forest) <= 1


@pytest.mark.data
def test_scores_of_different_shots_do_not_tie(made: Path, data: Path) -> None:
    model = load_model(made, verify=False)
    scores = []
    for path in rows(data, source="SESA/test", label="gun_shot"):
        frames, rate = soundfile.read(path, dtype="float32")
        scores += [float(model.score(w).labels[0]) for w in FrontEnd(rate, 0.24).push(0, frames)]
    high = [score for score in scores if score > 0.5]
    assert len(high) > 20 and len(set(high)) > 0.95 * len(high) and max(high) < 1


def test_a_file_that_is_no_yamnet_is_one_clear_line(tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(b"nonsense")
    result = CliRunner().invoke(app, ["yamnet", str(other), "--out", str(tmp_path / "out.tflite")])
    assert result.exit_code == 1
    assert f"{other}: this is no .tflite file" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["waveform", "{model}", "--yamnet", "{other}"], "{other}: this is no .tflite file"),
        (["head", "append", "{model}", "{other}"], "{other} is no head: it is no .npz file"),
        (["head", "append", "{model}", "{gone}"], "{gone} is no head: No such file or directory"),
        (["head", "append", "{other}", "{head}"], "{other}: this is no .tflite file"),
    ],
)
def test_of_two_files_the_one_that_is_wrong_is_named(tmp_path: Path, command: list[str], said: str) -> None:
    names = {
        "model": tmp_path / "model.tflite",
        "other": tmp_path / "other",
        "gone": tmp_path / "gone",
        "head": GUN_SHOT,
    }
    names["model"].write_bytes(tiny.model_bytes())
    names["other"].write_bytes(b"nonsense")
    arguments = [one.format(**names) for one in command]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out.tflite")])
    assert result.exit_code == 1
    assert result.output.startswith(f"ecosight-convert: {said.format(**names)}") and result.output.count("\n") == 1


def test_the_head_that_comes_along_is_small_whole_and_learned_only_from_what_may_ship() -> None:
    about, weights = load(GUN_SHOT)
    assert GUN_SHOT.stat().st_size < 150_000
    for part in (weights.weights, weights.biases, weights.hidden_weights):
        assert part is None or np.isfinite(part).all()
    assert not any("NC" in licence or "Sampling" in licence for licence in about.training["clips_by_licence"])
    assert "ESC-50" not in str(about.training)


def test_a_head_is_written_and_read_again_and_a_damaged_one_refused(tmp_path: Path) -> None:
    about, weights = load(GUN_SHOT)
    path = tmp_path / "head.npz"
    save(path, about, weights)
    assert path.read_bytes() == GUN_SHOT.read_bytes()
    save(path, about, replace(weights, biases=weights.biases[:-1]))
    with pytest.raises(GraphError, match="is no head: weights"):
        load(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(GraphError, match="no head"):
        load(path)
