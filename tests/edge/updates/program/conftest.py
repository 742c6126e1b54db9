"""A device with environments of its own, and the units that run out of them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.updates.program.programs import Device, Supervisor


@pytest.fixture(scope="session")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing in it."""
    folder = tmp_path_factory.mktemp("environment") / "empty"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(folder)], check=True, timeout=280)
    return folder


@pytest.fixture
def device(tmp_path: Path, empty_environment: Path) -> Device:
    return Device(tmp_path, empty_environment)


@pytest.fixture
def units(device: Device) -> Iterator[Supervisor]:
    supervisor = Supervisor(device)
    supervisor.start()
    yield supervisor
    supervisor.stop()
