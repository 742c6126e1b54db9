"""The house: scripts run and refuse clearly, and nothing in the repository belongs to one machine or one registry."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from edge.settings import EdgeSettings
from edge.settings_file import NOT_SETTINGS, environment_name, walk_fields

REPOSITORY = Path(__file__).resolve().parent.parent


def tracked() -> list[Path]:
    """The repository's files: those that are committed, or all that are visible where there is no git."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        files = (path for path in REPOSITORY.rglob("*") if not {".venv", ".git"} & set(path.parts))
        return sorted(path for path in files if path.is_file() and "cache" not in str(path))
    return [REPOSITORY / name for name in listed.stdout.split("\0") if (REPOSITORY / name).is_file()]


TRACKED = tracked()
# A name without an ending is a command that people type; `script/demo.py` is what `script/demo` runs.
SCRIPTS = [path for path in TRACKED if path.parent.name in ("script", ".ci") and not path.suffix]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(line: str) -> str:
    return normalised(re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_what_runs_it_and_may_run(path: Path) -> None:
    assert path.read_bytes().startswith(b"#!/usr/bin/env "), f"{path.name} has no portable first line"
    assert os.access(path, os.X_OK), f"{path.name} has no run bit"


@pytest.mark.parametrize("path", TRACKED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_names_no_registry_and_no_developers_machine(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    # Spelt so that this file does not contain what it looks for.
    for unwanted in (
        r"py" r"pi\.",
        r"pythonhosted" r"\.",
        r"piwhe" r"els\.",
        r"--index-" r"url",
        r"extra-index" r"-url",
    ):
        assert not re.search(unwanted, text), f"{path.name} matches {unwanted}"
    for home in (r"/ho" r"me/(?!pi\b)\w", r"/wo" r"rk/", r"/Us" r"ers/\w", r"/ro" r"ot/"):
        assert not re.search(home, text), f"{path.name} holds a path of one machine ({home})"


def test_no_file_is_larger_than_the_repository_can_carry() -> None:
    large = {path.name: path.stat().st_size for path in TRACKED if path.stat().st_size > 2_000_000}
    assert not large


def test_every_variable_of_ours_is_a_setting_or_known_not_to_be_one() -> None:
    """Else the daemon would refuse to start where a script's variable is set."""
    settings = {environment_name(".".join(keys)) for keys, _ in walk_fields(EdgeSettings)}
    for path in TRACKED:
        if path.suffix in (".py", ".md", ".service", "") and path.name != "test_settings.py":
            used = set(
                re.findall(r"\bECOSIGHT_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8", errors="ignore"))
            )
            assert used <= settings | NOT_SETTINGS, f"{path.name} uses {used - settings - NOT_SETTINGS}"


def test_every_page_is_found_from_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [path.relative_to(REPOSITORY / "docs") for path in TRACKED if "docs" in path.parts and path.suffix == ".md"]
    assert [str(page) for page in pages if str(page) != "README.md" and str(page) not in index] == []


def test_every_requirement_in_use_is_locked() -> None:
    lock = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    locked = {line.split("==")[0] for line in lock.splitlines() if line and not line.startswith("#")}
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *PYPROJECT["build-system"]["requires"]]
    for extra in ("s3", "trainer", "dev"):
        wanted += project["optional-dependencies"][extra]
    assert {requirement_name(line) for line in wanted} - {"ecosight"} <= locked
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][^ ;@]*", line) for line in lock.splitlines() if line[:1] != "#")


def test_the_changelog_has_a_place_for_what_is_not_released_yet() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text


def test_the_readme_names_the_two_commands_that_do_everything() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "script/demo" in text
    assert "script/test" in text


@pytest.mark.parametrize(
    "page", [path for path in TRACKED if path.suffix == ".md"], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_decisions_are_numbered_without_a_gap_and_listed() -> None:
    folder = REPOSITORY / "docs" / "adr"
    numbers = sorted(int(path.name[:4]) for path in folder.glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"adr/{path.name}" in index for path in folder.glob("[0-9]*.md"))


# --- script/setup -------------------------------------------------------------------------------


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
