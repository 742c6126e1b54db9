"""Fixtures of the tests against real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.delivery.outbox import Outbox
from tests.running import end_all


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox.open(tmp_path / "outbox.sqlite3")
    yield box
    box.close()


@pytest.fixture(autouse=True)
def no_daemon_is_left() -> Iterator[None]:
    """A test that fails must not leave its daemon running beside the next."""
    yield
    end_all()
