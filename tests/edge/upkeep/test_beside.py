"""What a new program shows beside the one that runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.upkeep.doctor.beside import check_libraries


def configuration(folder: Path, **more: object) -> Path:
    (folder / "state").mkdir()
    path = folder / "edge.yaml"
    path.write_text(json.dumps({"state_dir": str(folder / "state"), "clips": {"free_floor_bytes": 0}, **more}))
    return path


def diagnosed(config: Path) -> dict[str, dict[str, Any]]:
    """The checks by name, of a process of its own: its children inherit what it has loaded, under a limit."""
    code = (
        "import json, sys; from dataclasses import asdict; from pathlib import Path;"
        "from edge.upkeep.doctor.beside import diagnose_beside;"
        "print(json.dumps([asdict(result) for result in diagnose_beside(Path(sys.argv[1]))]))"
    )
    done = subprocess.run([sys.executable, "-c", code, config], stdout=subprocess.PIPE, timeout=120, check=True)
    return {result["name"]: result for result in json.loads(done.stdout)}


def test_a_whole_program_with_its_own_model_is_well(tmp_path: Path) -> None:
    results = diagnosed(configuration(tmp_path))
    assert list(results) == ["configuration", "libraries", "model", "disk"]
    failed = [one for one in results.values() if one["state"] in ("fail", "not_tried") and one["name"] != "disk"]
    assert failed == [], "the disk of a test may be a tmpfs"


def test_a_mistake_in_the_configuration_is_shown_and_nothing_else_is_tried(tmp_path: Path) -> None:
    results = diagnosed(configuration(tmp_path, no_such_key=1))
    assert [result["state"] for result in results.values()] == ["fail", "not_tried", "not_tried", "not_tried"]
    assert "no_such_key" in results["configuration"]["detail"]


def test_a_model_that_is_no_model_is_refused_with_its_name(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"no model")
    found = diagnosed(configuration(tmp_path, detection={"model": str(model)}))
    assert found["model"]["state"] == "fail"
    assert str(model) in found["model"]["detail"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import nobody_wrote_this", "No module named 'nobody_wrote_this'"),
        ("import faulthandler, os; faulthandler.disable(); os.abort()", "killed by signal 6"),
        ("raise OSError('libnone.so: cannot open shared object file')", "libnone.so"),
    ],
)
def test_a_library_that_does_not_load_or_crashes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    (tmp_path / "broken_library.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = check_libraries(("json", "broken_library"))
    assert outcome.state == "fail"
    assert "broken_library" in outcome.detail
    assert why in outcome.detail


def test_the_process_that_waits_for_the_checks_loads_nothing_of_them(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edge.upkeep.doctor.beside import diagnose_beside;"
        "diagnose_beside(Path(sys.argv[1])); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(configuration(tmp_path))]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()
    assert not {"numpy", "pydantic", "rich", "tuf", "edge.settings"} & set(loaded)


@pytest.mark.parametrize(("more", "said"), [({}, "good"), ({"no_such_key": 1}, "FAILS")])
def test_the_command_prints_the_table_and_exits_with_its_verdict(
    tmp_path: Path, more: dict[str, object], said: str
) -> None:
    command = [sys.executable, "-c", "from edge.cli import app; app()", "doctor", "--beside", "--config"]
    done = subprocess.run([*command, configuration(tmp_path, **more)], capture_output=True, text=True, timeout=120)
    assert done.returncode == int("FAILS" in done.stdout), done.stdout + done.stderr
    assert said in next(line for line in done.stdout.splitlines() if "configuration" in line)
