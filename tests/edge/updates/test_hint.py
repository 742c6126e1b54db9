"""A hint makes the device look, soon, and not more often than it should."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.delivery.messages import ModelHint
from edge.settings import EdgeSettings
from edge.updates.model.slots import Slots
from edge.updates.watching import HINT_EVERY_S, HINT_SPREAD_S, Updates

DAY_S = 86_400.0


@pytest.fixture
def updates(tmp_path: Path) -> Updates:
    settings = EdgeSettings.model_validate(
        {"state_dir": str(tmp_path), "updates": {"url": "https://updates.example", "channel": "beta"}}
    )
    daemon: Any = SimpleNamespace(settings=settings)
    updates = Updates(daemon, Slots(tmp_path))
    updates._look_at_s = time.monotonic() + DAY_S
    return updates


def hint(minute: int = 0, channel: str = "beta") -> bytes:
    at = f"2026-03-01T12:{minute:02}:00Z"
    return ModelHint.model_validate({"channel": channel, "at": at}).to_json()


def wait_s(updates: Updates) -> float:
    """Seconds until it looks."""
    return updates._look_at_s - time.monotonic()


def test_a_hint_makes_it_look_within_seconds_and_not_all_devices_at_once(updates: Updates) -> None:
    updates.hint(hint())
    assert wait_s(updates) <= HINT_SPREAD_S


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b'{"channel": "beta"}', b"\xff", hint(channel="stable"), b" " * 5000 + hint()],
    ids=["empty", "cut", "list", "half", "bytes", "other channel", "long"],
)
def test_what_is_no_hint_for_this_device_does_nothing(updates: Updates, payload: bytes) -> None:
    updates.hint(payload)
    assert wait_s(updates) > DAY_S - 60


def test_a_retained_hint_that_comes_again_with_each_connection_does_nothing(updates: Updates) -> None:
    updates.hint(hint())
    updates._look_at_s = time.monotonic() + DAY_S
    updates.hint(hint())
    assert wait_s(updates) > DAY_S - 60


def test_however_many_hints_come_the_repository_is_asked_once_a_minute(updates: Updates) -> None:
    updates._looked_s = time.monotonic()
    for minute in range(50):
        updates.hint(hint(minute))
    assert HINT_EVERY_S - 5 < wait_s(updates) <= HINT_EVERY_S + HINT_SPREAD_S
