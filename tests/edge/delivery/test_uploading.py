"""How the uploader child is led: the gate, alerts first, thin links. The real S3 is in tests/integration/test_s3.py."""

import itertools
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from edge.delivery import s3, storage
from edge.delivery.budget import DailyBytes
from edge.delivery.upload_queue import UploadQueue
from tests.edge.delivery.clip_parts import until
from tests.edge.delivery.examples import clip
from tests.edge.delivery.yard import S3, Yard

FAKE = Path(__file__).with_name("fake_uploader.py")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child is the stand-in, and retries come soon."""
    state = tmp_path / "state"
    command = (sys.executable, str(FAKE), str(state / "diary"), str(state / "plan"))
    monkeypatch.setattr(s3.UploaderProcess.__init__, "__defaults__", (command,))
    monkeypatch.setattr(storage, "FIRST_RETRY_S", 0.2)


@pytest.mark.usefixtures("fake")
@budget(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["kept", "withheld", "evicted", "uploaded", "failed"]), st.booleans(), st.booleans()),
        max_size=12,
    )
)
def test_the_uploader_is_never_handed_a_clip_that_may_not_leave(
    tmp_path: Path, rows: list[tuple[Any, bool, bool]]
) -> None:
    import shutil

    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    yard = Yard(tmp_path / "state", **S3)
    allowed = set()
    for number, (state, may_leave, requested) in enumerate(rows):
        name = f"a{number}"
        yard.add(name, may_leave=may_leave, state=state)
        if requested:
            yard.outbox.request_upload(name)  # asking for it does not open the gate
        if state == "kept" and may_leave:
            allowed.add(name)
    yard.storage.start()
    until(lambda: not yard.storage.busy and yard.storage.waiting == 0, 20, "all that may leave has left")
    yard.stop()
    assert {job["alert_id"] for job in yard.jobs()} == allowed
    yard.outbox.close()


@pytest.mark.usefixtures("fake")
def test_a_verdict_that_changes_at_the_last_moment_counts(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.add("a1")
    listed = yard.outbox.clips(["kept"], may_leave=True)
    yard.outbox.put_clip(listed[0].clip.model_copy(update={"state": "withheld"}), may_leave=False)
    yard.storage._upload(listed)
    assert yard.jobs() == []


@pytest.mark.usefixtures("fake")
def test_clips_go_oldest_first_with_their_descriptions_in_one_child(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    for n in range(5):
        yard.add(f"a{n}")
    yard.storage.start()
    until(lambda: yard.storage.waiting == 0, 10, "all uploaded")
    jobs = yard.jobs()
    assert [job["alert_id"] for job in jobs] == [f"a{n}" for n in range(5)]
    assert len({job["pid"] for job in jobs}) == 1
    assert [item["key"] for item in jobs[0]["items"]] == [
        "forest/oak/2026/05/01/a0.flac",
        "forest/oak/2026/05/01/a0.json",
    ]
    assert yard.storage.bytes_sent_today > 5000
    assert (yard.spool / "a0.flac").exists()  # stays until the room is needed
    child = jobs[0]["pid"]
    until(lambda: not Path(f"/proc/{child}").exists(), 5, "the child is gone")
    yard.stop()


@pytest.mark.usefixtures("fake")
def test_alerts_go_before_clips(tmp_path: Path) -> None:
    waiting = threading.Event()
    waiting.set()
    yard = Yard(tmp_path / "state", busy=waiting.is_set, **S3)
    yard.add("a1")
    yard.storage.start()
    time.sleep(0.5)
    assert yard.jobs() == [] and yard.storage.busy
    waiting.clear()
    until(lambda: yard.state("a1") == "uploaded", 5, "the alerts are gone, the clip follows")
    yard.stop()


@pytest.mark.usefixtures("fake")
def test_alerts_that_are_never_taken_do_not_hold_clips_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "HOLD_S", 0.5)
    yard = Yard(tmp_path / "state", busy=lambda: True, **S3)
    yard.add("a1")
    yard.add("a2")
    yard.storage.start()
    time.sleep(0.3)
    assert yard.jobs() == []
    until(lambda: yard.storage.waiting == 0, 8, "both are uploaded")
    yard.stop()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("trouble", ["dns", "die", "rubbish", "server"])
def test_after_trouble_it_is_tried_again_and_the_trouble_is_named_until_then(tmp_path: Path, trouble: str) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.plan.write_text(f"{trouble} {trouble} ok")
    yard.add("a1")
    yard.storage.start()
    until(lambda: yard.storage.problems, 5, "a problem")
    named = {"die": "uploader", "rubbish": "error"}.get(trouble, trouble)
    assert yard.storage.problems == [f"storage:{named}"]
    until(lambda: yard.state("a1") == "uploaded", 10, "uploaded")
    yard.stop()
    assert yard.storage.problems == []
    assert [job["perhaps_there"] for job in yard.jobs()] == [False, True, True]


@pytest.mark.usefixtures("fake")
def test_pauses_grow_up_to_the_longest(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"retry_max_s": 1.0}))
    yard.plan.write_text("refused")
    yard.add("a1")
    yard.storage.start()
    until(lambda: len(yard.jobs()) >= 6, 15, "six attempts")
    yard.stop()
    times = [job["at_s"] for job in yard.jobs()]
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[0] < 0.6 and pauses[-1] > 0.45 and max(pauses) < 2.5


@pytest.mark.usefixtures("fake")
def test_a_child_that_hangs_is_killed_at_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"timeout_s": 5}))
    yard.plan.write_text("hang ok")
    yard.add("a1")
    yard.storage.start()
    job = until(yard.jobs, 5, "the child hangs")[0]
    beat = yard.storage.beat
    until(lambda: yard.storage.problems == ["storage:timeout"], 8, "the deadline")
    assert yard.storage.beat > beat + 4  # the watchdog sees life all the while
    assert not Path(f"/proc/{job['pid']}").exists()
    until(lambda: yard.state("a1") == "uploaded", 8, "the next child does it")
    yard.stop()


@pytest.mark.usefixtures("fake")
def test_stopping_kills_the_child_at_once(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.plan.write_text("hang")
    yard.add("a1")
    yard.storage.start()
    job = until(yard.jobs, 5, "the child hangs")[0]
    assert yard.storage.stop(1.5)
    assert not Path(f"/proc/{job['pid']}").exists() and yard.state("a1") == "kept"


@pytest.mark.usefixtures("fake")
def test_one_bad_clip_does_not_hold_up_the_others(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.plan.write_text("damaged:clip too_large:clip ok")
    for n in range(4):
        yard.add(f"a{n}")
    (yard.spool / "a3.flac").unlink()
    yard.storage.start()
    until(lambda: yard.state("a3") == "failed", 5, "all four were looked at")
    yard.stop()
    assert [yard.state(f"a{n}") for n in range(3)] == ["failed", "kept", "uploaded"]
    row = yard.outbox.clip("a0")
    assert row is not None and row.clip.reason == "damaged: as planned" and row.path is not None


@pytest.mark.usefixtures("fake")
def test_on_request_only_what_was_asked_for_leaves(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"metered": {"clips_on_request": True}}))
    for n in range(3):
        yard.add(f"a{n}")
    yard.storage.start()
    time.sleep(0.3)
    assert yard.jobs() == [] and not yard.storage.busy
    assert yard.storage.request("a1") == ""
    until(lambda: yard.state("a1") == "uploaded", 5, "asked for")
    yard.stop()
    assert [job["alert_id"] for job in yard.jobs()] == ["a1"]


@pytest.mark.usefixtures("fake")
def test_a_clip_that_the_storage_did_not_take_is_tried_again_as_soon_as_somebody_asks(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"retry_max_s": 3600.0}))
    yard.plan.write_text("too_large:clip ok")
    yard.add("a1")
    yard.storage.start()
    until(lambda: len(yard.jobs()) == 1 and not yard.storage.busy, 5, "not taken")
    assert yard.state("a1") == "kept"
    assert yard.storage.request("a1") == ""
    until(lambda: yard.state("a1") == "uploaded", 5, "taken")
    yard.stop()


def test_a_clip_that_was_put_off_is_forgotten_once_its_time_has_come(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **S3)
    queue = UploadQueue(yard.settings.storage, yard.outbox, DailyBytes(tmp_path / "sent.json", yard.clock, None))
    for number in range(40):
        queue.put_off(f"evicted-{number}")
    yard.add("a1")
    assert [row.clip.alert_id for row in queue.due()] == ["a1"]
    until(lambda: queue.due() and not queue._later, 10, "their end: they would be asked for again, and more, for ever")


@pytest.mark.parametrize("state", ["uploaded", "withheld", "evicted", "failed"])
def test_asking_for_a_clip_that_will_not_leave_is_answered_with_its_state(tmp_path: Path, state: str) -> None:
    yard = Yard(tmp_path / "state", **S3)
    yard.add("a1", may_leave=state != "withheld", state=state, reason="that is why")
    assert yard.storage.request("a1") == f"the clip of alert a1 is {state}: that is why"
    assert yard.storage.request("a2") == "no clip of alert a2 is on this device"
    row = yard.outbox.clip("a1")
    assert row is not None and not row.requested


@pytest.mark.parametrize("kind", ["folder", "none"])
def test_without_s3_nothing_can_be_asked_for(tmp_path: Path, kind: str) -> None:
    yard = Yard(tmp_path / "state", kind=kind)
    yard.add("a1")
    assert yard.storage.request("a1") == f"this device uploads no clips (storage.kind is {kind})"


@pytest.mark.usefixtures("fake")
def test_a_clip_larger_than_a_days_budget_is_a_problem_until_it_is_gone(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"metered": {"bytes_per_day": 5000}}))
    yard.add("large", size_bytes=5001)
    yard.add("small")
    yard.storage.start()
    until(lambda: yard.state("small") == "uploaded" and yard.storage.problems, 5, "the small one leaves")
    assert yard.storage.problems == ["storage:over_budget"]
    assert yard.storage.request("large") == "its 5001 bytes are more than storage.metered.bytes_per_day"
    yard.outbox.put_clip(clip("large", state="evicted"))
    yard.storage.wake()
    until(lambda: not yard.storage.problems, 5, "gone")
    yard.stop()


@pytest.mark.usefixtures("fake")
def test_a_budget_of_nothing_is_no_problem(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", **(S3 | {"metered": {"bytes_per_day": 0}}))
    yard.add("a1")
    yard.storage.start()
    until(lambda: not yard.storage.busy, 5, "looked at")
    yard.stop()
    assert yard.jobs() == [] and yard.storage.problems == []


@pytest.mark.usefixtures("fake")
def test_the_days_budget_holds_across_restarts_and_small_clips_use_what_is_left(tmp_path: Path) -> None:
    metered = S3 | {"metered": {"bytes_per_day": 5000}}
    yard = Yard(tmp_path / "state", **metered)
    for name, size_bytes in (("a0", 3000), ("a1", 3000), ("a2", 1000)):
        yard.add(name, size_bytes=size_bytes)
    yard.storage.start()
    until(lambda: not yard.storage.busy, 5, "the budget is used")
    yard.stop()
    yard.outbox.close()
    again = Yard(tmp_path / "state", **metered)
    again.storage.start()
    time.sleep(0.4)
    again.stop()
    assert [again.state(f"a{n}") for n in range(3)] == ["uploaded", "kept", "uploaded"]
    assert 4000 < again.storage.bytes_sent_today <= 5000


def test_the_daemon_itself_never_imports_boto() -> None:
    import subprocess

    script = (
        "import sys; import edge.delivery.storage, edge.delivery.clips; print([m for m in sys.modules if 'boto' in m])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
