"""Whatever ends a command, wherever: devices can use what is there, and the command can be done again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.detection import verify
from edge.digest import sha256_of
from edge.updates.fetching import deltas
from tests.edge.updates.simulated_repository import Served
from tests.trainer.release.conftest import copy
from tests.trainer.release.making import PASSPHRASE, Device, Releases
from trainer.release import places


class KilledError(BaseException):
    """Nothing catches it: the process is gone."""


class Killing(places.Folder):
    """A folder of which the process dies just before a write, or just after it."""

    left = 10**9
    after = False

    def put(self, name: str, content: bytes) -> None:
        Killing.left -= 1
        if Killing.left == 0 and not Killing.after:
            raise KilledError
        super().put(name, content)
        if Killing.left == 0:
            raise KilledError


Step = Callable[[Releases], list[object]]


def publish(releases: Releases) -> list[object]:
    return ["publish", releases.folder / "2.tflite", *releases.keys("alice", "bob")]


def withdraw(_: Releases) -> list[object]:
    return ["withdraw"]


def resign(_: Releases) -> list[object]:
    return ["resign"]


def rotate(role: str) -> Step:
    def arguments(releases: Releases) -> list[object]:
        new = ["--new", f"dora={releases.folder / 'media' / os.urandom(4).hex()}", "--key-of", "alice"]
        offline = role in ("root", "targets", "models")
        return ["rotate-key", role, *(new if offline else []), *releases.keys("bob", "carol")]

    arguments.__name__ = f"rotate_{role}"
    return arguments


def somebody_comes(releases: Releases) -> list[object]:
    medium = releases.folder / "media" / os.urandom(4).hex()
    return ["maintainer", "add", f"dora={medium}", *releases.keys("bob", "carol")]


def somebody_leaves(releases: Releases) -> list[object]:
    return ["maintainer", "remove", "alice", *releases.keys("bob", "carol")]


def all_must_sign(releases: Releases) -> list[object]:
    return ["threshold", 3, *releases.keys("alice", "bob", "carol")]


@pytest.fixture
def two(held_with_one: Releases, models: list[Path], tmp_path: Path) -> Iterator[Releases]:
    """Two models are released, so that one may be withdrawn; the third lies beside as ``2.tflite``."""
    releases = copy(held_with_one, tmp_path)
    releases.done("publish", models[1], "--fraction", 1, *releases.keys("alice", "bob"))
    shutil.copy(models[2], releases.folder / "2.tflite")
    yield releases
    Killing.left = 10**9


STEPS = [publish, withdraw, resign, *map(rotate, ("root", "targets", "rollout", "timestamp"))]


@pytest.mark.parametrize("step", [*STEPS, somebody_comes, somebody_leaves, all_must_sign])
def test_killed_before_or_after_any_write_devices_can_use_what_is_there(
    two: Releases, held: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    monkeypatch.setattr(places, "Folder", Killing)
    # What takes long and writes nothing: other tests are about it.
    monkeypatch.setattr(deltas, "make", lambda *_: None)
    monkeypatch.setattr(verify, "verify", lambda path: sha256_of(path))
    root = (held.folder / "root.json").read_bytes()
    points = 0
    for after in (False, True):
        for number in range(1, 60):
            folder = tmp_path / f"{after}-{number}"
            releases = copy(two, folder)
            with Served(releases.repository) as server:
                old = Device(root, folder / "old", server.url)
                assert old.wanted() == "models/gun-shot-2.tflite"
                Killing.left, Killing.after = number, after
                killed = False
                try:
                    releases.done(*step(releases))
                except KilledError:
                    killed = True
                Killing.left = 10**9
                new = Device(root, folder / "new", server.url)
                wanted = old.wanted()
                assert wanted == new.wanted()
                assert wanted is not None
                assert old.content(wanted) is not None
                if not killed:
                    break
                points += 1
                _do_again(releases, step)
                assert old.wanted() == new.wanted()
            shutil.rmtree(folder)
    assert points >= 2


def _do_again(releases: Releases, step: Step) -> None:
    """A change that waits is finished by `sign`; without one the command is given again, if it is not done already."""
    if (releases.repository / "pending" / "change.json").exists():
        releases.done("sign", "--yes", *releases.keys("alice", "bob", "carol"))
        return
    result = releases.run(*step(releases))
    already = ("on stable already", "nothing older", "has no key", "signs already")
    assert result.exit_code == 0 or any(words in result.output for words in already), result.output
    releases.done("status", "--check")


@pytest.mark.long
@pytest.mark.parametrize("delay_s", [0.3 + 0.15 * number for number in range(20)])
def test_kill_9_at_any_time_leaves_a_repository_that_devices_can_use(
    two: Releases, held: Releases, tmp_path: Path, delay_s: float
) -> None:
    command = [sys.executable, "-c", "from trainer.cli import app; app()", "release", *map(str, publish(two))]
    child = subprocess.Popen(
        [*command, "--config", str(two.folder)],
        env={**os.environ, "ECOSIGHT_RELEASE_PASSPHRASE": PASSPHRASE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(delay_s)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with Served(two.repository) as server:
        device = Device((held.folder / "root.json").read_bytes(), tmp_path / "device", server.url)
        assert device.wanted() in ("models/gun-shot-2.tflite", "models/gun-shot-3.tflite")
        _do_again(two, publish)
        assert device.wanted() == "models/gun-shot-3.tflite"


def test_a_disk_that_is_full_is_named_and_changes_nothing(two: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in (two.repository / "metadata").iterdir()}
    monkeypatch.setattr(places, "commit_bytes", full)
    result = two.run("withdraw")
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert {path: path.read_bytes() for path in (two.repository / "metadata").iterdir()} == before
