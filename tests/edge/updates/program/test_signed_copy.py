"""Root reads the daemon's folder, which anybody may have written: only what maintainers signed comes out of it."""

import os
import shutil
from pathlib import Path

import pytest

from edge.settings import EdgeSettings
from edge.updates.program.signed_copy import CopyError, SignedCopy
from edge.updates.release import Floor, Stage
from tests.edge.updates.simulated_repository import SimulatedRepository, in_days

MACHINE = os.uname().machine
WHEEL = "ecosight-2.0-py3-none-any.whl"


class Copy:
    """A repository, and what a daemon has of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = SimulatedRepository(folder / "repository")
        self.settings = EdgeSettings.model_validate({"site": "s", "device": "d", "state_dir": folder / "state"})
        program = self.repository.add_program("2.0", 2, {WHEEL: b"wheel" * 1000}, MACHINE)
        self.repository.set_floor(Floor(program=1))
        self.repository.choose("stable", program=Stage(wanted=program, fraction=1.0))
        self.repository.publish()
        self.hand_over()

    def hand_over(self, repository: SimulatedRepository | None = None) -> None:
        """Lay the newest metadata and all targets where the daemon keeps them."""
        repository = repository or self.repository
        updates = self.folder / "state/updates"
        shutil.rmtree(updates, ignore_errors=True)
        self.metadata = updates / "metadata"
        (self.metadata / "root_history").mkdir(parents=True)
        for file in repository.metadata_files():
            kind = (
                "root_history/" + file.name if file.name.endswith("root.json") else file.name.split(".")[-2] + ".json"
            )
            shutil.copy(file, self.metadata / kind)
        for role in ("models", "rollout"):
            for path in repository.targets_of(role).targets:
                place = updates / "download" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(repository.file_of(path, role), place)
        self.wheels = updates / "download/programs/wheels"

    def look(self) -> SignedCopy:
        return SignedCopy(self.settings, self.folder / "trust", self.repository.root_file.read_bytes())

    def take(self) -> Path:
        """All that root does with it; the copied wheel."""
        copy = self.look()
        copy.floor()
        wanted = copy.wanted()
        assert wanted is not None
        target = wanted[2].wheels[0]
        copy.copy(target, self.folder / "copied")
        return self.folder / "copied"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_what_maintainers_signed_is_copied_as_it_is(copy: Copy) -> None:
    assert copy.take().read_bytes() == b"wheel" * 1000


def test_any_damaged_file_is_refused(copy: Copy) -> None:
    files = [file for file in sorted((copy.folder / "state").rglob("*")) if file.is_file()]
    assert len(files) == 9
    for file in files:
        good = file.read_bytes()
        for place in (0, len(good) // 2, len(good) - 2):
            file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            shutil.rmtree(copy.folder / "trust", ignore_errors=True)
            with pytest.raises(CopyError):
                copy.take()
        file.write_bytes(good)
    copy.take()


def test_a_repository_of_other_people_is_refused(copy: Copy, tmp_path: Path) -> None:
    copy.hand_over(Copy(tmp_path / "other").repository)
    with pytest.raises(CopyError, match="not to be trusted"):
        copy.look()


def test_older_metadata_than_root_has_seen_is_refused_though_it_is_signed(copy: Copy) -> None:
    old = copy.folder / "old"
    shutil.copytree(copy.metadata, old)
    copy.repository.publish()
    copy.hand_over()
    copy.look()
    shutil.rmtree(copy.metadata)
    shutil.copytree(old, copy.metadata)
    with pytest.raises(CopyError):
        copy.look()


def test_expired_metadata_are_refused(copy: Copy) -> None:
    copy.repository.timestamp.expires = in_days(-1)
    copy.repository.publish()
    copy.hand_over()
    with pytest.raises(CopyError, match="expired"):
        copy.look()


def test_the_online_key_cannot_sign_a_program(copy: Copy) -> None:
    """A thief of it names a wheelhouse of their own, and signs it with what they have."""
    path = f"programs/6.6/{MACHINE}.json"
    copy.repository.add(path, b"{}", {"number": 9, "version": "6.6"}, role="rollout")
    copy.repository.choose("stable", program=Stage(wanted="programs/6.6", fraction=1.0))
    copy.repository.publish()
    copy.hand_over()
    with pytest.raises(CopyError, match="nobody has signed"):
        copy.take()


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "endless", "absent", "folder"])
def test_what_is_no_plain_file_in_its_place_is_not_read(copy: Copy, kind: str) -> None:
    wheel = next(copy.wheels.iterdir())
    good = copy.folder / "good"
    shutil.copy(wheel, good)
    if kind == "folder link":
        shutil.move(copy.wheels, copy.folder / "elsewhere")
        copy.wheels.symlink_to(copy.folder / "elsewhere")
    else:
        wheel.unlink()
    if kind == "link":
        wheel.symlink_to(good)
    elif kind == "pipe":
        os.mkfifo(wheel)
    elif kind == "endless":
        with wheel.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "folder":
        wheel.mkdir()
    with pytest.raises(CopyError):
        copy.take()
    copied = copy.folder / "copied"
    assert not copied.exists() or copied.stat().st_size <= 5001
