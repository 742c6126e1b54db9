"""Maintainers come and go: devices that knew the old ones follow, and who has left signs nothing."""

from pathlib import Path

import pytest

from tests.trainer.release.making import Device, Releases, told

ONE = "models/gun-shot-1.tflite"


def newcomer(releases: Releases, name: str = "dora") -> str:
    return f"{name}={releases.medium(name)}"


def test_somebody_more_signs(with_one: Releases, device: Device, models: list[Path]) -> None:
    assert device.wanted() == ONE
    said = with_one.done("maintainer", "add", newcomer(with_one), *with_one.keys("alice", "bob"))
    assert "out: dora signs too" in said
    assert device.wanted() == ONE
    assert len(list(with_one.medium("dora").iterdir())) == 3, "root, targets, models"
    with_one.done("publish", models[1], "--fraction", 1, *with_one.keys("dora", "carol"))
    assert device.wanted() == "models/gun-shot-2.tflite"
    with_one.done("resign", "--offline", *with_one.keys("dora", "bob"))
    assert device.wanted() == "models/gun-shot-2.tflite"


def test_who_has_left_signs_nothing_any_more(with_one: Releases, device: Device, models: list[Path]) -> None:
    assert device.wanted() == ONE
    with_one.done("maintainer", "remove", "alice", *with_one.keys("bob", "carol"))
    assert device.wanted() == ONE
    waiting = with_one.run("publish", models[1], "--fraction", 1, *with_one.keys("alice", "bob"))
    assert waiting.exit_code == 3
    assert "models wants 1 more of: carol" in told(waiting)
    assert device.wanted() == ONE
    with_one.done("sign", "--yes", *with_one.keys("carol"))
    assert device.wanted() == "models/gun-shot-2.tflite"


def test_the_one_who_leaves_cannot_be_kept_by_their_own_lost_stick(with_one: Releases, device: Device) -> None:
    """Two of three are left; then one of two, once the others have agreed that one is enough."""
    with_one.done("maintainer", "remove", "carol", *with_one.keys("alice", "bob"))
    result = with_one.run("maintainer", "remove", "bob", *with_one.keys("alice", "bob"))
    assert result.exit_code == 1
    assert "root wants 2 signatures, and 1 maintainer would be left to give them; give --threshold 1" in told(result)
    with_one.done("maintainer", "remove", "bob", "--threshold", 1, *with_one.keys("alice", "bob"))
    with_one.done("resign", "--offline", *with_one.keys("alice"))
    assert device.wanted() == ONE


def test_a_higher_threshold_wants_more_of_them_and_both_roots_agree(
    with_one: Releases, device: Device, models: list[Path]
) -> None:
    assert device.wanted() == ONE
    waiting = with_one.run("threshold", 3, *with_one.keys("alice", "bob"))
    assert waiting.exit_code == 3
    assert "root wants 1 more of: carol" in told(waiting)
    assert device.wanted() == ONE
    shown = told(with_one.run("sign", *with_one.keys("carol")))
    for role in ("root", "targets", "models"):
        assert f"~ threshold of {role}: 2 → 3" in shown
    with_one.done("sign", "--yes", *with_one.keys("carol"))
    assert device.wanted() == ONE
    two = with_one.run("publish", models[1], *with_one.keys("alice", "bob"))
    assert two.exit_code == 3
    with_one.done("sign", "--yes", *with_one.keys("carol"))


def test_the_last_but_one_lost_stick_is_replaced_by_somebody_new_in_two_steps(
    with_one: Releases, device: Device
) -> None:
    with_one.done("maintainer", "remove", "carol", *with_one.keys("alice", "bob"))
    with_one.done("maintainer", "add", newcomer(with_one), *with_one.keys("alice", "bob"))
    with_one.done("resign", "--offline", *with_one.keys("dora", "alice"))
    assert device.wanted() == ONE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["maintainer", "add", "alice=x"], "alice signs already"),
        (["maintainer", "add", "online=x"], "another name"),
        (["maintainer", "add", "dora"], "expected NAME=FOLDER"),
        (["maintainer", "remove", "mallory"], "mallory has no key; maintainers are alice, bob, carol"),
        (["threshold", "4"], "root wants 4 signatures, and 3 maintainers would be left"),
        (["threshold", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_no_keys(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.name.endswith(".pem")}
    result = releases.run(*arguments, *releases.keys("alice", "bob"))
    assert result.exit_code in (1, 2)
    assert expected in told(result)
    assert {path for path in tmp_path.rglob("*") if path.name.endswith(".pem")} == before
