"""The new program's doctor, run in the place of the updater that waits for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge.updates.program.trying import RefusedError
from tests.edge.updates.program.programs import REPOSITORY, Device, Supervisor

TELL = "import json, os, sys; print(json.dumps([os.getpid(), *sys.argv[1:]]))"


def program(folder: Path, text: str) -> Path:
    (folder / "bin").mkdir()
    file = folder / "bin" / "ecosight-edge"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("exit 0", ""),
        ("echo 'model FAILS the golden vectors'; exit 1", "the new program's doctor refuses: model FAILS the golden"),
        ("exit 7", "the new program's doctor refuses: exit code 7"),
        ("kill -9 $$", "the new program's doctor refuses: exit code -9"),
    ],
)
def test_the_updater_is_started_again_under_its_number_and_told(tmp_path: Path, text: str, refusal: str) -> None:
    module = [sys.executable, "-m", "edge.updates.program.trying"]
    command = [*module, "programs/2/x.json", program(tmp_path, text), "edge.yaml", sys.executable, "-c", TELL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        pid, target, why = json.loads(process.communicate(timeout=60)[0])
    assert (pid, target) == (process.pid, "programs/2/x.json")
    assert why.startswith(refusal)
    assert bool(why) == bool(refusal)


def test_what_waits_for_the_doctor_loads_the_standard_library_alone() -> None:
    code = "import sys, edge.updates.program.trying; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=REPOSITORY).stdout
    assert not {"pydantic", "yaml", "edge.settings", "tuf", "logging"} & set(loaded.split())


def test_an_updater_that_is_cut_off_by_the_trial_goes_on_with_what_it_is_told(
    device: Device, units: Supervisor
) -> None:
    class InMyPlace(BaseException):
        """As if this process were another from here on."""

    target = device.offer("2.0", number=2)
    tried: list[tuple[str, Path]] = []

    def begin(wanted: str, environment: Path) -> None:
        tried.append((wanted, environment))
        raise InMyPlace

    with pytest.raises(InMyPlace):
        device.updater(units, try_program=begin).run()
    assert tried == [(target, device.environments.path("b"))]
    assert device.version == "1.0"
    steps: list[str] = []
    device.updater(units, try_program=lambda *_: None, step=steps.append).run()
    assert device.version == "2.0"
    assert "filled" not in steps, "it is not built twice"


def test_a_refusal_that_it_is_told_is_remembered(device: Device, units: Supervisor) -> None:
    target = device.offer("2.0", number=2)

    def refuse(*_: object) -> None:
        raise RefusedError("model FAILS")

    device.updater(units, try_program=refuse).run()
    assert (device.version, device.refused) == ("1.0", {target: "model FAILS"})
