"""Power loss: the system calls of an alert and its clip, in the order that the plan promises.

A power cut keeps what was fsynced and may lose anything else, so the order of the calls *is* the promise.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import missing

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import os, sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from edge.delivery.clips import ClipRequest
from edge.delivery.storage import Storage
from tests.edge.delivery.clip_parts import RATE_HZ, Bench, noise, until

def mark(name):
    # Shows up in the trace, between the calls that belong to one step.
    try:
        os.stat("/mark/" + name)
    except OSError:
        pass

bench = Bench(Path({state!r}), clips={{"free_floor_bytes": 0, "pre_roll_s": 1, "post_roll_s": 1}})
bench.play(noise(4 * RATE_HZ))
bench.keeper.start()
until(lambda: bench.keeper.beat > 0 and not bench.keeper._lost, 5, "recovery")
mark("alert")
alert = bench.alert("a1", 2 * RATE_HZ)
mark("committed")
sent = os.open({wire!r}, os.O_WRONLY | os.O_CREAT)
os.write(sent, bench.outbox.pending(1)[0].payload)   # what MQTT does: it sends rows, never alerts
mark("clip")
bench.keeper.request(ClipRequest(alert, 2 * RATE_HZ, 2 * RATE_HZ))
bench.keeper.extend("a1", 2 * RATE_HZ, bench.alert("a1", 2 * RATE_HZ, "end"))
until(lambda: bench.outbox.clip("a1") and not bench.keeper.busy, 10, "the clip")
mark("store")
storage = Storage(bench.settings, bench.outbox, bench.clock, lambda: None, lambda: False)
storage.start()
until(lambda: bench.outbox.clip("a1").clip.state == "uploaded" and not storage.busy, 10, "stored")
mark("end")
storage.stop(5)
bench.finish()
"""
TRACED = (
    "openat,creat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync,pwrite64,write,stat,newfstatat"
)
CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    name: str
    arguments: str

    def touches(self, text: str) -> bool:
        return text in self.arguments


def trace(tmp_path: Path) -> list[Call]:
    if shutil.which("strace") is None:
        missing("strace")
    script, output = tmp_path / "script.py", tmp_path / "trace"
    values = {"repository": str(REPOSITORY), "state": str(tmp_path / "state"), "wire": str(tmp_path / "wire")}
    script.write_text(SCRIPT.format(**values))
    # -y names the file behind every descriptor.
    command = [
        "strace",
        "-f",
        "-y",
        "-s",
        "5000",
        "-e",
        f"trace={TRACED}",
        "-o",
        str(output),
        sys.executable,
        str(script),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "Operation not permitted" in ran.stderr and not output.exists():
        missing("strace (ptrace is not permitted)")
    assert ran.returncode == 0, ran.stderr
    return list(_calls(output.read_text(errors="replace")))


def _calls(text: str) -> list[Call]:
    """Calls in the order of their *end*: an fsync counts when it has returned."""
    unfinished: dict[str, str] = {}
    calls = []
    for line in text.splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            unfinished[thread] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed:
            rest = unfinished.pop(thread, "") + resumed.group(1)
        match = CALL.match(f"{thread} {rest}")
        if match:
            calls.append(Call(match["name"], match["arguments"]))
    return calls


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    return trace(tmp_path_factory.mktemp("durability"))


def between(calls: list[Call], first: str, last: str) -> list[Call]:
    start = next(n for n, call in enumerate(calls) if call.touches(f"/mark/{first}"))
    stop = next(n for n, call in enumerate(calls) if call.touches(f"/mark/{last}"))
    assert start < stop
    return calls[start:stop]


def position(calls: list[Call], names: str, *texts: str, after: int = -1) -> int:
    """Index of the first call of one of ``names`` that touches all ``texts``, after index ``after``."""
    wanted = names.split("|")
    for n, call in enumerate(calls):
        if n > after and call.name in wanted and all(call.touches(text) for text in texts):
            return n
    listed = "\n".join(f"{call.name}({call.arguments[:150]})" for call in calls)
    raise AssertionError(f"no {names} of {texts} after call {after} in:\n{listed}")


SYNC, RENAME, LINK, UNLINK = "fsync|fdatasync", "rename|renameat|renameat2", "link|linkat", "unlink|unlinkat"


def test_an_alert_is_on_disk_before_its_commit_returns_and_before_anything_is_sent(calls: list[Call]) -> None:
    commit = between(calls, "alert", "committed")
    written = position(commit, "pwrite64|write", "outbox.sqlite3-wal", "a1")
    position(commit, SYNC, "outbox.sqlite3-wal", after=written)
    sent = next(n for n, call in enumerate(calls) if call.name == "write" and call.touches("/wire"))
    committed = next(n for n, call in enumerate(calls) if call.touches("/mark/committed"))
    assert sent > committed
    # Nothing was sent before.
    assert not any(call.touches("/wire") for call in calls[:committed])


def test_a_clip_is_fsynced_under_temporary_names_then_named_then_the_folder_then_its_row(calls: list[Call]) -> None:
    clip = between(calls, "clip", "store")
    last_write = max(n for n, c in enumerate(clip) if c.name == "write" and c.touches("clips/.a1.flac.part>"))
    flac_synced = position(clip, SYNC, "clips/.a1.flac.part", after=last_write)
    json_written = position(clip, "openat", "clips/.a1.json.part", "O_WRONLY", after=flac_synced)
    json_synced = position(clip, SYNC, "clips/.a1.json.part", after=json_written)
    flac_named = position(clip, RENAME, "/.a1.flac.part", "/a1.flac", after=json_synced)
    json_named = position(clip, RENAME, "/.a1.json.part", "/a1.json", after=flac_named)
    folder_synced = position(clip, SYNC, "state/clips>", after=json_named)
    row = position(clip, "pwrite64|write", "outbox.sqlite3-wal", "a1.flac", after=folder_synced)
    position(clip, SYNC, "outbox.sqlite3-wal", after=row)
    before = clip[:folder_synced]
    assert not any(c.name in ("pwrite64", "write") and c.touches("-wal") and c.touches("clips/a1.flac") for c in before)


def test_nothing_is_written_to_a_clip_after_its_last_fsync(calls: list[Call]) -> None:
    clip = between(calls, "clip", "store")
    synced = [n for n, call in enumerate(clip) if call.name in SYNC.split("|") and call.touches("a1.flac.part")]
    written = [n for n, call in enumerate(clip) if call.name == "write" and call.touches("a1.flac.part>")]
    assert written and max(written) < max(synced)
    assert max(synced) < position(clip, RENAME, "/.a1.flac.part")
    # An fsync wears an SD card: ours, and one that soundfile makes when it closes a file.
    assert len(synced) == 2


def test_a_stored_clip_leaves_the_spool_only_after_link_folder_and_row_are_on_disk(calls: list[Call]) -> None:
    store = between(calls, "store", "end")
    flac_linked = position(store, LINK, "clips/a1.flac", "storage/forest/oak")
    json_linked = position(store, LINK, "clips/a1.json", "storage/forest/oak", after=flac_linked)
    folder_synced = position(store, SYNC, "storage/forest/oak", after=json_linked)
    row = position(store, "pwrite64|write", "outbox.sqlite3-wal", "uploaded", after=folder_synced)
    row_synced = position(store, SYNC, "outbox.sqlite3-wal", after=row)
    removed = position(store, UNLINK, "clips/a1.flac", after=row_synced)
    assert not any(call.name in UNLINK.split("|") and call.touches("clips/a1.") for call in store[:row_synced])
    assert removed > row_synced


def test_each_new_level_of_the_storage_is_made_durable(calls: list[Call]) -> None:
    store = between(calls, "store", "end")
    for level in ("state>", "storage>", "storage/forest>", "storage/forest/oak>"):
        position(store, SYNC, level)
