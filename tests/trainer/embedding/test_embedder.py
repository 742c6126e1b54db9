"""Embeddings from the cache, from all cores, and from a cluster."""

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.interrupting import may_be_interrupted
from tests.trainer.embedding.renders import broken, deadly, jobs, made, made_and_counted, narrow
from trainer.embedding.backbone import backbone_of
from trainer.embedding.cluster import ClusterError
from trainer.embedding.embedder import Embedder, EmbeddingError
from trainer.embedding.store import StoreError
from trainer.embedding.track import Job, Track, Tracker
from trainer.lock import AlreadyRunningError

REPOSITORY = Path(__file__).resolve().parents[3]


def same(one: Track, other: Track) -> bool:
    return bool(
        (one.steps == other.steps).all() and (one.peak == other.peak).all() and (one.rms == other.rms).all()
        and one.seconds == other.seconds and one.backbone == other.backbone
    )  # fmt: skip


def fresh(count: int) -> list[Track]:
    tracker = Tracker(backbone_of(narrow()))
    return [tracker.track(made(seed)) for seed in range(count)]


def counted(folder: Path, count: int) -> list[Job]:
    folder.mkdir(exist_ok=True)
    return [Job(f"sound {seed}", made_and_counted, (seed, folder)) for seed in range(count)]


def times_made(folder: Path) -> int:
    return len(list(folder.iterdir()))


@pytest.mark.parametrize("processes", [1, 2])
def test_tracks_come_in_order_the_second_time_from_disk(tmp_path: Path, processes: int) -> None:
    wanted = counted(tmp_path / "made", 12)
    for _ in range(2):
        with Embedder(narrow(), tmp_path / "cache", processes) as embedder:
            found = list(embedder.tracks(wanted))
        assert all(same(one, other) for one, other in zip(found, fresh(12), strict=True))
        assert times_made(tmp_path / "made") == 12


def test_what_is_there_and_what_is_missing_come_in_one_order(tmp_path: Path) -> None:
    with Embedder(narrow(), tmp_path, 1) as embedder:
        for seed in (0, 3, 4, 9):
            embedder.track(f"sound {seed}", lambda seed=seed: made(seed))
        twice = [*jobs(10), *jobs(10)[::-1]]
        found = list(embedder.tracks(twice))
    expected = fresh(10)
    assert all(same(one, other) for one, other in zip(found, [*expected, *expected[::-1]], strict=True))


def test_tracks_lie_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    with Embedder(narrow(), tmp_path, 1) as embedder:
        (track,) = embedder.tracks(jobs(1))
        copy = track.steps.copy()
        embedder.release()
        assert not track.steps.flags.owndata and not track.steps.flags.writeable
    np.testing.assert_array_equal(track.steps, copy)  # and stay readable after the end


def test_a_rendering_that_cannot_be_made_is_named_and_what_came_before_is_kept(tmp_path: Path) -> None:
    wanted = [*counted(tmp_path / "made", 3), Job("the bad one", broken, (7,)), *jobs(5)[3:]]
    with (
        Embedder(narrow(), tmp_path / "cache", 1) as embedder,
        pytest.raises(EmbeddingError, match="the bad one: recording 7 is not there"),
    ):
        list(embedder.tracks(wanted))
    with Embedder(narrow(), tmp_path / "cache", 1) as embedder:
        list(embedder.tracks(wanted[:3]))
    assert times_made(tmp_path / "made") == 3


def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    wanted = [*jobs(4), Job("deadly", deadly, (tmp_path / "once",)), *jobs(8)[4:]]
    with Embedder(narrow(), tmp_path / "cache", 2) as embedder:
        found = list(embedder.tracks(wanted))
    assert (tmp_path / "once").exists()
    expected = fresh(8)
    assert all(same(one, other) for one, other in zip(found, [*expected[:4], expected[1], *expected[4:]], strict=True))


EMBED = """
import sys
from pathlib import Path
from tests.trainer.embedding.renders import narrow
from tests.trainer.embedding.test_embedder import counted
from trainer.embedding import store
from trainer.embedding.embedder import Embedder
store.COMMIT_EVERY_S = 0.05
if __name__ == "__main__":
    with Embedder(narrow(), Path(sys.argv[1]), 1) as embedder:
        for number, _ in enumerate(embedder.tracks(counted(Path(sys.argv[2]), 200))):
            print(number, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path, number: signal.Signals) -> None:
    cache, made_in = tmp_path / "cache", tmp_path / "made"
    process = subprocess.Popen(
        [sys.executable, "-c", EMBED, cache, made_in],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=REPOSITORY, preexec_fn=may_be_interrupted,
    )  # fmt: skip
    assert process.stdout is not None
    while process.stdout.readline() != "40\n":
        pass
    process.send_signal(number)
    process.communicate()
    before = times_made(made_in)
    assert 40 < before < 200
    with Embedder(narrow(), cache, 1) as embedder:
        found = list(embedder.tracks(counted(made_in, 200)))
    assert times_made(made_in) <= 200 + 40, "nearly everything was computed again"
    assert all(same(one, other) for one, other in zip(found[:50], fresh(50), strict=True))


# --- damage -------------------------------------------------------------------------------------


def filled(cache: Path, count: int = 8) -> Path:
    with Embedder(narrow(), cache, 1) as embedder:
        list(embedder.tracks(jobs(count)))
    return next(cache.glob("embeddings/*"))


def again(tmp_path: Path, count: int = 8) -> tuple[int, list[str]]:
    """How many of the sounds are computed again, and what is said; they must come out right."""
    said: list[str] = []
    made_in = tmp_path / f"made-{time.monotonic_ns()}"
    with Embedder(narrow(), tmp_path / "cache", 1, say=said.append) as embedder:
        found = list(embedder.tracks(counted(made_in, count)))
    assert all(same(one, other) for one, other in zip(found, fresh(count), strict=True))
    return times_made(made_in), said


def test_one_bit_costs_one_item_and_is_said(tmp_path: Path) -> None:
    folder = filled(tmp_path / "cache")
    with (folder / "segment-00000").open("r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 4]))
    count, said = again(tmp_path)
    assert count == 1
    assert "is damaged or cut short" in said[0] and "1 damaged items" in said[1]
    assert again(tmp_path) == (0, [])


@pytest.mark.parametrize("size", [0, 1, 1500, 3000])
def test_a_cache_that_was_cut_short_is_noticed_and_made_whole(tmp_path: Path, size: int) -> None:
    folder = filled(tmp_path / "cache")
    os.truncate(folder / "segment-00000", size)
    count, said = again(tmp_path)
    assert 1 <= count <= 8 and said
    assert again(tmp_path) == (0, [])


def test_a_segment_that_is_gone_is_computed_again(tmp_path: Path) -> None:
    (filled(tmp_path / "cache") / "segment-00000").unlink()
    assert again(tmp_path)[0] == 8
    assert again(tmp_path) == (0, [])


@pytest.mark.parametrize("content", [b"", b"no database" * 200])
def test_an_index_that_is_damaged_begins_anew(tmp_path: Path, content: bytes) -> None:
    folder = filled(tmp_path / "cache")
    (folder / "index.sqlite3").write_bytes(content)
    assert again(tmp_path)[0] == 8
    assert again(tmp_path) == (0, [])


def test_an_index_that_was_cut_short_is_an_error_or_begins_anew(tmp_path: Path) -> None:
    folder = filled(tmp_path / "cache")
    os.truncate(folder / "index.sqlite3", 5000)
    assert again(tmp_path)[0] == 8
    assert again(tmp_path) == (0, [])


def test_a_full_disk_is_said_and_what_was_computed_stays(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.trainer.embedding.renders import jobs, narrow
from trainer.embedding.embedder import Embedder
from trainer.embedding.store import StoreError
folder = Path(sys.argv[1])
try:
    with Embedder(narrow(), folder, 1) as embedder:
        for number, _ in enumerate(embedder.tracks(jobs(4000, 4.0))):
            pass
except StoreError as error:
    print("ERROR", error)
with Embedder(narrow(), folder, 1) as embedder:
    print(len(embedder._store))
"""
    mount = f"mount -t tmpfs -o size=3m tmpfs {tmp_path}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    done = subprocess.run(
        [*own_disk, f'{mount} && "$0" -c "$1" {tmp_path}', sys.executable, script],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    error, kept = done.stdout.splitlines()
    assert error.startswith("ERROR") and "make room and run it again" in error, done
    assert int(kept) > 3


# --- who may not share --------------------------------------------------------------------------


def test_backbones_are_not_mixed(tmp_path: Path) -> None:
    with Embedder(narrow(), tmp_path, 1) as one, Embedder(narrow(seed=1), tmp_path, 1) as other:
        first, second = next(one.tracks(jobs(1))), next(other.tracks(jobs(1)))
        assert not np.array_equal(first.steps, second.steps)
        with pytest.raises(StoreError, match="another backbone"):
            one._store.put("x", second)


def test_a_folder_of_another_backbone_is_refused(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    identity = backbone_of(narrow(seed=1)).identity
    folder.rename(folder.with_name(identity[:16]))
    with pytest.raises(StoreError, match=r"of another backbone.*choose another cache folder"):
        Embedder(narrow(seed=1), tmp_path)


def test_two_writers_are_told_apart_and_a_reader_is_free(tmp_path: Path) -> None:
    filled(tmp_path)
    with Embedder(narrow(), tmp_path, 1) as writer, Embedder(narrow(), tmp_path, 1) as reader:
        list(writer.tracks(jobs(9)))
        assert len(list(reader.tracks(jobs(8)))) == 8
        with pytest.raises(AlreadyRunningError, match=r"already running.*embedding"):
            list(reader.tracks([Job("new", made, (99,))]))


# --- much ---------------------------------------------------------------------------------------

PEAK = """
import sys
from pathlib import Path
from tests.trainer.embedding.renders import hours, narrow
from trainer.embedding import embedder as module
from trainer.embedding.embedder import Embedder
from trainer.embedding.track import Job
module.RELEASE_BYTES = 1 << 20
if __name__ == "__main__":
    with Embedder(narrow(), Path(sys.argv[1]), 1) as embedder:
        kept = [track for track in embedder.tracks([Job("long", hours, (int(sys.argv[2]),))])]
        print(len(kept[0].steps), int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024)
"""


def test_a_recording_of_hours_takes_hardly_more_memory_than_a_minute(tmp_path: Path) -> None:
    peaks = []
    for seconds in (60, 1200):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path / str(seconds), str(seconds)],
            capture_output=True, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        windows, peak_mib = map(int, done.stdout.split())
        assert windows == (seconds * 16000 - 15600) // 3840 + 1
        peaks.append(peak_mib)
    assert peaks[1] < peaks[0] + 40


def test_a_segment_is_filled_and_the_next_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.embedding.store.SEGMENT_BYTES", 2048)
    folder = filled(tmp_path / "cache")
    assert len(list(folder.glob("segment-*"))) > 2
    assert again(tmp_path) == (0, [])


def test_rows_of_an_older_index_that_lead_nowhere_are_noticed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "cache")
    database = sqlite3.connect(folder / "index.sqlite3")
    with database:
        database.execute("UPDATE item SET offset = offset + 1000000000 WHERE rowid = 1")
        database.execute("UPDATE item SET count = 1 WHERE rowid = 2")
    database.close()
    assert again(tmp_path)[0] == 2


# --- a cluster ----------------------------------------------------------------------------------


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.embedding.cluster.TIMEOUT_S", 1)
    with (
        Embedder(narrow(), tmp_path, cluster="tcp://127.0.0.1:1") as embedder,
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1|pip install distributed"),
    ):
        list(embedder.tracks(jobs(1)))


@pytest.fixture
def cluster() -> object:
    try:
        from distributed import LocalCluster
    except ImportError:
        pytest.skip("MISSING DASK: pip install distributed (the cluster is not tested)")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


def test_a_cluster_gives_the_same_and_survives_a_worker_that_is_killed_half_way(
    tmp_path: Path, cluster: object
) -> None:
    pids = [worker.process.pid for worker in cluster.workers.values()]  # type: ignore[attr-defined]
    wanted = counted(tmp_path / "made", 40)
    found = []
    with Embedder(narrow(), tmp_path / "cache", cluster=cluster.scheduler_address) as embedder:  # type: ignore[attr-defined]
        for number, track in enumerate(embedder.tracks(wanted)):
            found.append(track)
            if number == 10:
                os.kill(pids[0], signal.SIGKILL)
    assert all(same(one, other) for one, other in zip(found, fresh(40), strict=True))
    workers = {path.name.split("-")[1] for path in (tmp_path / "made").iterdir()}
    assert str(os.getpid()) not in workers and {str(pid) for pid in pids} <= workers
    broken_one = [Job("the bad one", broken, (7,))]
    with (
        Embedder(narrow(), tmp_path / "cache", cluster=cluster.scheduler_address) as embedder,
        pytest.raises(  # type: ignore[attr-defined]
            EmbeddingError, match="the bad one: recording 7"
        ),
    ):
        list(itertools.chain(embedder.tracks(broken_one)))
