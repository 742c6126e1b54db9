"""What was put is there: on a damaged file, on a full disk, on none at all, after a kill."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.delivery import outbox_file
from edge.delivery.outbox import Outbox
from edge.delivery.standin import Standin
from tests.edge.delivery.examples import alert, clip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


def numbers(outbox: Outbox) -> list[tuple[str, str, int]]:
    return [(row.leaf, row.alert_id, row.seq) for row in outbox.pending(10_000)]


def damage(path: Path, how: str) -> None:
    raw = bytearray(path.read_bytes())
    match how:
        case "header":
            raw[:16] = b"this is no db..."
        case "truncated":
            raw = raw[: len(raw) // 2]
        case "half_a_page":
            raw = raw[:700]
        case "garbage":
            raw[4096:] = random.Random(1).randbytes(len(raw) - 4096)
        case "text":
            raw = bytearray(b"hello\n" * 1000)
        case "other_database":
            path.unlink()
            db = sqlite3.connect(path)
            db.execute("CREATE TABLE other (x)")
            db.execute("PRAGMA user_version = 7")
            db.close()
            return
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["header", "truncated", "half_a_page", "garbage", "text", "other_database"])
def test_a_damaged_database_is_set_aside_and_a_new_one_works(path: Path, how: str) -> None:
    outbox = Outbox.open(path)
    for number in range(50):
        outbox.put_alert(alert(f"a{number}"))
    outbox.close()
    damage(path, how)
    outbox = Outbox.open(path)
    assert outbox.set_aside == path.with_name("outbox.sqlite3.damaged-1")
    assert outbox.set_aside.exists()
    assert outbox.problems == ["outbox:set_aside"]
    assert outbox.put_alert(alert("new-one")).seq == 0
    assert ("alert", "new-one", 0) in numbers(outbox)
    outbox.close()
    again = Outbox.open(path)
    assert again.problems == []
    assert ("alert", "new-one", 0) in numbers(again)


def test_what_can_be_read_of_a_damaged_database_is_taken_over(path: Path) -> None:
    outbox = Outbox.open(path)
    for number in range(200):
        outbox.put_alert(alert(f"a{number}"))
    outbox.close()
    raw = bytearray(path.read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 8192] = bytes(8192)
    path.write_bytes(raw)
    outbox = Outbox.open(path)
    assert outbox.set_aside is not None
    assert 50 < outbox.depth < 200


def test_a_message_that_was_saved_without_its_ledger_row_keeps_its_number(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert())
    outbox.put_clip(clip())
    assert outbox._disk is not None
    outbox._disk.execute("DELETE FROM alerts")
    assert outbox.put_alert(alert(phase="end")).seq == 2


def test_only_the_newest_damaged_files_are_kept(path: Path) -> None:
    for _ in range(6):
        path.write_bytes(b"garbage" * 100)
        Outbox.open(path).close()
    assert sorted(file.name for file in path.parent.glob("*.damaged-?")) == [
        f"outbox.sqlite3.damaged-{number}" for number in (4, 5, 6)
    ]


def overwrite(path: Path) -> None:
    """Damage a database that is in use: the checkpoint puts everything into the file, and nothing into caches."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 1")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.write(b"x" * path.stat().st_size)


def test_damage_while_in_use_costs_no_later_alert(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert("a1"))
    overwrite(path)
    for number in range(3):
        outbox.put_alert(alert(f"later{number}"))
    assert {f"later{number}" for number in range(3)} <= {row.alert_id for row in outbox.pending(99)}
    assert "outbox:set_aside" in outbox.problems


def test_a_full_disk_loses_nothing_and_nothing_twice(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert("before"))
    disk = outbox._disk
    assert disk is not None
    pages = disk.execute("PRAGMA page_count").fetchone()[0]
    disk.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "database or disk is full"
    for number in range(40):
        assert outbox.put_alert(alert(f"a{number}")).seq == 0
    assert outbox.put_alert(alert("before", phase="end")).seq == 1
    assert outbox.problems == ["outbox:disk_full"]
    assert outbox.depth == 42
    outbox.delivered(outbox.pending(1)[0].id)
    mend_now(outbox)
    assert outbox.problems == ["outbox:disk_full"]
    disk.execute("PRAGMA max_page_count = 100000")
    mend_now(outbox)
    assert outbox.problems == []
    outbox.close()
    left = [(row.alert_id, row.seq) for row in Outbox.open(path).pending(999)]
    assert sorted(left) == sorted([*((f"a{number}", 0) for number in range(40)), ("before", 1)])


def mend_now(outbox: Outbox) -> None:
    outbox._next_mend_s = 0.0
    outbox.tend()


def test_a_locked_database_is_stood_in_for_until_it_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_file, "BUSY_TIMEOUT_S", 0.1)
    outbox = Outbox.open(path)
    assert outbox._disk is not None
    outbox._disk.execute("PRAGMA busy_timeout = 100")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    outbox.put_alert(alert())
    assert outbox.problems == ["outbox:locked"]
    assert numbers(outbox) == [("alert", "a1", 0)]
    holder.execute("ROLLBACK")
    mend_now(outbox)
    assert outbox.problems == []
    assert numbers(Outbox.open(path)) == [("alert", "a1", 0)]


def test_what_could_not_be_read_when_the_disk_failed_is_not_taken_for_delivered(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert("before"))
    disk = outbox._disk
    assert disk is not None
    denied = {"messages"}
    disk.set_authorizer(lambda _, table, *rest: sqlite3.SQLITE_DENY if table in denied else sqlite3.SQLITE_OK)
    outbox.put_alert(alert("meanwhile"))
    assert numbers(outbox) == [("alert", "meanwhile", 0)]
    denied.clear()
    mend_now(outbox)
    assert numbers(outbox) == [("alert", "before", 0), ("alert", "meanwhile", 0)]


def test_of_a_long_ledger_memory_takes_what_it_has_room_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.delivery.standin.MEMORY_PAGES", 100)
    outbox = Outbox.open(path)
    assert outbox._disk is not None
    outbox.put_alert(alert("0-goes-on"))
    for number in range(1000):
        outbox.put_alert(alert(f"a{number:03d}", phase="end"))
        outbox.delivered(outbox.pending(1)[0].id)
    outbox._disk.execute("PRAGMA query_only = 1")
    assert outbox.put_alert(alert("0-goes-on", phase="update")).seq == 1
    assert isinstance(outbox._standin, Standin) and outbox._standin._pages() < 100
    assert outbox.last_alert("a999") is not None and outbox.last_alert("a000") is None
    assert outbox.problems == ["outbox:read_only"]
    outbox._disk.execute("PRAGMA query_only = 0")
    mend_now(outbox)
    assert outbox.last_alert("a000") is not None and outbox.put_alert(alert("0-goes-on", phase="end")).seq == 2


def test_a_row_that_another_process_put_while_the_disk_failed_is_kept(path: Path) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert("before"))
    assert outbox._disk is not None
    outbox._disk.execute("PRAGMA query_only = 1")
    outbox.put_alert(alert("meanwhile"))
    assert outbox.problems == ["outbox:read_only"]
    Outbox.open(path).put_alert(alert("drill", test=True))
    outbox._disk.execute("PRAGMA query_only = 0")
    mend_now(outbox)
    assert {row.alert_id for row in outbox.pending(9)} == {"before", "meanwhile", "drill"}


@pytest.mark.parametrize("ends", ["goes_on", "closes"])
def test_a_file_that_broke_while_memory_stood_in_for_it_costs_nothing_that_memory_knows(path: Path, ends: str) -> None:
    outbox = Outbox.open(path)
    outbox.put_alert(alert("before"))
    assert outbox._disk is not None
    outbox._disk.execute("PRAGMA query_only = 1")
    outbox.put_alert(alert("meanwhile"))
    assert outbox.problems == ["outbox:read_only"]
    overwrite(path)
    outbox._disk.execute("PRAGMA query_only = 0")
    if ends == "goes_on":
        mend_now(outbox)
        assert outbox.problems == ["outbox:set_aside"]
    outbox.close()
    assert numbers(Outbox.open(path)) == [("alert", "before", 0), ("alert", "meanwhile", 0)]


def test_without_any_disk_it_works_from_memory_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    outbox = Outbox.open(tmp_path / "file" / "outbox.sqlite3")
    assert outbox.problems == ["outbox:io_error"]
    assert outbox.put_alert(alert()).seq == 0
    (tmp_path / "file").unlink()
    mend_now(outbox)
    assert outbox.problems == []
    assert numbers(Outbox.open(tmp_path / "file" / "outbox.sqlite3")) == [("alert", "a1", 0)]


def test_memory_is_bounded_and_a_loss_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.delivery.standin.MEMORY_PAGES", 100)
    (tmp_path / "file").write_text("not a folder")
    outbox = Outbox.open(tmp_path / "file" / "outbox.sqlite3")
    for number in range(600):
        outbox.put_alert(alert(f"a{number}"))
    assert outbox.problems == ["outbox:io_error", "outbox:overflow"]
    assert ("alert", "a599", 0) in numbers(outbox)
    assert isinstance(outbox._standin, Standin)


def test_memory_that_is_full_keeps_the_numbers_of_an_event_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.delivery.standin.MEMORY_PAGES", 100)
    (tmp_path / "file").write_text("not a folder")
    outbox = Outbox.open(tmp_path / "file" / "outbox.sqlite3")

    def put_and_deliver(name: str, phase: Any) -> int:
        seq = outbox.put_alert(alert(name, phase=phase)).seq
        for row in outbox.pending(9):
            outbox.delivered(row.id)
        return seq

    assert put_and_deliver("0-goes-on", "new") == 0
    kept = [put_and_deliver(f"a{number:03d}", "end") for number in range(600)]
    assert kept == [0] * 600 and outbox.last_alert("a000") is None  # memory was full
    assert put_and_deliver("0-goes-on", "end") == 1


KILLED = """
import itertools, sys
from pathlib import Path
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import alert, clip
outbox = Outbox.open(Path(sys.argv[1]))
for number in itertools.count():
    name = f"{sys.argv[2]}-{number}"
    for put in (lambda: outbox.put_alert(alert(name)), lambda: outbox.put_clip(clip(name)),
                lambda: outbox.put_alert(alert(name, phase="end"))):
        print(name, put().seq, flush=True)
"""


def test_what_was_put_before_a_kill_is_there_after_it(path: Path) -> None:
    promised: set[tuple[str, int]] = set()
    chance = random.Random(7)
    for run in range(5):
        child = subprocess.Popen([sys.executable, "-c", KILLED, path, f"run{run}"], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in [child.stdout.readline() for _ in range(chance.randrange(1, 40))]:
            name, seq = line.split()
            promised.add((name, int(seq)))
        child.kill()
        child.wait()
        child.stdout.close()
    outbox = Outbox.open(path)
    assert outbox.problems == []
    assert promised <= {(row.alert_id, row.seq) for row in outbox.pending(99_999)}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "end", "clip", "deliver", "reopen", "fail", "mend"]), st.integers(0, 4)),
        max_size=30,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_course_of_events_keeps_every_message_until_it_is_delivered(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("course") / "outbox.sqlite3"
    outbox = Outbox.open(path)
    waiting: set[tuple[str, int]] = set()
    last: dict[str, int] = {}
    over: set[str] = set()

    def expect(message: Any) -> None:
        assert message.seq == last.get(message.alert_id, -1) + 1
        last[message.alert_id] = message.seq
        waiting.add((message.alert_id, message.seq))

    def allow(writes: bool) -> None:
        if outbox._disk is not None:
            outbox._disk.execute(f"PRAGMA query_only = {int(not writes)}")
        if writes:
            mend_now(outbox)

    for what, which in steps:
        name = f"a{which}"
        match what:
            case "put" if name not in over:
                expect(outbox.put_alert(alert(name, phase="new" if name not in last else "update")))
            case "end" if name not in over:
                expect(outbox.put_alert(alert(name, phase="end")))
                over.add(name)
            case "clip":
                expect(outbox.put_clip(clip(name)))
                if name not in over:  # a clip makes the ledger row, the alert may still come
                    last.setdefault(name, 0)
            case "deliver":
                for row in outbox.pending(1):
                    outbox.delivered(row.id)
                    waiting.discard((row.alert_id, row.seq))
            case "reopen":
                allow(True)
                outbox.close()
                outbox = Outbox.open(path)
            case "fail":
                allow(False)
            case "mend":
                allow(True)
        assert {(row.alert_id, row.seq) for row in outbox.pending(999)} == waiting
    allow(True)
    outbox.close()
    assert {(row.alert_id, row.seq) for row in Outbox.open(path).pending(999)} == waiting


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import alert
folder = Path(sys.argv[1])
outbox = Outbox.open(folder / "outbox.sqlite3")
with (folder / "ballast").open("wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError:
        pass
for number in range(50):
    outbox.put_alert(alert(f"a{number}"))
assert outbox.problems == ["outbox:disk_full"], outbox.problems
(folder / "ballast").unlink()
outbox._next_mend_s = 0.0
outbox.tend()
assert outbox.problems == [], outbox.problems
outbox.close()
assert Outbox.open(folder / "outbox.sqlite3").depth == 50
print("all there")
"""


def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=600k tmpfs {tmp_path}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    done = subprocess.run(
        [*own_disk, f'{mount} && "$0" -c "$1" {tmp_path}', sys.executable, ON_A_SMALL_DISK],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.stdout == "all there\n", done.stderr
