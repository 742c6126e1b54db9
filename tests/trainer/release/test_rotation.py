"""Keys that are lost, stolen or renewed: devices that knew the old ones follow, and the old ones sign nothing."""

import shutil
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from tests.trainer.release.making import Device, Releases, told

ONE = "models/gun-shot-1.tflite"


def new(releases: Releases, name: str = "dora") -> list[object]:
    return ["--new", f"{name}={releases.medium(name)}"]


@pytest.mark.parametrize("role", ["root", "targets", "models"])
def test_a_maintainers_key_is_replaced_and_the_old_one_signs_nothing(
    with_one: Releases, device: Device, models: list[Path], role: str
) -> None:
    assert device.wanted() == ONE
    with_one.done("rotate-key", role, "--key-of", "alice", *new(with_one), *with_one.keys("bob", "carol"))
    assert device.wanted() == ONE
    renewing = with_one.run("resign", "--offline", *with_one.keys("alice", "bob"))
    assert renewing.exit_code == 3
    assert f"{role} wants 1 more of: carol" in told(renewing)
    assert "dora" in told(renewing)
    with_one.done("sign", "--yes", *with_one.keys("dora", "carol"))
    assert device.wanted() == ONE
    with_one.done("publish", models[1], *with_one.keys("bob", "carol"))
    assert device.rollout().model.fraction == 0.1  # type: ignore[union-attr]


@pytest.mark.parametrize("role", ["rollout", "snapshot", "timestamp"])
@pytest.mark.parametrize("how", ["renewed", "lost"])
def test_an_online_key_is_replaced(with_one: Releases, device: Device, role: str, how: str) -> None:
    assert device.wanted() == ONE
    old = next((with_one.folder / "online").glob(f"{role}-*"))
    lost = []
    if how == "lost":
        old.unlink()
        lost = ["--lost"]
    said = with_one.done("rotate-key", role, *lost, *with_one.keys("alice", "carol"))
    assert device.wanted() == ONE
    if how == "renewed":
        assert f"{old} signs nothing any more" in " ".join(said.split())
        old.unlink()
    with_one.done("pause")
    with_one.done("resign")
    assert device.rollout().model.paused  # type: ignore[union-attr]


def test_a_lost_online_key_without_saying_so_would_leave_devices_between_two_roots(
    with_one: Releases, device: Device
) -> None:
    next((with_one.folder / "online").glob("timestamp-*")).unlink()
    result = with_one.run("rotate-key", "timestamp", *with_one.keys("alice", "carol"))
    assert result.exit_code == 1
    assert "--lost" in told(result)
    assert device.wanted() == ONE


def test_a_new_root_wants_the_old_root_s_keys(releases: Releases, device: Device) -> None:
    """Two of three are replaced one after the other; each time the old root's threshold signs."""
    alone = releases.run("rotate-key", "root", "--key-of", "alice", *new(releases), *releases.keys("bob"))
    assert alone.exit_code == 3
    # The new key and bob's make two for the new root; the old one lacks one of its own.
    assert "root wants 1 more of: alice" in told(alone)
    assert "carol" in told(alone)
    device.look()
    releases.done("sign", "--yes", *releases.keys("alice"))
    device.look()
    assert Metadata.from_file(str(releases.repository / "metadata" / "2.root.json")).signed.version == 2
    releases.done("rotate-key", "root", "--key-of", "bob", *new(releases, "emil"), *releases.keys("carol", "bob"))
    device.look()
    assert (releases.repository / "metadata" / "3.root.json").exists()


def test_what_a_signer_sees_names_the_keys(releases: Releases) -> None:
    releases.run("rotate-key", "models", "--key-of", "alice", *new(releases))
    said = told(releases.run("sign", *releases.keys("bob")))
    assert "- key of models: alice" in said
    assert "+ key of models: dora" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["root"], "several keys"),
        (["root", "--key-of", "mallory", "--new", "dora=x"], "no key mallory"),
        (["root", "--key-of", "alice"], "give --new NAME=FOLDER"),
        (["root", "--key-of", "alice", "--new", "dora"], "expected NAME=FOLDER"),
        (["king"], "king"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = releases.run("rotate-key", *arguments)
    assert result.exit_code in (1, 2)
    assert expected in told(result)


def test_a_stolen_medium_alone_signs_nothing(with_one: Releases, device: Device, models: list[Path]) -> None:
    thief = with_one.folder / "thief"
    shutil.copytree(with_one.medium("alice"), thief)
    assert with_one.run("publish", models[1], "--fraction", 1, "--key", thief).exit_code == 3
    assert device.wanted() == ONE
