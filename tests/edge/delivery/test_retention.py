"""What goes when room is short: the order, the limits, and that nobody has to guess what went."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from edge.delivery.evidence import description_path
from edge.delivery.messages import Clip
from edge.delivery.outbox import ClipFile, Outbox
from edge.delivery.retention import SAFE, Retention, going, order, rank
from edge.settings import ClipSettings
from tests.edge.delivery.clip_parts import RATE_HZ, Bench, noise, until
from tests.edge.delivery.examples import clip as example_clip
from tests.servers import missing

SPOOL = Path("/spool")
MEGABYTE = 1_000_000


@st.composite
def clip_files(draw: st.DrawFn) -> list[ClipFile]:
    count = draw(st.integers(0, 30))
    return [
        ClipFile(
            alert_id=f"a{position}",
            path=str((SPOOL if draw(st.booleans()) else Path("/storage/forest/oak/2026/05/01")) / f"a{position}.flac"),
            state=draw(st.sampled_from(["kept", "uploaded", "withheld", "failed"])),
            may_leave=draw(st.booleans()),
            size_bytes=draw(st.integers(0, 10**7)),
            test=draw(st.booleans()),
        )
        for position in range(count)
    ]


def is_unsent_evidence(clip: ClipFile) -> bool:
    return not clip.test and clip.may_leave and clip.state not in ("uploaded",)


@budget(max_examples=200, deadline=None)
@given(clips=clip_files())
def test_drills_go_first_safe_copies_next_and_unsent_evidence_last_each_by_age(clips: list[ClipFile]) -> None:
    going = order(clips, SPOOL)
    assert sorted(going) == sorted(clips)
    age = {clip.alert_id: position for position, clip in enumerate(clips)}

    def kind(clip: ClipFile) -> str:
        if clip.test:
            return "drill"
        if clip.state == "uploaded" and clip.path.startswith("/spool"):
            return "safe elsewhere"
        return "unsent evidence" if is_unsent_evidence(clip) else "local"

    kinds = ["drill", "safe elsewhere", "local", "unsent evidence"]
    seen = [kinds.index(kind(clip)) for clip in going]
    assert seen == sorted(seen)
    for before, after in itertools.pairwise(going):
        if kind(before) == kind(after):
            assert age[before.alert_id] < age[after.alert_id]


class Shelf:
    """A retention over real files."""

    def __init__(self, folder: Path, quota_bytes: int = 10 * MEGABYTE, floor_bytes: int = 0) -> None:
        self.spool = folder / "clips"
        self.spool.mkdir()
        self.outbox = Outbox.open(folder / "outbox.sqlite3")
        limits = ClipSettings(quota_bytes=quota_bytes, free_floor_bytes=floor_bytes)
        self.retention = Retention(limits, self.spool, self.outbox)

    def add(self, name: str, size_bytes: int = MEGABYTE, may_leave: bool = True, **changes: object) -> Path:
        path = self.spool / f"{name}.flac"
        path.write_bytes(bytes(size_bytes))
        description_path(path).write_text("{}")
        self.outbox.put_clip(example_clip(name, size_bytes=size_bytes, **changes), path=path, may_leave=may_leave)
        return path

    def left(self) -> set[str]:
        return {path.stem for path in self.spool.glob("*.flac")}

    def last(self, name: str) -> Clip:
        row = self.outbox.clip(name)
        assert row is not None
        return row.clip


def test_nothing_goes_while_quota_and_floor_hold(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for n in range(10):
        shelf.add(f"a{n}")
    assert shelf.retention.make_room()
    assert len(shelf.left()) == 10 and shelf.retention.evicted == 0


def test_over_the_quota_just_enough_goes_in_order_and_every_eviction_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, quota_bytes=3 * MEGABYTE)
    shelf.add("evidence-old")
    shelf.add("withheld", may_leave=False, state="withheld")
    shelf.add("evidence-new")
    shelf.add("uploaded", state="uploaded")
    shelf.add("drill", test=True)
    assert shelf.retention.make_room(new_bytes=MEGABYTE)
    assert shelf.left() == {"evidence-old", "evidence-new"}
    assert not description_path(shelf.spool / "drill.flac").exists()
    assert shelf.last("drill").state == shelf.last("withheld").state == "evicted"
    assert shelf.last("withheld").reason == "quota; was withheld"
    # S3 has it still: saying "evicted" would be a lie. The message says what went.
    assert shelf.last("uploaded").state == "uploaded"
    assert shelf.last("uploaded").reason == "local copy evicted: quota"
    assert (shelf.retention.evicted, shelf.retention.local_copies_removed) == (2, 1)
    assert len([row for row in shelf.outbox.pending(100) if row.leaf == "clip"]) == 5 + 3
    assert shelf.outbox.clip_bytes() == 2 * MEGABYTE


def test_unsent_evidence_goes_only_when_nothing_else_is_left_and_is_named(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, quota_bytes=2 * MEGABYTE)
    for n in range(4):
        shelf.add(f"a{n}")
    assert shelf.retention.make_room()
    assert shelf.left() == {"a2", "a3"}
    assert shelf.last("a0").reason == "quota; unsent evidence"


def test_the_free_space_floor_holds_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(tmp_path, floor_bytes=100 * MEGABYTE)
    for n in range(5):
        shelf.add(f"a{n}")
    disk = SimpleNamespace(f_bavail=98 * 1000 + 500, f_frsize=1000)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert shelf.retention.make_room()
    assert shelf.left() == {"a2", "a3", "a4"}
    assert shelf.last("a0").reason.startswith("free space")


def test_for_a_floor_out_of_reach_only_what_is_safe_goes_and_it_is_reported(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, floor_bytes=10**18)
    shelf.add("evidence")
    shelf.add("withheld", may_leave=False, state="withheld")
    shelf.add("uploaded", state="uploaded")
    shelf.add("drill", test=True)
    assert not shelf.retention.make_room()
    assert shelf.left() == {"evidence", "withheld"}
    assert shelf.retention.out_of_reach


def test_evidence_stays_while_others_fill_the_disk_and_clips_go_on_when_they_leave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(f_bavail=900, f_frsize=1000)
    bench = Bench(tmp_path, clips={"free_floor_bytes": MEGABYTE // 2, "pre_roll_s": 1, "post_roll_s": 1})
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    bench.play(noise(30 * RATE_HZ))
    bench.keeper.start()
    bench.whole_event("a0", 3 * RATE_HZ)
    until(lambda: bench.outbox.clip("a0"), 10, "the first clip")
    disk.f_bavail = 100
    bench.whole_event("a1", 6 * RATE_HZ)
    until(lambda: bench.outbox.clip("a1"), 10, "what became of the second")
    assert bench.keeper.problems == ["clips:failed", "clips:no_room"]
    bench.whole_event("a2", 9 * RATE_HZ)
    until(lambda: bench.outbox.clip("a2"), 10, "what became of the third")
    disk.f_bavail = 900
    bench.whole_event("a3", 12 * RATE_HZ)
    bench.finish()
    clips = [row.clip for n in range(4) if (row := bench.outbox.clip(f"a{n}"))]
    assert [clip.state for clip in clips] == ["kept", "failed", "failed", "kept"]
    assert clips[1].reason == clips[2].reason == "disk: the free space stays under its floor"
    assert bench.keeper.problems == [] and bench.keeper.evicted == 0
    bench.saved("a0")


@budget(max_examples=300, deadline=None)
@given(clips=clip_files(), over_quota=st.integers(-(10**7), 10**8), under_floor=st.integers(-(10**7), 10**8))
def test_clips_go_in_order_no_more_than_helps_and_no_fewer(
    clips: list[ClipFile], over_quota: int, under_floor: int
) -> None:
    gone = going(clips, SPOOL, over_quota, under_floor)
    ordered = order(clips, SPOOL)
    assert gone == ordered[: len(gone)]
    freed, all_bytes = (sum(clip.size_bytes for clip in some) for some in (gone, clips))
    wanted = max(over_quota, under_floor if under_floor <= all_bytes else 0)
    assert freed >= min(wanted, all_bytes)
    unsafe = [n for n, clip in enumerate(gone) if rank(clip, SPOOL) > SAFE]
    if unsafe:
        assert sum(clip.size_bytes for clip in gone[: unsafe[-1]]) < wanted, "the last of them was not wanted"
    if under_floor > all_bytes:
        assert {clip.alert_id for clip in clips if rank(clip, SPOOL) <= SAFE} <= {clip.alert_id for clip in gone}


def test_a_folder_clip_on_the_same_card_is_truly_evicted_where_it_lies(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, quota_bytes=MEGABYTE)
    stored = tmp_path / "storage" / "forest" / "oak" / "2026" / "05" / "01"
    stored.mkdir(parents=True)
    path = shelf.add("a0").rename(stored / "a0.flac")
    shelf.outbox.put_clip(example_clip("a0", size_bytes=MEGABYTE, state="uploaded"), path=path)
    shelf.add("a1")
    assert shelf.retention.make_room()
    assert not path.exists() and shelf.left() == {"a1"}
    assert shelf.last("a0").state == "evicted"


FULL_DISK = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
import numpy as np
from edge.delivery.outbox import Outbox
from tests.edge.delivery.clip_parts import RATE_HZ, Bench, noise

card = Path({card!r})
bench = Bench(card, clips={{"free_floor_bytes": 0, "pre_roll_s": 2, "post_roll_s": 2}})
bench.outbox.close()
bench.outbox = bench.keeper._outbox = Outbox.open(Path({elsewhere!r}) / "outbox.sqlite3")
bench.keeper._writer._outbox = bench.keeper._retention._outbox = bench.outbox
(card / "filler").write_bytes(bytes({filler_bytes}))
bench.play(noise(40 * RATE_HZ, bits=24))
bench.keeper.start()
for n in range(12):
    bench.whole_event(f"a{{n}}", (3 + 3 * n) * RATE_HZ)
bench.finish()
for n in range(12):
    row = bench.outbox.clip(f"a{{n}}")
    print(f"a{{n}}", row.clip.state, row.clip.reason, sep="|")
print("files", *sorted(path.name for path in (card / "clips").iterdir()), sep="|")
"""


@pytest.mark.server
@pytest.mark.parametrize("filler_bytes", [0, 800_000], ids=["by clips", "by others"])
def test_on_a_full_disk_old_clips_make_way_and_nothing_half_is_left(tmp_path: Path, filler_bytes: int) -> None:
    card, elsewhere = tmp_path / "card", tmp_path / "elsewhere"
    card.mkdir()
    elsewhere.mkdir()
    script = tmp_path / "full.py"
    repository = str(Path(__file__).resolve().parents[3])
    values = {"repository": repository, "card": str(card), "elsewhere": str(elsewhere), "filler_bytes": filler_bytes}
    script.write_text(FULL_DISK.format(**values))
    # A real disk of 900 KB, in a mount namespace of its own.
    mount = f"mount -t tmpfs -o size=900k tmpfs {card} && exec {sys.executable} {script}"
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        missing("unshare with user namespaces")
    ran = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split("|") for line in ran.stdout.splitlines()]
    states = {line[0]: line[1] for line in lines if line[0].startswith("a")}
    files = next(line[1:] for line in lines if line[0] == "files")
    kept = {name for name, state in states.items() if state == "kept"}
    if filler_bytes:
        # A clip takes 160 KB and others have left less: each fails cleanly, and says why.
        assert set(states.values()) == {"failed"} and "disk" in ran.stdout
    else:
        assert set(states.values()) == {"kept", "evicted"} and "a11" in kept, ran.stdout + ran.stderr
    assert files == sorted([f"{name}.flac" for name in kept] + [f"{name}.json" for name in kept])
