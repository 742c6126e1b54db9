"""Where clips go: the folder, and what the storage's thread says and costs."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from edge.delivery import storage
from edge.delivery.evidence import description_path
from edge.delivery.messages import Clip
from edge.durable import make_folder
from edge.upkeep.watchdog import Watchdog
from tests.edge.delivery.clip_parts import until
from tests.edge.delivery.yard import S3, Yard


def test_a_clip_moves_to_its_key_without_being_stored_twice(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state")
    path = yard.add("a1")
    content, inode = path.read_bytes(), path.stat().st_ino
    yard.storage.start()
    until(lambda: yard.state("a1") == "uploaded" and not path.exists(), 5, "stored")
    target = yard.settings.storage_folder / "forest/oak/2026/05/01/a1.flac"
    assert target.read_bytes() == content and target.stat().st_ino == inode and target.stat().st_nlink == 1
    assert json.loads(description_path(target).read_text()) == {"name": "a1"}
    assert list(yard.spool.iterdir()) == []
    row = yard.outbox.clip("a1")
    assert row is not None and row.path == target and yard.outbox.clip_bytes() == 1000
    assert yard.told == 1 and yard.storage.problems == [] and yard.storage.waiting == 0
    yard.stop()


def test_on_another_disk_it_is_copied_and_no_longer_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path("/dev/shm") / f"ecosight-test-{os.getpid()}-{time.monotonic_ns()}"
    if not other.parent.is_dir() or other.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is not another file system here")
    try:
        yard = Yard(tmp_path / "state", kind="folder", folder=str(other))
        path = yard.add("a1")
        content = path.read_bytes()
        yard.storage.start()
        until(lambda: yard.state("a1") == "uploaded" and not path.exists(), 5, "stored")
        yard.stop()
        assert (other / "forest/oak/2026/05/01/a1.flac").read_bytes() == content
        assert yard.outbox.clip_bytes() == 0
    finally:
        import shutil

        shutil.rmtree(other, ignore_errors=True)


def test_a_file_system_without_hard_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    yard = Yard(tmp_path / "state")
    path = yard.add("a1")
    content = path.read_bytes()
    yard.storage.start()
    until(lambda: yard.state("a1") == "uploaded" and not path.exists(), 5, "stored")
    yard.stop()
    assert (yard.settings.storage_folder / "forest/oak/2026/05/01/a1.flac").read_bytes() == content


def test_storing_again_after_a_crash_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state")
    path = yard.add("a1")
    target = yard.settings.storage_folder / "forest/oak/2026/05/01/a1.flac"
    make_folder(target.parent)
    os.link(path, target)  # linked, then the power went
    yard.storage.start()
    until(lambda: yard.state("a1") == "uploaded", 5, "stored")
    yard.stop()
    assert target.exists() and description_path(target).exists() and not path.exists()


def test_a_folder_that_cannot_be_written_is_named_and_tried_again(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where the folder should be")
    yard = Yard(tmp_path / "state", kind="folder", folder=str(blocker), retry_max_s=1.0)
    path = yard.add("a1")
    yard.storage.start()
    until(lambda: yard.storage.problems, 5, "a problem")
    assert yard.state("a1") == "kept" and path.exists() and not yard.storage.busy
    blocker.unlink()
    until(lambda: yard.state("a1") == "uploaded", 10, "stored after all")
    yard.stop()
    assert yard.storage.problems == []


def test_a_clip_whose_file_is_gone_holds_up_nothing_while_the_folder_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("a file where the folder should be")
    yard = Yard(tmp_path / "state", kind="folder", folder=str(blocker), retry_max_s=1.0)
    yard.add("gone").unlink()
    yard.add("here")
    yard.storage.start()
    until(lambda: yard.state("gone") == "failed" and yard.storage.problems, 5, "given up")
    blocker.unlink()
    until(lambda: yard.state("here") == "uploaded", 10, "stored after all")
    yard.stop()


def test_a_clip_waits_for_a_folder_that_goes_while_it_is_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, pulled_out = os.link, [True]

    def gone_once(source: Path, target: Path) -> None:
        if pulled_out:
            pulled_out.clear()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
        link(source, target)

    monkeypatch.setattr(os, "link", gone_once)
    monkeypatch.setattr(storage, "FIRST_RETRY_S", 0.2)
    yard = Yard(tmp_path / "state")
    yard.add("a1")
    yard.storage.start()
    until(lambda: yard.state("a1") == "uploaded", 10, "stored after all")
    yard.stop()


def test_a_folder_that_hangs_is_named_and_does_not_end_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, comes_back = os.link, threading.Event()

    def hang(source: Path, target: Path) -> None:
        comes_back.wait()
        link(source, target)

    monkeypatch.setattr(os, "link", hang)
    yard = Yard(tmp_path / "state", kind="folder", timeout_s=5)
    yard.add("a1")
    minutes = [0.0]
    watchdog = Watchdog({}, lambda: 60 * minutes[0])
    watchdog.register("storage", lambda: yard.storage.beat, lambda: yard.storage.may_stand_still)
    yard.storage.start()
    until(lambda: yard.storage.may_stand_still, 5, "it hangs")
    minutes[0] += 1
    assert watchdog.tick() and yard.storage.problems == []
    until(lambda: yard.storage.problems == ["storage:timeout"], 10, "named")
    comes_back.set()
    until(lambda: yard.state("a1") == "uploaded", 5, "stored after all")
    until(lambda: not yard.storage.may_stand_still, 5, "and watched again")
    assert yard.storage.problems == []
    yard.stop()


def test_with_no_storage_clips_stay(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", kind="none")
    path = yard.add("a1")
    yard.storage.start()
    yard.storage.wake()
    time.sleep(0.3)
    yard.stop()
    assert path.exists() and yard.state("a1") == "kept" and yard.storage.waiting == 0 and not yard.storage.busy


def test_an_idle_storage_sleeps(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.storage.start()
    time.sleep(0.3)
    beat, before = yard.storage.beat, time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.05 and yard.storage.beat - beat <= 1
    yard.stop()


def test_messages_tell_each_step(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state")
    yard.add("a1")
    yard.storage.start()
    until(lambda: yard.state("a1") == "uploaded", 5, "stored")
    yard.stop()
    told = [Clip.model_validate_json(row.payload) for row in yard.outbox.pending(10)]
    assert [(c.state, c.seq) for c in told] == [("kept", 0), ("uploaded", 1)]
    assert told[0].key == told[1].key
