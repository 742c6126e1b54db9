"""The command: what it prints, what it ends with, and what is left when it is cut off."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.interrupting import may_be_interrupted
from tests.trainer.retraining.conftest import Home
from tests.trainer.retraining.making import backbone_file, pack
from trainer.cli import app
from trainer.judging.gate import Limits
from trainer.models.log import read
from trainer.models.store import Store

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_S = 240
COMMAND = [sys.executable, "-c", "from trainer.cli import app; app()"]


def arguments(home: Path, data: Path, *more: object) -> list[str]:
    return [
        "retrain", "--data", str(data), "--models", str(home / "models"), "--catalogue", str(home / "catalogue"),
        "--cache", str(home / "cache"), "--backbone", str(backbone_file(home)), "--variants", "1", "--processes", "1",
        *map(str, more),
    ]  # fmt: skip


def run(home: Path, data: Path, *more: object) -> Result:
    return CliRunner().invoke(app, arguments(home, data, *more), env={"COLUMNS": "200"})


def told(result: Result) -> str:
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command as a process of its own; ends what is left of it."""
    running: list[subprocess.Popen[str]] = []

    def start(home: Path, data: Path, *more: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments(home, data, *more)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=may_be_interrupted,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def kept_embeddings(home: Path) -> int:
    """Renderings whose embeddings are in the cache for good."""
    for index in (home / "cache" / "embeddings").glob("*/index.sqlite3"):
        with sqlite3.connect(index, timeout=30) as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'item'").fetchone():
                return int(database.execute("SELECT count(*) FROM item").fetchone()[0])
    return 0


def wait_until(process: subprocess.Popen[str], done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_facts_go_to_standard_output_for_people_or_for_scripts(home: Home) -> None:
    shown = run(home.folder, home.data)
    assert shown.exit_code == 0, shown.output
    lines = dict(line.split("  ", 1) for line in shown.stdout.splitlines()[:9])
    assert lines["status"].strip() == "in use"
    assert lines["version"].strip() == f"{home.outcome.version}, as it was made before"
    assert "at 3 FA/h" in shown.stdout
    assert "== catalogue" in shown.stderr

    document = json.loads(run(home.folder, home.data, "--json").stdout)
    assert document["status"] == "in use"
    assert document["version"] == home.outcome.version
    assert document["labels"] == {"background": 4, "chainsaw": 4, "gun_shot": 8, "rain": 6}
    assert set(document["recall"]) == {"10", "3", "1"}
    assert Path(document["model"]).is_file() and Path(document["report"]).is_file()


def test_a_refused_model_ends_with_3_and_is_not_in_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.judging.gate.Limits", partial(Limits, least_recall=1.1))
    result = run(home.folder, home.data, "--name", "another")
    assert result.exit_code == 3
    assert "does not pass the gate" in told(result)
    assert "status" in result.stdout and "refused" in result.stdout
    assert Store(home.models).current() == home.outcome.version


def test_nothing_to_do_ends_with_4_and_says_what_was_looked_at(home: Home) -> None:
    result = run(home.folder, home.data, "--trigger")
    assert result.exit_code == 4, result.output
    assert "0 new recordings since" in result.stdout
    assert len(read(home.models)) == 2
    document = json.loads(run(home.folder, home.data, "--trigger", "--json").stdout)
    assert document["status"] == "nothing to do"


def test_a_trigger_leaves_its_reason_in_the_log(home: Home) -> None:
    pack(home.data, rain=(9, 6))
    result = run(home.folder, home.data, "--trigger", "--min-new", 3, "--force", "--reason", "nightly")
    assert result.exit_code == 0, result.output
    assert read(home.models)[2].reason == "trigger: 3 new recordings (3 make a run); nightly"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--force"], "--force wants a --reason"),
        (["--data", "/nowhere/at/all"], "/nowhere/at/all is not a folder"),
        (["--backbone", "/nowhere.tflite"], "cannot read model /nowhere.tflite"),
    ],
)
def test_bad_input_ends_with_1_and_a_clear_line(home: Home, more: list[str], said: str) -> None:
    result = run(home.folder, home.data, *more)
    assert result.exit_code == 1, result.output
    assert said in told(result)


def test_without_recordings_it_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_BUCKET", raising=False)
    result = CliRunner().invoke(app, ["retrain", "--catalogue", str(tmp_path / "c"), "--models", str(tmp_path / "m"),
                                      "--cache", str(tmp_path / "k")])  # fmt: skip
    assert result.exit_code == 1
    assert "no catalogue in" in told(result)


def test_a_kill_in_the_middle_costs_nothing_that_was_done(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    data = pack(tmp_path / "data")
    process = started(tmp_path, data, "--variants", 8)
    wait_until(process, lambda: kept_embeddings(tmp_path) > 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = kept_embeddings(tmp_path)
    assert not Store(tmp_path / "models").versions()
    again = started(tmp_path, data, "--variants", 8)
    out, err = again.communicate(timeout=PATIENCE_S)
    assert again.returncode in (0, 3), err
    assert "as they were" in err
    assert kept_embeddings(tmp_path) > before
    assert len(Store(tmp_path / "models").versions()) == 1
    assert "status" in out


def test_ctrl_c_ends_with_130_and_the_second_run_is_told_who_runs(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    data = pack(tmp_path / "data")
    process = started(tmp_path, data, "--variants", 8)
    wait_until(process, lambda: kept_embeddings(tmp_path) > 0)
    second = run(tmp_path, data)
    assert second.exit_code == 1
    assert f"(process {process.pid} on " in told(second)
    assert "already running on" in told(second)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "run it again to go on" in err


def test_a_full_disk_is_said_and_harms_nothing(tmp_path: Path) -> None:
    data = pack(tmp_path / "data")
    small = tmp_path / "small"
    small.mkdir()
    backbone_file(tmp_path)
    mount = f"mount -t tmpfs -o size=700k tmpfs {small}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    command = [
        *COMMAND, "retrain", "--data", str(data), "--models", str(tmp_path / "models"),
        "--catalogue", str(tmp_path / "catalogue"), "--cache", str(small), "--variants", "1", "--processes", "1",
        "--backbone", str(tmp_path / "backbone_0.tflite"),
    ]  # fmt: skip
    done = subprocess.run(
        [*own_disk, f'{mount} && exec "$@"', "sh", *command], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "room" in done.stderr.splitlines()[-1]
    assert not Store(tmp_path / "models").versions()
