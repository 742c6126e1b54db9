"""Fixtures of the tests against real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.delivery.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox.open(tmp_path / "outbox.sqlite3")
    yield box
    box.close()
