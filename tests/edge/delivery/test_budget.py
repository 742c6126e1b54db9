"""The bytes of a day, over restarts and midnights."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.delivery.budget import DailyBytes
from tests.edge.delivery.examples import NOON


class _Calendar:
    """A clock whose day can be turned."""

    def __init__(self) -> None:
        self.days = 0

    def now(self) -> Any:
        from tests.edge.delivery.examples import moment

        return moment(utc=NOON + timedelta(days=self.days))


def test_a_new_day_brings_a_new_budget(tmp_path: Path) -> None:
    calendar: Any = _Calendar()
    sent = DailyBytes(tmp_path / "sent.json", calendar, 1000)
    sent.charge(900)
    assert not sent.allows(200) and sent.allows(100)
    calendar.days = 1
    assert sent.allows(1000) and sent.spent == 0
    sent.charge(10)
    assert DailyBytes(tmp_path / "sent.json", calendar, 1000).spent == 10


@pytest.mark.parametrize("content", [b"", b"null", b'{"day": 3}', b"\xff\xfe", b'{"day":"2026-05-01","bytes":"x"}'])
def test_a_damaged_count_starts_from_zero(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sent.json").write_bytes(content)
    calendar: Any = _Calendar()
    assert DailyBytes(tmp_path / "sent.json", calendar, 1000).spent == 0
