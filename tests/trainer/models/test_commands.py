"""The commands: what they print, and what they end with."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner, Result

from tests.trainer.judging.judges import RATE, clicks, hiss
from tests.trainer.models.making import deafer, metrics, package_of
from trainer.judging.metrics import Metrics
from trainer.judging.sounds import Shot, Sound, write_list
from trainer.models.commands import GATE_CLOSED, app
from trainer.models.log import NAME, append, entry_of, read
from trainer.models.package import package
from trainer.models.store import Store
from trainer.synthesis.scene import demo_scene

DAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, the second worse, each with its entry of having been made."""
    store = Store(tmp_path_factory.mktemp("cli") / "models")
    for number, found in enumerate((metrics(), deafer(metrics()))):
        folder = package(store, package_of(number, found), DAY)
        made = Metrics.model_validate_json((folder / "performance_metrics.json").read_bytes())
        with store.locked():
            append(store.root, entry_of("retrained", made, datetime(2026, 1, 2, tzinfo=UTC), reason="120 new\nsounds"))
    return store.root


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def told(result: Result) -> str:
    """What an error says, in one line."""
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_a_model_is_put_to_use_refused_forced_and_taken_back(models: Path) -> None:
    first, second = Store(models).versions()
    assert f"in use: {first}" in run("promote", first, "--models", models).stdout
    refused = run("promote", second, "--models", models)
    assert refused.exit_code == GATE_CLOSED
    assert "does not pass the gate" in told(refused)
    assert "--force" in told(refused)
    bare = run("promote", second, "--models", models, "--force")
    assert bare.exit_code == 1
    assert "--reason" in told(bare)
    forced = run("promote", second, "--models", models, "--force", "--reason", "a demo")
    assert forced.exit_code == 0
    assert f"in use: {second}, before {first}" in forced.stdout
    assert "forced past 1 rules" in told(forced)
    back = run("rollback", "--models", models)
    assert f"in use: {first}, before {second}" in back.stdout

    table = run("history", "--models", models).stdout
    assert table.startswith("when ")
    assert " ".join(table.splitlines()[0].split()).endswith("recall@10/h recall@3/h recall@1/h FA/h gate who why")
    assert [line.split("  ")[1] for line in table.splitlines()[1:6]] == [
        "retrained", "retrained", "promoted", "promoted", "rolled back",
    ]  # fmt: skip
    assert "FORCED" in table
    assert "120 new sounds" in table
    assert table.splitlines()[-1] == f"in use: {first}"

    document = json.loads(run("history", "--models", models, "--json").stdout)
    assert document["current"] == first
    assert document["versions"] == [first, second]
    assert [entry["forced"] for entry in document["entries"]] == [False, False, False, True, False]
    assert len(read(models)) == 5


def test_two_stored_models_are_compared_without_hearing_anything(models: Path) -> None:
    first, second = Store(models).versions()
    shown = run("compare", first, second, "--models", models)
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if line.startswith("recall at 3 false"))
    assert line.endswith("A is better")
    document = json.loads(run("compare", first, second, "--models", models, "--json").stdout)
    assert document["dataset"] == "field 1"
    assert document["rows"][0]["difference"]["high"] < 0
    model = models / first / "model.tflite"
    assert run("compare", model, second, "--models", models).stdout == shown.stdout


def test_the_report_is_where_it_is_or_made_again(models: Path, tmp_path: Path) -> None:
    first = Store(models).versions()[0]
    assert run("report", first, "--models", models).stdout.strip() == str(models / first / "report.html")
    again = run("report", first, "--models", models, "--out", tmp_path / "again.html")
    assert again.exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == (models / first / "report.html").read_bytes()


def test_an_empty_folder_has_no_history(tmp_path: Path) -> None:
    assert run("history", "--models", tmp_path / "none").stdout == "in use: none\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("promote", "nine"), "no version 'nine'; the newest: none"),
        (("rollback",), "no other model was in use before"),
        (("report", "nine"), "no version 'nine'"),
        (("compare", "a", "b"), "no version 'a'"),
        (("evaluate", "a", "b"), "there is no file a, and "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = run(*arguments, "--models", tmp_path)
    assert done.exit_code == 1
    assert told(done).startswith(f"ecosight-trainer {arguments[0]}: ")
    assert complaint in told(done)


def test_a_damaged_log_and_damaged_figures_are_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{}")
    assert "restore it from a copy" in told(run("history", "--models", tmp_path))
    (tmp_path / "performance_metrics.json").write_text("{}")
    done = run("report", tmp_path, "--out", tmp_path / "page.html")
    assert "performance_metrics.json: model: Field required" in told(done)


def test_a_version_that_no_entry_tells_of_is_shown(tmp_path: Path) -> None:
    folder = package(Store(tmp_path), package_of(sounds=()), DAY)
    assert f"not in the log: {folder.name}" in run("history", "--models", tmp_path).stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's scene and a minute of hiss, as frozen sounds."""
    folder = tmp_path_factory.mktemp("scene")
    samples, rate, annotations = demo_scene()
    soundfile.write(folder / "scene.flac", samples, rate, subtype="PCM_24")
    soundfile.write(folder / "hiss.wav", hiss(60), RATE)
    shots = tuple(Shot(onset, "", 20.0) for one in annotations if one.shot for onset in one.onsets_s)
    some = [Sound("scene", "", shots, path=folder / "scene.flac"), Sound("hiss", "rain", path=folder / "hiss.wav")]
    write_list(folder, "scene", "1", some)
    return folder


@pytest.mark.data
def test_a_model_file_is_judged_and_its_page_written(model: Path, yamnet: Path, scene: Path, tmp_path: Path) -> None:
    done = run("evaluate", model, scene, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "1.00 (0.05 to 1.00)" in done.stdout
    assert "all that is rated  0" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"performance_metrics.json", "report.html"}
    document = json.loads(run("evaluate", model, scene, "--json").stdout)
    assert document["shipped"]["recalls"]["by_snr"][0]["value"] == 1
    shown = run("compare", model, yamnet, "--data", scene)
    assert shown.exit_code == 0, shown.output
    assert "B: yamnet-waveform" in shown.stdout
    alone = run("compare", model, model)
    assert "judge it now with --data" in told(alone)


@pytest.mark.data
def test_sounds_that_cannot_be_used_are_named(model: Path, tmp_path: Path) -> None:
    assert "is not a folder" in told(run("evaluate", model, tmp_path / "nowhere"))
    (tmp_path / "rain").mkdir()
    (tmp_path / "rain" / "broken.wav").write_bytes(b"RIFF")
    done = run("evaluate", model, tmp_path)
    assert done.exit_code == 1
    assert "broken.wav" in told(done)
    (tmp_path / "gun_shot").mkdir()
    soundfile.write(tmp_path / "gun_shot" / "one.wav", clicks(3, (1.0,)), RATE)
    assert run("evaluate", model, tmp_path).exit_code == 0
    assert "does not alert on 'rain'" in told(run("evaluate", model, tmp_path, "--target", "rain"))
    (tmp_path / "no.tflite").write_bytes(b"nonsense")
    assert "no.tflite" in told(run("evaluate", tmp_path / "no.tflite", tmp_path))
