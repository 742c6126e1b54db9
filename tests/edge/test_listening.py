"""Who scores, on a real ring, a real capture and the real detector; only the network is replaced, to be slow."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edge import listening as module
from edge.audio.ring import Ring
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

    def __init__(self, block_s: float = BLOCK_S, ring_s: float = 20.0) -> None:
        self.ring = Ring(RATE, ring_s)
        self.scored_by: list[str] = []
        self.slow_s = 0.0
        self.broken = False
        self.held = threading.Event()
        self.held.set()
        model = LoudnessModel(self._score)
        self.detector = Detector(model, self.ring, DetectionSettings(), BLOCK)  # type: ignore[arg-type]
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

    def bring(self, sound: NDArray[np.float32], follow: bool = True) -> None:
        """Block by block; ``follow``: each once the one before has been scored, as a quick device does."""
        for at in range(0, len(sound), BLOCK):
            self.ring.write(sound[at : at + BLOCK])
            self.listening.on_sound()
            if follow:
                self.catch_up()

    def catch_up(self) -> None:
        self.until(lambda: not self.detector.due and not self._scoring)

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


def quiet(seconds: float) -> NDArray[np.float32]:
    return (np.random.default_rng(0).standard_normal(round(seconds * RATE)) * 0.001).astype(np.float32)


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
