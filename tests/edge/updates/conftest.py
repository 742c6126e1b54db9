"""A repository, a server and a device that every test here may have."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.updates.device import Device
from tests.edge.updates.model.units import still_forest, unit
from tests.edge.updates.simulated_repository import Served, SimulatedRepository

__all__ = ["still_forest", "unit"]


@pytest.fixture
def repository(tmp_path: Path) -> SimulatedRepository:
    return SimulatedRepository(tmp_path / "repository")


@pytest.fixture
def server(repository: SimulatedRepository) -> Iterator[Served]:
    with Served(repository.folder) as served:
        yield served


@pytest.fixture
def device(tmp_path: Path, repository: SimulatedRepository, server: Served) -> Device:
    return Device(tmp_path / "device", server.url, repository.root_file)
