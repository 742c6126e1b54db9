"""Simulated devices through publish 10 % → widen → withdraw. ``script/fleet`` does it with a thousand."""

from pathlib import Path

import pytest

from tests.fleet import EXPECTED, MOST_OFF, NEW, Fleet

pytestmark = pytest.mark.server


def check(fleet: Fleet) -> None:
    """Who shall run it runs it, and nobody else; and nothing comes twice."""
    for step in fleet.through_it_all():
        assert step.share_new == fleet.meant(EXPECTED[step.step]), step
    assert step.downloads == 0, "who goes back has the older model in its other slot"
    assert set(fleet.downloads.values()) == {1}
    devices = {device for device, _ in fleet.downloads}
    assert len(devices) == fleet.count
    assert {target for _, target in fleet.downloads} == {NEW}


def test_a_few_devices_go_with_every_step_and_download_everything_once(tmp_path: Path) -> None:
    check(Fleet(12, tmp_path / "fleet"))


@pytest.mark.long
def test_a_hundred_devices_do_too(tmp_path: Path) -> None:
    check(Fleet(100, tmp_path / "fleet"))


def test_a_thousand_devices_draw_within_two_points_of_what_was_asked() -> None:
    from edge.updates.release import draw
    from tests.fleet import site_of

    drawn = [draw(*site_of(number), NEW) for number in range(1000)]
    for fraction in (0.1, 0.25, 0.5, 0.9):
        assert abs(sum(one < fraction for one in drawn) / 1000 - fraction) <= MOST_OFF
