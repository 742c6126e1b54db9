"""One ceremony and a few models for all; every test works on a copy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.updates.simulated_repository import Served
from tests.trainer.release.making import Device, Releases, another_model, begin


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Two of three maintainers sign; nothing is released."""
    return begin(tmp_path_factory.mktemp("ceremony") / "releases")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [another_model(folder / f"{version}.tflite", version) for version in ("1", "2", "3")]


@pytest.fixture(scope="session")
def held_with_one(held: Releases, models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Model 1 is everybody's on stable."""
    copied = copy(held, tmp_path_factory.mktemp("one"))
    copied.done("publish", models[0], "--fraction", 1, *copied.keys("alice", "bob"))
    return copied


def copy(releases: Releases, folder: Path) -> Releases:
    shutil.copytree(releases.folder, folder / "releases")
    return Releases(folder / "releases")


@pytest.fixture
def releases(held: Releases, tmp_path: Path) -> Releases:
    return copy(held, tmp_path)


@pytest.fixture
def with_one(held_with_one: Releases, tmp_path: Path) -> Releases:
    return copy(held_with_one, tmp_path)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The folder of ``releases`` or ``with_one`` over HTTP."""
    with Served(tmp_path / "releases" / "repository") as server:
        yield server


@pytest.fixture
def device(served: Served, tmp_path: Path, held: Releases) -> Device:
    """It was given the root of the ceremony, and nothing since."""
    return Device((held.folder / "root.json").read_bytes(), tmp_path / "device", served.url)
