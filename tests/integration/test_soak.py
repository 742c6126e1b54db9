"""Hours of sound through the real daemon: its memory does not grow, and every shot of them is an alert."""

from pathlib import Path

import pytest

from script.measure import soak

pytestmark = [pytest.mark.server, pytest.mark.data]

MOST_GROWTH_MIB = 2.0


def test_memory_does_not_grow_after_the_first_hour(tmp_path: Path, model: Path) -> None:
    _soak(tmp_path, model, 1.5)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_in_a_day(tmp_path: Path, model: Path) -> None:
    _soak(tmp_path, model, 24)


def _soak(folder: Path, model: Path, hours: float) -> None:
    figures = soak(folder, model, hours)
    print(figures)
    assert figures["exit"] == 0, (folder / "daemon.log").read_text()[-2000:]
    assert figures["alerts"] == 60 * hours, "a shot a minute"
    assert figures["growth_mib"] < MOST_GROWTH_MIB
    assert figures["rss_at_end_mib"] < 100
