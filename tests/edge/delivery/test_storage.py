"""Where clips go: the folder, and how the uploader child is led. The real S3 is in tests/integration/test_s3.py."""

import errno
import itertools
import json
import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from edge.audio.clock import Clock
from edge.delivery import s3, storage
from edge.delivery.budget import DailyBytes
from edge.delivery.evidence import description_path, sha256_of
from edge.delivery.faults import explain
from edge.delivery.messages import Clip, storage_key
from edge.delivery.outbox import Outbox
from edge.delivery.storage import Storage
from edge.durable import make_folder
from tests.edge.delivery.clip_parts import settings, until
from tests.edge.delivery.examples import NOON, clip

FAKE = Path(__file__).with_name("fake_uploader.py")
S3 = {"kind": "s3", "s3": {"bucket": "clips"}, "retry_max_s": 1.0}


class Yard:
    """A storage with its outbox and a spool of small clips."""

    def __init__(self, state_dir: Path, busy: Any = lambda: False, **storage_settings: Any) -> None:
        self.settings = settings(state_dir, storage=storage_settings or {"kind": "folder"})
        self.spool = state_dir / "clips"
        make_folder(self.spool)
        self.outbox = Outbox.open(state_dir / "outbox.sqlite3")
        self.clock = Clock(16_000)
        self.told = 0
        self.storage = Storage(self.settings, self.outbox, self.clock, self._tell, busy)
        self.diary, self.plan = state_dir / "diary", state_dir / "plan"
        self.plan.write_text("ok")

    def _tell(self) -> None:
        self.told += 1

    def add(self, name: str, may_leave: bool = True, size_bytes: int = 1000, **changes: Any) -> Path:
        path = self.spool / f"{name}.flac"
        path.write_bytes(os.urandom(size_bytes))
        description_path(path).write_text(json.dumps({"name": name}))
        key = storage_key("forest", "oak", name, NOON)
        fields = {"size_bytes": size_bytes, "sha256": sha256_of(path), "key": key}
        self.outbox.put_clip(clip(name, **(fields | changes)), path=path, may_leave=may_leave)
        return path

    def state(self, name: str) -> str:
        row = self.outbox.clip(name)
        assert row is not None
        return row.clip.state

    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def stop(self) -> None:
        assert self.storage.stop(5)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child is the stand-in, and retries come soon."""
    state = tmp_path / "state"
    command = (sys.executable, str(FAKE), str(state / "diary"), str(state / "plan"))
    monkeypatch.setattr(s3.UploaderProcess.__init__, "__defaults__", (command,))
    monkeypatch.setattr(storage, "FIRST_RETRY_S", 0.2)


# Folder --------------------------------------------------------------------------------------------------------


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


def test_with_no_storage_clips_stay(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "state", kind="none")
    path = yard.add("a1")
    yard.storage.start()
    yard.storage.wake()
    time.sleep(0.3)
    yard.stop()
    assert path.exists() and yard.state("a1") == "kept" and yard.storage.waiting == 0 and not yard.storage.busy


# The gate ------------------------------------------------------------------------------------------------------


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


# Leading the child ---------------------------------------------------------------------------------------------


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


# Thin links ----------------------------------------------------------------------------------------------------


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


class _Calendar:
    """A clock whose day can be turned."""

    def __init__(self) -> None:
        self.days = 0

    def now(self) -> Any:
        from tests.edge.delivery.examples import moment

        return moment(utc=NOON + timedelta(days=self.days))


def test_a_new_day_brings_a_new_budget(tmp_path: Path) -> None:
    calendar: Any = _Calendar()
    sent = DailyBytes(tmp_path / "sent.json", calendar, 1000)
    sent.charge(900)
    assert not sent.allows(200) and sent.allows(100)
    calendar.days = 1
    assert sent.allows(1000) and sent.spent == 0
    sent.charge(10)
    assert DailyBytes(tmp_path / "sent.json", calendar, 1000).spent == 10


@pytest.mark.parametrize("content", [b"", b"null", b'{"day": 3}', b"\xff\xfe", b'{"day":"2026-05-01","bytes":"x"}'])
def test_a_damaged_count_starts_from_zero(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sent.json").write_bytes(content)
    calendar: Any = _Calendar()
    assert DailyBytes(tmp_path / "sent.json", calendar, 1000).spent == 0


# Faults --------------------------------------------------------------------------------------------------------


class EndpointConnectionError(Exception):
    pass


class NoCredentialsError(Exception):
    pass


class SSLError(Exception):
    pass


def _answered(code: str, status: int = 400, message: str = "", **more: str) -> Exception:
    error: Any = Exception(code)
    error.response = {
        "Error": {"Code": code, "Message": message, **more},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return error  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_answered("RequestTimeTooSkewed", 403, ServerTime="2026-05-01T12:00:00Z"), "clock"),
        (SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid"), "clock"),
        (SSLError("certificate verify failed: certificate has expired (_ssl.c:997)"), "clock"),
        (SSLError("certificate verify failed: self-signed certificate"), "certificate"),
        (EndpointConnectionError("Failed to resolve 's3.example' ([Errno -2] Name or service not known)"), "dns"),
        (EndpointConnectionError("[Errno 111] Connection refused"), "refused"),
        (EndpointConnectionError("[Errno 101] Network is unreachable"), "unreachable"),
        (TimeoutError("timed out"), "timeout"),
        (NoCredentialsError("Unable to locate credentials"), "bad_credentials"),
        (_answered("InvalidAccessKeyId", 403), "bad_credentials"),
        (_answered("SignatureDoesNotMatch", 403), "bad_credentials"),
        (_answered("AccessDenied", 403), "not_allowed"),
        (_answered("NoSuchBucket", 404), "no_such_bucket"),
        (_answered("404", 404), "no_such_bucket"),
        (_answered("QuotaExceeded", 403), "no_space"),
        (_answered("XMinioStorageFull", 507), "no_space"),
        (_answered("Whatever", 507), "no_space"),
        (_answered("NotImplemented", 501, "Server-side encryption is not supported."), "encryption"),
        (_answered("SlowDown", 503), "busy"),
        (_answered("InternalError", 500), "server"),
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError(errno.EROFS, "Read-only file system"), "not_allowed"),
        (FileNotFoundError("gone"), "file_missing"),
        (ModuleNotFoundError("No module named 'botocore'"), "not_installed"),
        (ZeroDivisionError("odd"), "error"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_went_wrong_is_named(error: Exception, code: str) -> None:
    fault = explain(error)
    assert fault.code == code and fault.detail


def test_a_wrong_clock_is_told_with_both_times() -> None:
    fault = explain(_answered("RequestTimeTooSkewed", 403, ServerTime="2026-05-01T12:00:00Z"))
    assert "2026-05-01T12:00:00Z" in fault.detail and time.strftime("%Y-%m-%dT") in fault.detail
    assert "NTP" in fault.detail


def test_the_daemon_itself_never_imports_boto() -> None:
    import subprocess

    script = (
        "import sys; import edge.delivery.storage, edge.delivery.clips; print([m for m in sys.modules if 'boto' in m])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


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
