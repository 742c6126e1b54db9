"""What the scripts say and refuse; those that install are run on stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def run_setup_with(tmp_path: Path, **pythons: str) -> subprocess.CompletedProcess[str]:
    """Runs script/setup where the only Pythons on PATH are fakes that report "number bits version"."""
    for tool in ("dirname", "uname", "bash", "env"):
        (tmp_path / tool).symlink_to(Path("/usr/bin") / tool)
    for name, facts in pythons.items():
        fake = tmp_path / name.replace("_", ".")
        fake.write_text(f"#!/bin/sh\necho {facts}\n")
        fake.chmod(0o755)
    environment = {**os.environ, "PATH": str(tmp_path)}
    return subprocess.run(
        ["/usr/bin/env", "bash", REPOSITORY / "script" / "setup", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


@pytest.mark.parametrize(
    ("pythons", "expected"),
    [
        ({"python3": "309 64 3.9.2"}, "python3 is Python 3.9.2; EcoSight needs Python 3.11 or newer"),
        ({"python3": "311 32 3.11.2"}, "python3 is a 32-bit program; EcoSight needs a 64-bit system"),
        ({"python3": "310 32 3.10.1"}, "32-bit"),
        ({"python3": "309 64 3.9.2", "python3_12": "309 64 3.9.9"}, "python3 is Python 3.9.2"),
        ({}, "no python3; EcoSight needs Python 3.11 or newer"),
    ],
)
def test_setup_refuses_what_cannot_work_at_once_in_one_line(
    tmp_path: Path, pythons: dict[str, str], expected: str
) -> None:
    done = run_setup_with(tmp_path, **pythons)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


FAKE_PYTHON = """#!/bin/sh
echo "python $*" >>"$CALLS"
case "$*" in
  *struct*) echo 311 64 3.11.2 ;;
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *base_prefix*) echo 3.11.2 /usr ;;
esac
"""
FAKE_DPKG_QUERY = """#!/bin/sh
for package; do :; done
grep -qx "$package" "$INSTALLED" && echo -n installed
"""
FAKE_APT_GET = """#!/bin/sh
echo "apt-get $*" >>"$CALLS"
[ -z "$APT_FAILS" ] || { echo "E: no such luck" >&2; exit 100; }
case "$*" in *install*) printf '%s\\n' mosquitto libportaudio2 >>"$INSTALLED" ;; esac
"""


class FreshMachine:
    """A checkout of script/setup on a machine whose Python, package manager and rights are stand-ins."""

    def __init__(self, folder: Path, user: int = 0) -> None:
        self.checkout = folder / "checkout"
        (self.checkout / "script").mkdir(parents=True)
        (self.checkout / "edge").mkdir()
        for name in ("script/setup", "pyproject.toml", "constraints.txt", "edge/__init__.py"):
            shutil.copy(REPOSITORY / name, self.checkout / name)
        tools = folder / "tools"
        tools.mkdir()
        for name, text in {
            "python3": FAKE_PYTHON,
            "dpkg-query": FAKE_DPKG_QUERY,
            "apt-get": FAKE_APT_GET,
            "sudo": "#!/bin/sh\nexit 1\n",
            "id": f"#!/bin/sh\necho {user}\n",
        }.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.calls = folder / "calls"
        self.installed = folder / "installed"
        self.installed.touch()
        self.environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "INSTALLED": str(self.installed),
            "APT_FAILS": "",
        }

    def run(self) -> "subprocess.CompletedProcess[str]":
        self.calls.write_text("")
        return subprocess.run(
            ["bash", self.checkout / "script" / "setup", "demo"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def setup(self) -> tuple[str, str]:
        """What script/setup printed, and the calls that it made, without its questions to the interpreter."""
        done = self.run()
        assert done.returncode == 0, done.stdout + done.stderr
        calls = [line for line in self.calls.read_text().splitlines() if not line.startswith("python -c")]
        return done.stdout, "\n".join(calls)


def test_setup_installs_what_is_missing_once_and_says_so(tmp_path: Path) -> None:
    machine = FreshMachine(tmp_path)
    said, calls = machine.setup()
    assert "installing system packages: mosquitto libportaudio2" in said
    assert "--no-remove mosquitto libportaudio2" in calls
    assert "-m venv" in calls
    assert "-c constraints.txt" in calls
    assert machine.setup() == ("", "")


def test_setup_runs_again_when_the_requirements_change_and_keeps_the_environment(tmp_path: Path) -> None:
    machine = FreshMachine(tmp_path)
    machine.setup()
    with (machine.checkout / "constraints.txt").open("a") as file:
        file.write("another==1.0\n")
    _, calls = machine.setup()
    assert "--editable" in calls
    assert "-m venv" not in calls


def test_setup_makes_the_environment_again_after_the_folder_has_moved(tmp_path: Path) -> None:
    machine = FreshMachine(tmp_path)
    machine.setup()
    machine.checkout = machine.checkout.rename(tmp_path / "elsewhere")
    assert "-m venv --clear" in machine.setup()[1]


def test_setup_does_not_empty_the_environment_that_a_link_leads_to(tmp_path: Path) -> None:
    machine = FreshMachine(tmp_path)
    machine.setup()
    another = (machine.checkout / ".venv").rename(tmp_path / "another")
    (another / "made-in").write_text("elsewhere\n")
    (another / "ready-for-demo").unlink()
    (machine.checkout / ".venv").symlink_to(another)
    done = machine.run()
    assert done.returncode == 1
    assert f".venv is a link to {another}" in done.stderr
    assert "-m venv" not in machine.calls.read_text()


def test_setup_goes_on_without_a_system_package_that_cannot_be_had(tmp_path: Path) -> None:
    machine = FreshMachine(tmp_path)
    machine.environment["APT_FAILS"] = "1"
    said, calls = machine.setup()
    assert "NOT INSTALLED: mosquitto libportaudio2" in said
    assert "--editable" in calls


def test_setup_goes_on_without_rights_and_says_so(tmp_path: Path) -> None:
    said, calls = FreshMachine(tmp_path, user=1000).setup()
    assert "no rights to install system packages" in said
    assert "NOT INSTALLED: mosquitto libportaudio2" in said
    assert "apt-get" not in calls
    assert "--editable" in calls


def test_setup_refuses_a_purpose_that_it_does_not_know() -> None:
    done = subprocess.run([REPOSITORY / "script" / "setup", "party"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown purpose 'party'" in done.stderr


@pytest.mark.parametrize("name", ["setup", "default-model"])
def test_a_script_that_is_asked_what_it_does_does_nothing(name: str) -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    command = ["bash", str(REPOSITORY / "script" / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert f"script/{name} [" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("data", ["", "/nowhere", "--nosuch"])
def test_the_model_that_ships_is_not_made_of_what_is_no_folder(data: str) -> None:
    command = ["bash", str(REPOSITORY / "script" / "default-model"), *filter(None, [data])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("default-model: ") and "script/default-model [--head] DATA" in done.stderr
