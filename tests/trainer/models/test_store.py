"""The store: each version written once, whole, and in use or not."""

import json
import os
import resource
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from trainer.models.store import CURRENT, FILES, Store, StoreError

DAY = date(2026, 1, 2)
CONTENT = "0123abcd" + "0" * 56
OTHER = "fedc9876" + "0" * 56


def write(folder: Path, version: str) -> None:
    (folder / "model.tflite").write_text(version)
    (folder / "excerpts").mkdir()
    (folder / "excerpts" / "miss_01.flac").write_text("sound")


def test_a_version_is_the_day_its_number_on_it_and_its_content(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    assert store.versions() == []
    assert store.put(CONTENT, DAY, write).name == "20260102-1-0123abcd"
    assert store.put(OTHER, DAY, write).name == "20260102-2-fedc9876"
    assert store.put("7" * 64, date(2026, 1, 1), write).name == "20260101-1-77777777"
    assert store.versions() == ["20260101-1-77777777", "20260102-1-0123abcd", "20260102-2-fedc9876"]
    assert (store.folder("0123") / "model.tflite").read_text() == "20260102-1-0123abcd"


def test_the_tenth_model_of_a_day_comes_after_the_ninth(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(10):
        store.put(f"{number}" * 64, DAY, write)
    assert store.versions()[-1] == "20260102-10-99999999"


def test_the_same_content_is_stored_once_and_never_written_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.put(CONTENT, DAY, write)
    again = store.put(CONTENT, date(2026, 5, 5), lambda folder, version: pytest.fail("written again"))
    assert again == first
    with pytest.raises(PermissionError) if os.geteuid() else pytest.raises(AssertionError):
        assert (first / "model.tflite").stat().st_mode & 0o222
        (first / "model.tflite").write_text("x")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("no")])
def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    def half(folder: Path, version: str) -> None:
        write(folder, version)
        raise error

    store = Store(tmp_path)
    with pytest.raises(type(error)):
        store.put(CONTENT, DAY, half)
    assert store.versions() == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert store.put(CONTENT, DAY, write).is_dir()


def test_a_disk_that_is_full_in_the_middle_leaves_the_versions_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(CONTENT, DAY, write)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="large"):
            store.put(OTHER, DAY, lambda folder, version: (folder / "x").write_bytes(bytes(5000)) and None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(store.versions()) == 1
    assert not list(tmp_path.glob(".*.part"))


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from trainer.models.store import Store

def write(folder, version):
    (folder / "model.tflite").write_bytes(bytes(1000))
    if sys.argv[2] == "write":
        os.kill(os.getpid(), signal.SIGKILL)

store = Store(Path(sys.argv[1]))
if sys.argv[2] == "rename":
    Path.rename = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
store.put("a" * 64, date(2026, 1, 2), write)
"""


@pytest.mark.parametrize("when", ["write", "rename"])
def test_a_process_that_is_killed_leaves_no_version_and_its_rest_is_cleared_away(tmp_path: Path, when: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), when], check=False, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert store.versions() == []
    assert list(tmp_path.glob(".*.part"))
    assert store.put(CONTENT, DAY, write).is_dir()
    assert not list(tmp_path.glob(".*.part"))


def test_damage_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.put(CONTENT, DAY, write)
    assert store.damage(folder.name) == []
    (folder / "model.tflite").chmod(0o644)
    (folder / "model.tflite").write_text("other")
    (folder / "excerpts" / "miss_01.flac").unlink()
    (folder / "notes.txt").write_text("hello")
    assert store.damage(folder.name) == [
        "excerpts/miss_01.flac is missing",
        "model.tflite was changed",
        "notes.txt was added",
    ]
    (folder / FILES).unlink()
    assert store.damage(folder.name) == [f"{FILES} is missing or damaged"]


def test_the_version_in_use_is_a_link_that_is_replaced_in_one_step(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = (store.put(content, DAY, write).name for content in (CONTENT, OTHER))
    assert store.current() is None
    with pytest.raises(StoreError, match="no model is in use"):
        store.find(CURRENT)
    store.point_to(one)
    assert (tmp_path / CURRENT / "model.tflite").read_text() == one
    store.point_to(two)
    assert store.find(CURRENT) == two
    assert not (tmp_path / ".current.new").is_symlink()


def test_a_name_that_means_no_version_or_several_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("abcd1111" + "0" * 56, DAY, write)
    store.put("abcd2222" + "0" * 56, DAY, write)
    with pytest.raises(StoreError, match="several versions 'abcd'"):
        store.find("abcd")
    with pytest.raises(StoreError, match="no version '9999'; the newest"):
        store.find("9999")
    assert store.find("abcd2") == "20260102-2-abcd2222"
    listed = json.loads((store.folder("abcd2") / FILES).read_text())
    assert listed["content"].startswith("abcd2222")
