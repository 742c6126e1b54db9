"""Who scores, on a real ring, a real capture and the real detector; only the network is replaced, to be slow."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edge import listening as module
from edge.audio.ring import Ring
from edge.audio.source import block_s_for
from edge.detection.detector import Detector
from edge.detection.event import Event
from edge.listening import Listening
from edge.settings import DetectionSettings
from tests.edge.detection.test_detector import RATE, LoudnessModel, forest_with, hear

BLOCK = round(0.24 * RATE)
BLOCK_S = 0.24


class Between:
    """A model that waits to be taken, or none."""

    def __init__(self) -> None:
        self.wanted = False
        self.turned_by: list[str] = []

    def turn(self) -> None:
        self.turned_by.append(threading.current_thread().name)
        self.wanted = False


class Rig:
    """A listening thread; the test's own is the one that brings the sound."""

    def __init__(self, block_s: float = BLOCK_S, ring_s: float = 20.0, hop_s: float = 0.24) -> None:
        self.ring = Ring(RATE, ring_s)
        self.scored_by: list[str] = []
        self.slow_s = 0.0
        self.broken = False
        self.held = threading.Event()
        self.held.set()
        model = LoudnessModel(self._score)
        block = round(block_s * RATE) or BLOCK
        self.detector = Detector(model, self.ring, DetectionSettings(hop_s=hop_s), block)  # type: ignore[arg-type]
        self.events: list[Event] = []
        self.told_by: set[str] = set()
        self.between = Between()
        self.listening = Listening(self.detector, self.ring, self._tell, self.between, lambda: None, 5.0, block_s)
        self._scoring = False
        score = self.listening._score

        def scoring() -> list[Event]:
            self._scoring = True
            try:
                return score()
            finally:
                self._scoring = False

        self.listening._score = scoring  # type: ignore[method-assign]
        self.raised: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, name="listen", daemon=True)
        self.thread.start()

    def _score(self, window: object) -> float:
        self.scored_by.append(threading.current_thread().name)
        self.held.wait()
        time.sleep(self.slow_s)
        if self.broken:
            raise RuntimeError("the network is broken")
        return 0.9 if np.abs(window.waveform).max() > 0.2 else 0.01  # type: ignore[attr-defined]

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self.told_by.add(threading.current_thread().name)
        self.events += events

    def _run(self) -> None:
        try:
            self.listening.run()
        except RuntimeError as error:
            self.raised.append(error)

    def bring(self, sound: NDArray[np.float32], follow: bool = True, block: int = BLOCK) -> None:
        """Block by block; ``follow``: each once the one before has been scored, as a quick device does."""
        for at in range(0, len(sound), block):
            self.ring.write(sound[at : at + block])
            self.listening.on_sound()
            if follow:
                self.catch_up()

    def catch_up(self) -> None:
        self.until(lambda: not self._scoring and (not self.detector.due or self.listening.window_waits))

    def end(self) -> None:
        self.ring.close()
        self.listening.on_sound()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < until_s
            time.sleep(0.001)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUICK_SHARE", 4.0)  # a loaded machine may take long for any window


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.held.set()
    made.listening.stop()
    made.ring.close()
    made.thread.join(10)


def calm(seconds: float) -> NDArray[np.float32]:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 0.001).astype(np.float32)


def quiet(seconds: float) -> NDArray[np.float32]:
    """And yet not calm: every second block rises over the one before, so no window waits."""
    sound = calm(seconds)
    for at in range(0, len(sound), 2 * BLOCK):
        sound[at : at + BLOCK] *= 2
    return sound


def _alone() -> Detector:
    """One that nobody else has a part in."""
    return Detector(LoudnessModel(), Ring(RATE, 20.0), DetectionSettings(), BLOCK)  # type: ignore[arg-type]


def hand_over(rig: Rig) -> None:
    rig.bring(quiet(6.0))
    rig.until(lambda: rig.listening.handed_over)
    rig.scored_by.clear()


def test_the_thread_that_brings_the_sound_scores_it_once_windows_have_been_quick_for_a_while(rig: Rig) -> None:
    rig.bring(quiet(2.0))
    assert set(rig.scored_by) == {"listen"}, "not before"
    rig.bring(quiet(4.0))
    rig.until(lambda: rig.listening.handed_over)
    rig.scored_by.clear()
    rig.bring(quiet(3.0))
    assert set(rig.scored_by) == {threading.current_thread().name}


def test_events_are_the_same_whoever_scores_and_are_told_in_order_by_the_listening_thread(rig: Rig) -> None:
    sound = forest_with(2.0, 9.0, 9.6, 14.0, length_s=18)
    alone = _alone()
    expected = hear(alone._ring, alone, sound, BLOCK) + alone.finish()
    rig.bring(sound)
    assert rig.listening.handed_over
    rig.end()
    assert [(e.phase, e.first_onset, e.shots) for e in rig.events] == [
        (e.phase, e.first_onset, e.shots) for e in expected
    ]
    assert len(expected) >= 6
    assert rig.told_by == {"listen"}, "what it costs to commit an alert must not hold the sound up"


def test_a_slow_window_holds_the_sound_up_once_and_the_listening_thread_catches_up_without_losing_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over(rig)
    monkeypatch.setattr(rig.listening, "_quick_s", 0.05)
    rig.slow_s = 0.1
    rig.bring(quiet(3.0), follow=False)
    bringing = threading.current_thread().name
    assert rig.scored_by.count(bringing) == 1, "the one that was slow"
    assert not rig.listening.handed_over
    rig.slow_s = 0.0
    rig.catch_up()
    assert rig.scored_by.count("listen") == len(rig.scored_by) - 1
    assert rig.detector.skipped == 0
    alone = _alone()
    hear(alone._ring, alone, np.concatenate([quiet(6.0), quiet(3.0)]), BLOCK)
    assert rig.detector.windows == alone.windows


def test_scoring_ten_times_slower_than_real_time_loses_no_sample_and_counts_the_windows_that_it_skips() -> None:
    rig = Rig(ring_s=4.0)
    rig.listening._quick_s = 0.05  # a quarter of a block, less for who waits
    rig.held.clear()
    sound = quiet(30.0)
    rig.bring(sound, follow=False)  # never waits for a score
    assert rig.ring.end == len(sound)
    assert rig.ring.lost_frames == 0
    assert not rig.listening.handed_over
    rig.held.set()
    rig.catch_up()
    rig.end()
    assert rig.ring.overruns >= 1
    possible = 1 + (len(sound) - round(0.975 * RATE)) // BLOCK
    # After a skip the first window waits for a whole one, and one that was under way is lost with it.
    assert possible - 5 <= rig.detector.windows + rig.detector.skipped <= possible + 5
    assert rig.detector.skipped > possible // 2


def test_another_model_is_taken_by_the_listening_thread_between_two_windows(rig: Rig) -> None:
    hand_over(rig)
    rig.between.wanted = True
    rig.bring(quiet(0.24))
    rig.until(lambda: not rig.between.wanted)
    assert rig.between.turned_by == ["listen"]


def test_who_brings_sound_leaves_it_to_the_listening_thread_while_that_has_the_detector(rig: Rig) -> None:
    hand_over(rig)
    with rig.listening._detector_lock:
        began = len(rig.scored_by)
        rig.bring(quiet(0.48), follow=False)
        assert len(rig.scored_by) == began
        rig.between.wanted = True
        rig.listening._called.set()
    rig.catch_up()
    assert rig.scored_by[began:] == ["listen", "listen"]


def test_a_hang_in_the_detector_stops_the_beat_whoever_hangs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    hand_over(rig)
    rig.listening._called.set()
    before = rig.listening.beat
    rig.until(lambda: rig.listening.beat > before + 3)
    rig.held.clear()
    bringing = threading.Thread(target=rig.bring, args=(quiet(0.24), False), name="capture")
    bringing.start()
    rig.until(lambda: "capture" in rig.scored_by)
    time.sleep(0.1)
    stands = rig.listening.beat
    time.sleep(0.2)
    assert rig.listening.beat == stands
    rig.held.set()
    bringing.join(10)
    rig.until(lambda: rig.listening.beat > stands)


def test_what_breaks_in_the_detector_is_no_fault_of_the_source(rig: Rig) -> None:
    hand_over(rig)
    rig.broken = True
    rig.bring(quiet(0.48), follow=False)
    rig.thread.join(10)
    assert [str(error) for error in rig.raised] == ["the network is broken"]
    rig.bring(quiet(0.48), follow=False)
    assert rig.scored_by.count(threading.current_thread().name) == 1, "never again"


def test_sound_that_comes_as_fast_as_it_can_is_scored_beside_it() -> None:
    rig = Rig(block_s=0.0)
    rig.bring(quiet(8.0))
    assert set(rig.scored_by) == {"listen"}
    rig.end()


def test_the_end_of_the_sound_is_seen_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 60.0)
    hand_over(rig)
    rig.end()
    assert rig.detector.position == rig.ring.end


def windows_by_block(rig: Rig, sound: NDArray[np.float32], block: int = BLOCK) -> list[int]:
    """How many windows were scored when each block came."""
    counts = []
    for at in range(0, len(sound), block):
        before = rig.detector.windows
        rig.bring(sound[at : at + block])
        counts.append(rig.detector.windows - before)
    return counts


def test_in_a_calm_sound_windows_are_scored_three_at_a_time(rig: Rig) -> None:
    hand_over(rig)
    rig.bring(calm(2.4))
    counts = windows_by_block(rig, calm(6 * 0.24))
    assert sorted(counts) == [0, 0, 0, 0, 3, 3]
    assert set(rig.scored_by) == {threading.current_thread().name}


def test_a_bang_is_scored_at_once_with_what_waited_and_so_is_what_follows(rig: Rig) -> None:
    hand_over(rig)
    rig.bring(calm(2.4))
    while windows_by_block(rig, calm(0.24)) != [3]:
        pass
    assert windows_by_block(rig, calm(0.24)) == [0]
    bang = calm(0.24)
    bang[100] = 0.01  # of no interest to the model
    assert windows_by_block(rig, np.concatenate([bang, calm(4 * 0.24)])) == [2, 1, 1, 1, 0]


def test_an_alert_comes_as_soon_as_without_waiting() -> None:
    def told_after(rig: Rig) -> int:
        sound = np.concatenate([calm(9.0 + 0.05), np.float32(0.6) * np.ones(10, np.float32), calm(3.0)])
        for at in range(0, len(sound), BLOCK):
            rig.bring(sound[at : at + BLOCK])
            if rig.listening._events or rig.events:
                return at
        raise AssertionError("no alert")

    told = []
    for patience in (None, 0):
        rig = Rig()
        if patience is not None:
            rig.listening._patience = patience
        told.append(told_after(rig))
        rig.end()
    assert told[0] == told[1]


def test_while_an_event_is_open_no_window_waits(rig: Rig) -> None:
    hand_over(rig)
    loud = calm(0.24)
    loud[100:110] = 0.6
    rig.bring(np.concatenate([calm(2.4), loud]))
    assert set(windows_by_block(rig, calm(8 * 0.24))) == {1}, "merge_s has not passed"


def test_the_listening_thread_lets_a_window_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over(rig)
    rig.bring(calm(2.4))
    while not rig.listening.window_waits:
        rig.bring(calm(0.24))
    rig.scored_by.clear()
    beat = rig.listening.beat
    rig.listening._called.set()
    rig.until(lambda: rig.listening.beat > beat)
    with rig.listening._detector_lock:
        assert rig.scored_by == []


def test_what_waits_when_the_sound_ends_is_scored(rig: Rig) -> None:
    hand_over(rig)
    rig.bring(calm(2.4))
    while not rig.listening.window_waits:
        rig.bring(calm(0.24))
    rig.end()
    assert rig.detector.position == rig.ring.end
    assert rig.detector.windows >= 1 + (rig.ring.end - round(0.975 * RATE)) // BLOCK


@pytest.mark.parametrize(("hop_s", "most"), [(0.06, 3), (0.12, 3), (0.24, 3), (0.48, 2), (0.96, 1)])
def test_no_window_waits_longer_than_half_a_second_nor_more_than_can_be_scored_in_a_block(
    hop_s: float, most: int
) -> None:
    block_s = block_s_for(hop_s)
    rig = Rig(block_s=block_s, hop_s=hop_s)
    block = round(block_s * RATE)
    rig.bring(quiet(6.0), block=block)
    rig.until(lambda: rig.listening.handed_over)
    rig.bring(calm(2.88), block=block)
    longest, counts = 0, []
    sound = calm(5.76)
    for at in range(0, len(sound), block):
        before = rig.detector.windows
        rig.bring(sound[at : at + block], block=block)
        counts.append(rig.detector.windows - before)
        longest = max(longest, rig.detector.overdue if rig.listening.window_waits else 0)
    assert max(counts) == most
    assert longest / RATE < 0.48
    rig.end()
