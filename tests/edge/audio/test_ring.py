import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.audio.ring import Overwritten, Ring
from edge.audio.source import BETWEEN_RECORDINGS


def counting(start: int, count: int) -> NDArray[np.float32]:
    """Frames whose value is their index; exact in float32 below 2**24."""
    return np.arange(start, start + count, dtype=np.float32)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["write", "gap", "other"]), st.integers(0, 700)), max_size=30),
    pick=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_ring_reads_what_was_written_or_refuses(steps: list[tuple[str, int]], pick: tuple[float, float]) -> None:
    ring = Ring(100, 2.0)  # 300 frames with the slack
    truth = np.zeros(0, np.float32)
    lost = gaps = 0
    for what, count in steps:
        if what == "write":
            ring.write(counting(len(truth), count))
            truth = np.concatenate([truth, counting(len(truth), count)])
        else:
            ring.gap(count, "overflow" if what == "gap" else BETWEEN_RECORDINGS)
            truth = np.concatenate([truth, np.zeros(count, np.float32)])
            gaps += count > 0
            lost += count * (what == "gap")
    assert (ring.end, ring.lost_frames, ring.gap_count) == (len(truth), lost, gaps)
    assert ring.oldest == max(0, len(truth) - ring.capacity)
    start, stop = sorted(int(share * len(truth)) for share in pick)
    if start >= ring.oldest:
        np.testing.assert_array_equal(ring.read(start, stop), truth[start:stop])
    else:
        with pytest.raises(Overwritten):
            ring.read(start, stop)
    np.testing.assert_array_equal(ring.read(ring.oldest, ring.end), truth[ring.oldest :])


def test_the_promised_seconds_fit_with_room_to_spare() -> None:
    ring = Ring(1000, 10.0)
    assert ring.capacity > 10_000
    for start in range(0, 30_000, 70):
        ring.write(counting(start, 70))
    np.testing.assert_array_equal(ring.read(ring.end - 10_000, ring.end), counting(ring.end - 10_000, 10_000))


def test_reading_beyond_the_end_is_a_mistake_and_reading_too_late_is_counted() -> None:
    ring = Ring(100, 1.0)
    ring.write(counting(0, 1000))
    for start, stop in [(999, 1001), (-1, 5), (990, 980)]:
        with pytest.raises(ValueError, match="written"):
            ring.read(start, stop)
    with pytest.raises(Overwritten):
        ring.read(0, 10)
    assert ring.overruns == 1


def test_gaps_are_whole_and_found_by_what_they_touch() -> None:
    ring = Ring(100, 10.0)
    ring.write(counting(0, 50))
    ring.gap(20, "overflow")
    ring.write(counting(70, 30))
    ring.gap(1_000_000, "reopened")  # far more than fits: costs one ring of zeros, not a million
    assert ring.gaps(0, 50) == []
    assert ring.gaps(40, 51) == [(50, 70)]
    assert ring.gaps(69, 101) == [(50, 70), (100, 1_000_100)]
    assert not ring.read(ring.oldest, ring.end).any()


def test_no_read_returns_torn_frames_while_the_writer_races_round() -> None:
    ring = Ring(20_000, 0.5)
    stop = threading.Event()

    def write() -> None:
        at = 0
        while not stop.is_set() and at < 2**24 - 10_000:
            ring.write(counting(at, 5_000))
            at += 5_000

    writer = threading.Thread(target=write)
    writer.start()
    good = late = 0
    deadline_s = time.monotonic() + 2.0
    try:
        while time.monotonic() < deadline_s and writer.is_alive():
            # The oldest frames are the ones in danger.
            start, stop_at = ring.oldest, ring.end
            try:
                frames = ring.read(start, stop_at)
            except Overwritten:
                late += 1
                continue
            np.testing.assert_array_equal(frames, counting(start, stop_at - start))
            good += 1
    finally:
        stop.set()
        writer.join()
    assert good > 10
    assert late == ring.overruns


def test_a_reader_is_woken_once_and_only_when_its_frame_is_there() -> None:
    ring = Ring(1000, 10.0)
    woken: list[tuple[bool, int]] = []
    reader = threading.Thread(target=lambda: woken.append((ring.wait(350, 5.0), ring.end)))
    reader.start()
    for start in range(0, 400, 100):
        time.sleep(0.05)
        assert not woken
        ring.write(counting(start, 100))
    reader.join(5)
    assert woken == [(True, 400)]


def test_many_readers_wait_at_once() -> None:
    ring = Ring(1000, 10.0)
    results: list[bool] = []
    readers = [threading.Thread(target=lambda n=n: results.append(ring.wait(100 * n, 5.0))) for n in range(1, 6)]
    for reader in readers:
        reader.start()
    for start in range(0, 500, 20):
        ring.write(counting(start, 20))
    for reader in readers:
        reader.join(5)
    assert results == [True] * 5


def test_waiting_ends_by_timeout_and_by_the_end_of_the_source() -> None:
    ring = Ring(1000, 10.0)
    began_s = time.monotonic()
    assert not ring.wait(1, 0.1)
    assert 0.09 < time.monotonic() - began_s < 2
    threading.Timer(0.1, ring.close).start()
    assert not ring.wait(1, 10.0)
    assert time.monotonic() - began_s < 2
    assert not ring.wait(1, 10.0)
    assert time.monotonic() - began_s < 2


def test_a_writer_that_can_wait_runs_little_ahead_of_its_reader() -> None:
    ring = Ring(1000, 9.0)
    ring.write(counting(0, 9_000))
    assert ring.wait_for_room(0.0), "nobody reads: nobody is waited for"
    ring.reader_position = 0
    assert not ring.wait_for_room(0.02)

    def read_on() -> None:
        ring.reader_position = 8_000

    threading.Timer(0.1, read_on).start()
    assert ring.wait_for_room(5.0)


def test_a_write_costs_microseconds() -> None:
    ring = Ring(48_000, 45.0)
    block = np.zeros(2880, np.float32)
    for _ in range(800):
        ring.write(block)
    began_s = time.thread_time()
    for _ in range(1000):
        ring.write(block)
    assert (time.thread_time() - began_s) / 1000 < 100e-6


def test_what_is_looked_at_without_a_copy_is_worth_nothing_once_it_may_have_been_overwritten() -> None:
    ring = Ring(1000, 1.0)
    ring.write(np.arange(1500, dtype=np.float32))
    seen = ring.look(200, 700)
    ring.held(200)
    np.testing.assert_array_equal(seen, np.arange(200, 700))
    ring.write(np.zeros(1000, np.float32))
    with pytest.raises(Overwritten):
        ring.held(200)
    assert ring.overruns == 1
    # Around the end of the memory.
    np.testing.assert_array_equal(ring.look(1400, 2100), ring.read(1400, 2100))
