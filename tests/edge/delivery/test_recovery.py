"""After a crash anywhere, clips and their rows agree again."""

import json
from pathlib import Path

from edge import durable
from edge.delivery import evidence
from edge.delivery.clips import ClipRequest
from edge.delivery.messages import Clip
from tests.edge.delivery.clip_parts import RATE_HZ, Bench, noise, until

SHORT = {"clips": {"free_floor_bytes": 0, "pre_roll_s": 1, "post_roll_s": 1, "max_s": 5}, "audio": {"ring_s": 12}}


def _committed(tmp_path: Path) -> tuple[Path, Clip]:
    """A clip on disk as a finished run leaves it, and its last message."""
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(4 * RATE_HZ))
    bench.keeper.start()
    bench.whole_event("a1", 2 * RATE_HZ)
    bench.finish()
    row = bench.outbox.clip("a1")
    assert row is not None and row.path is not None
    bench.outbox.close()
    return row.path, row.clip


def _forget_row(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "outbox.sqlite3") as db:
        db.execute("DELETE FROM clips")
        db.execute("DELETE FROM messages WHERE leaf = 'clip'")
    db.close()


def _restart(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, **SHORT)
    bench.keeper.start()
    until(lambda: not bench.keeper._lost and bench.keeper.beat > 0, 5, "recovery")
    bench.finish()
    return bench


def test_a_pair_without_its_row_is_adopted(tmp_path: Path) -> None:
    path, clip = _committed(tmp_path)
    _forget_row(tmp_path)
    row = _restart(tmp_path).outbox.clip("a1")
    assert row is not None and row.path == path and row.may_leave
    assert row.clip.state == "kept" and row.clip.sha256 == clip.sha256 and row.clip.key == clip.key
    assert not row.requested


def test_a_recording_that_is_adopted_is_still_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.play(noise(4 * RATE_HZ))
    bench.keeper.start()
    bench.keeper.request(
        ClipRequest(bench.alert("a1", RATE_HZ, "end"), RATE_HZ, 2 * RATE_HZ, kind="recording"),
    )
    bench.finish()
    bench.outbox.close()
    _forget_row(tmp_path)
    row = _restart(tmp_path).outbox.clip("a1")
    assert row is not None and row.requested


def test_a_crash_between_the_two_names_is_finished(tmp_path: Path) -> None:
    path, _ = _committed(tmp_path)
    _forget_row(tmp_path)
    beside = evidence.description_path(path)
    beside.rename(durable.temporary_name(beside))
    row = _restart(tmp_path).outbox.clip("a1")
    assert row is not None and row.path == path and beside.exists()


def test_a_crash_while_writing_leaves_nothing_and_the_clip_is_reported_lost(tmp_path: Path) -> None:
    path, _ = _committed(tmp_path)
    _forget_row(tmp_path)
    beside = evidence.description_path(path)
    path.rename(durable.temporary_name(path))
    beside.rename(durable.temporary_name(beside))
    bench = _restart(tmp_path)
    assert list((tmp_path / "clips").iterdir()) == []
    assert [(c.state, c.reason) for c in bench.messages("a1")] == [("failed", evidence.LOST)]


def test_an_alert_whose_clip_was_never_cut_is_reported_lost_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, **SHORT)
    bench.alert("a1", 0, "new")
    bench.alert("drill-1", 0, "end", test=True)
    bench.outbox.close()
    again = Bench(tmp_path, **SHORT)
    again.outbox.interrupt_orphans(again.clock.now(), "power cut")
    again.outbox.close()
    bench = _restart(tmp_path)
    bench.outbox.close()
    bench = _restart(tmp_path)
    assert [c.state for c in bench.messages("a1")] == ["failed"]
    assert bench.messages("drill-1") == []


def test_a_clip_that_was_altered_is_not_adopted_and_not_destroyed(tmp_path: Path) -> None:
    path, _ = _committed(tmp_path)
    _forget_row(tmp_path)
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)
    bench = _restart(tmp_path)
    assert path.exists()
    row = bench.outbox.clip("a1")
    assert row is not None and (row.clip.state, row.may_leave, row.path) == ("failed", False, None)


def test_a_file_whose_row_says_evicted_is_removed(tmp_path: Path) -> None:
    path, clip = _committed(tmp_path)
    bench = Bench(tmp_path, **SHORT)
    bench.outbox.put_clip(clip.model_copy(update={"state": "evicted", "reason": "quota"}))
    bench.outbox.close()
    _restart(tmp_path)
    assert not path.exists() and not evidence.description_path(path).exists()


def test_a_row_whose_file_has_vanished_is_failed(tmp_path: Path) -> None:
    path, _ = _committed(tmp_path)
    path.unlink()
    bench = _restart(tmp_path)
    assert [c.state for c in bench.messages("a1")] == ["kept", "failed"]
    assert bench.outbox.clip_files() == []


def test_after_the_outbox_was_lost_its_clips_are_known_again_under_new_numbers(tmp_path: Path) -> None:
    path, _ = _committed(tmp_path)
    before = Bench(tmp_path, **SHORT)
    sent = {(row.alert_id, row.seq) for row in before.outbox.pending(100)}
    stored = before.settings.storage_folder / "forest/oak/2026/05/01"
    durable.make_folder(stored)
    folder_clip = stored / "b1.flac"
    folder_clip.write_bytes(path.read_bytes())
    said = json.loads(evidence.description_path(path).read_text())
    said["clip"]["alert_id"] = said["alert"]["alert_id"] = "b1"
    evidence.description_path(folder_clip).write_text(json.dumps(said))
    before.outbox.close()
    for leftover in tmp_path.glob("outbox.sqlite3*"):
        leftover.unlink()
    (tmp_path / "outbox.sqlite3").write_bytes(b"this is no database" * 1000)
    bench = _restart(tmp_path)
    assert bench.outbox.set_aside is not None
    kept, stored_again = bench.outbox.clip("a1"), bench.outbox.clip("b1")
    assert kept is not None and kept.clip.state == "kept" and kept.may_leave
    assert stored_again is not None and stored_again.clip.state == "uploaded" and stored_again.path == folder_clip
    assert not sent & {(row.alert_id, row.seq) for row in bench.outbox.pending(100)}
