"""The house: pages lead somewhere, and nothing in the repository belongs to one machine or one registry."""

import os
import re
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
