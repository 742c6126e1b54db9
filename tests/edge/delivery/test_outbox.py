"""One queue and one ledger: numbers, order, phases, commands, budgets, two processes."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from edge.delivery.messages import ClipState, Response
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import NOON, alert, clip, moment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


def numbers(outbox: Outbox) -> list[tuple[str, str, int]]:
    return [(row.leaf, row.alert_id, row.seq) for row in outbox.pending(10_000)]


def test_one_counter_runs_over_the_alert_and_clip_messages_of_an_alert(path: Path) -> None:
    outbox = Outbox.open(path)
    assert outbox.put_alert(alert()).seq == 0
    assert outbox.put_clip(clip()).seq == 1
    assert outbox.put_alert(alert(phase="end")).seq == 2
    assert outbox.put_alert(alert("a2")).seq == 0
    assert outbox.put_clip(clip(state="uploaded")).seq == 3


def test_alerts_wait_before_clips_and_the_oldest_first(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert())
    outbox.put_clip(clip())
    outbox.put_alert(alert("a2"))
    assert numbers(outbox) == [("alert", "a1", 0), ("alert", "a2", 0), ("clip", "a1", 1)]
    assert outbox.alerts_waiting == 2
    assert numbers(outbox)[:1] == [("alert", row.alert_id, row.seq) for row in outbox.pending(1)]
    assert [row.alert_id for row in outbox.pending(9, skip=[row.id for row in outbox.pending(1)])] == ["a2", "a1"]
    assert [row.leaf for row in outbox.pending(9, leaves=["clip"])] == ["clip"]


def test_a_delivered_row_goes_and_the_ledger_remembers_it(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert())
    outbox.delivered(outbox.pending(1)[0].id)
    assert outbox.depth == 0
    assert outbox.put_alert(alert(phase="end")).seq == 1


def test_a_receipt_takes_exactly_its_message(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert())
    outbox.put_alert(alert(phase="end"))
    assert outbox.receipt("a1", 5) is None
    assert outbox.receipt("a1", 0) is not None
    assert outbox.receipt("a1", 0) is None
    assert numbers(outbox) == [("alert", "a1", 1)]


def test_phases_only_move_forward(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert(phase="update"))
    with pytest.raises(ValueError, match="cannot become 'new'"):
        outbox.put_alert(alert(phase="new"))
    outbox.put_alert(alert(phase="end"))
    with pytest.raises(ValueError, match="cannot become 'interrupted'"):
        outbox.put_alert(alert(phase="interrupted"))
    assert outbox.depth == 2


def test_a_correction_that_was_overtaken_is_not_put(path: Path) -> None:
    outbox = Outbox.open(path)
    first = outbox.put_alert(alert())
    second = outbox.put_alert(alert(phase="update", shots=2))
    third = outbox.put_alert(alert(phase="update", shots=3))
    for overtaken in (first, second):
        assert outbox.put_alert(overtaken.model_copy(update={"clock_corrected": True})) == third
    outbox.put_clip(clip())  # takes a number, and is no later state
    corrected = outbox.put_alert(third.model_copy(update={"clock_corrected": True}))
    assert (corrected.seq, corrected.shots) == (4, 3)
    ended = outbox.put_alert(alert(phase="end", shots=3))
    assert outbox.put_alert(corrected) == ended
    assert outbox.depth == 6


def test_what_a_crash_left_open_is_closed_as_interrupted(path: Path) -> None:
    before = Outbox.open(path)
    before.put_alert(alert("open"))
    before.put_alert(alert("going-on", phase="update"))
    before.put_alert(alert("over"))
    before.put_alert(alert("over", phase="end"))
    after = Outbox.open(path)  # the first one never closed its file
    closed = after.interrupt_orphans(moment(), "the daemon stopped")
    assert [(a.alert_id, a.phase, a.seq) for a in closed] == [
        ("open", "interrupted", 1),
        ("going-on", "interrupted", 1),
    ]
    assert closed[0].reason == "the daemon stopped; closed at 2026-05-01T12:00:00Z"
    assert after.interrupt_orphans(moment(), "again") == []


def test_only_alerts_of_this_boot_from_before_its_first_synchronisation_are_uncorrected(path: Path) -> None:
    outbox = Outbox.open(path)
    early = moment(clock_synchronised=False, clock_epoch=0)
    outbox.put_alert(alert("early", onset=early))
    outbox.put_alert(alert("early", onset=early, phase="end"))
    outbox.put_alert(alert("late"))
    outbox.put_alert(alert("other-boot", onset=moment(clock_synchronised=False, boot_id="boot-0")))
    outbox.put_clip(clip("recording"))
    (found,) = outbox.uncorrected("boot-1")
    assert (found.alert_id, found.phase) == ("early", "end")
    outbox.put_alert(found.model_copy(update={"onset": moment(), "clock_corrected": True}))
    assert outbox.uncorrected("boot-1") == []


def test_a_clip_keeps_what_is_not_said_again(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_clip(clip(), path=Path("/spool/a1.flac"), may_leave=True)
    outbox.put_clip(clip("a2", size_bytes=500), path=Path("/spool/a2.flac"))
    assert [row.clip.alert_id for row in outbox.clips(["kept"], may_leave=True)] == ["a1"]
    assert outbox.clip_bytes() == 1500
    outbox.put_clip(clip(state="uploaded"))
    row = outbox.clip("a1")
    assert row is not None
    assert (row.clip.state, row.path, row.may_leave) == ("uploaded", Path("/spool/a1.flac"), True)
    outbox.put_clip(clip("a2", state="evicted"))
    assert outbox.clip_bytes() == 1000
    outbox.forget_clip_file("a1")
    assert outbox.clip_bytes() == 0
    assert outbox.clip("never") is None


def test_an_upload_is_asked_for_once_the_clip_exists(path: Path) -> None:
    outbox = Outbox.open(path)
    assert not outbox.request_upload("a1")
    outbox.put_clip(clip(), may_leave=True)
    outbox.attempted("a1")
    assert outbox.clips(["kept"], requested=True) == []
    assert outbox.request_upload("a1")
    outbox.put_clip(clip(reason="said again"))
    (row,) = outbox.clips(["kept"], requested=True)
    assert (row.attempts, row.clip.reason) == (1, "said again")


@pytest.mark.parametrize("state", ["uploaded", "withheld", "evicted", "failed"])
def test_only_a_clip_that_is_here_and_may_leave_can_be_asked_for(path: Path, state: ClipState) -> None:
    outbox = Outbox.open(path)
    outbox.put_clip(clip(state=state), may_leave=True)
    outbox.put_clip(clip("unjudged"), may_leave=False)
    assert not outbox.request_upload("a1")
    assert not outbox.request_upload("unjudged")


def test_a_command_begins_once_and_its_answer_is_kept(path: Path) -> None:
    outbox = Outbox.open(path)
    assert outbox.begin_command("c1")
    assert Outbox.open(path).begin_command("c1") is False
    assert outbox.answer("c1") is None
    outbox.end_command(Response(id="c1", ok=True))
    assert outbox.answer("c1") == Response(id="c1", ok=True)


def test_a_budget_is_per_day_and_never_overdrawn(path: Path) -> None:
    outbox = Outbox.open(path)
    today, tomorrow = NOON.date(), (NOON + timedelta(days=1)).date()
    assert outbox.spend("s", today, 60, 100)
    assert not outbox.spend("s", today, 60, 100)
    assert outbox.spend("s", today, 40, 100)
    assert outbox.spent("s", today) == 100
    assert outbox.spend("s", tomorrow, 60, 100)


def test_alerts_are_forgotten_after_90_days_only_where_both_clocks_were_right(path: Path) -> None:
    outbox = Outbox.open(path)
    old = NOON - timedelta(days=91)
    outbox.put_alert(alert("old", phase="end", onset=moment(utc=old)))
    outbox.put_alert(
        alert("from-1970", phase="end", onset=moment(utc=NOON.replace(year=1970), clock_synchronised=False))
    )
    outbox.put_alert(alert("waiting", phase="end", onset=moment(utc=old)))
    outbox.put_alert(alert("with-clip", phase="end", onset=moment(utc=old)))
    outbox.put_clip(clip("with-clip"), path=Path("/spool/x.flac"))
    outbox.put_alert(alert("young", phase="end"))
    for row in outbox.pending(99):
        if row.alert_id != "waiting":
            outbox.delivered(row.id)
    assert outbox.prune(moment(clock_synchronised=False)) == 0
    assert outbox.prune(moment()) == 1
    assert outbox.last_alert("old") is None
    assert all(outbox.last_alert(name) for name in ("from-1970", "waiting", "with-clip", "young"))


def test_a_row_of_a_second_process_is_noticed(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.tend()
    assert not outbox.tend()
    other = Outbox.open(path)
    other.put_alert(alert("drill", test=True))
    assert outbox.tend()
    assert not outbox.tend()
    assert outbox.depth == 1


def test_many_threads_put_without_a_gap_or_a_repeat(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert())

    def put() -> None:
        for _ in range(10):
            outbox.put_alert(alert(phase="update"))
            outbox.put_clip(clip())

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row.seq for row in outbox.pending(999)) == list(range(81))


def test_without_a_broker_clip_messages_are_bounded_and_alerts_are_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.delivery.outbox.CLIP_MESSAGES", 6)
    outbox = Outbox.open(path)
    for number in range(5):
        outbox.put_alert(alert(f"a{number}"))
        outbox.put_alert(alert(f"a{number}", phase="end"))
        outbox.put_clip(clip(f"a{number}"))
    outbox.prune(moment())
    assert (outbox.depth, outbox.clip_messages_dropped, outbox.problems) == (15, 0, [])
    for number in (1, 2, 3):
        outbox.put_clip(clip(f"a{number}", state="uploaded"))
    outbox.prune(moment())
    waiting = [(row.alert_id, row.seq) for row in outbox.pending(99) if row.leaf == "clip"]
    # Of a1 and a2 the first message is replaced by the second; of a3 there was room for both.
    assert waiting == [("a0", 2), ("a3", 2), ("a4", 2), ("a1", 3), ("a2", 3), ("a3", 3)]
    for number in range(5, 10):
        outbox.put_clip(clip(f"a{number}"))
    outbox.prune(moment())
    waiting = [(row.alert_id, row.seq) for row in outbox.pending(99) if row.leaf == "clip"]
    assert waiting == [("a3", 3), *((f"a{number}", 0) for number in range(5, 10))]
    assert len([row for row in outbox.pending(99) if row.leaf == "alert"]) == outbox.alerts_waiting == 10
    assert (outbox.clip_messages_dropped, outbox.problems) == (7, ["outbox:backlog"])
    assert outbox.clip("a0") is not None, "what became of the clip is still known here"
    outbox.prune(moment())
    assert (outbox.clip_messages_dropped, outbox.problems) == (7, [])
