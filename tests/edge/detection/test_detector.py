"""The detector on a real ring with the real front end; only the network is replaced where its answer must be known."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd, Window
from edge.audio.ring import Ring
from edge.detection.detector import Detector
from edge.detection.event import Event
from edge.detection.model import Scores
from edge.detection.model_file import Decision
from edge.detection.site import rules_of
from edge.settings import DetectionSettings, EnergyGate
from trainer.synthesis.scene import ambience
from trainer.synthesis.shot import Gun, Place, gunshot

RATE = 48_000
HOP, WINDOW = round(0.24 * RATE), round(0.975 * RATE)


class LoudnessModel:
    """Stands for a network: its score is high where the window's 16 kHz waveform peaks above 0.2."""

    alert_labels = ("gun_shot",)

    def __init__(self, score: Callable[[Window], float] | None = None) -> None:
        decision = Decision(threshold=0.5, release=0.2, hits={"0.24": 2, "0.48": 1})
        self.manifest = SimpleNamespace(labels=["quiet", "gun_shot"], decisions={"gun_shot": decision}, window_s=0.975)
        self.score_of = score or (lambda window: 0.9 if np.abs(window.waveform).max() > 0.2 else 0.01)

    def listen(self, window: Window) -> Scores:
        loud = self.score_of(window)
        return Scores(np.array([1 - loud, loud], np.float32), np.empty(0, np.float32))


def listening(settings: DetectionSettings | None = None, ring_s: float = 20, rate: int = RATE) -> tuple[Ring, Detector]:
    ring = Ring(rate, ring_s)
    return ring, Detector(LoudnessModel(), ring, settings or DetectionSettings())  # type: ignore[arg-type]


def forest_with(*shots_s: float, length_s: float = 8, rate: int = RATE) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    sound = ambience(length_s, rate, random, level=0.001)
    for at_s in shots_s:
        at = round(at_s * rate)
        shot = gunshot(Gun(), Place(tail=1.0), rate, random)[: len(sound) - at]
        sound[at : at + len(shot)] += 0.5 * shot
    return sound.astype(np.float32)


def hear(ring: Ring, detector: Detector, sound: NDArray[np.float32], block: int = 4800) -> list[Event]:
    events = []
    for k in range(0, len(sound), block):
        ring.write(sound[k : k + block])
        events += detector.advance(0.0)
    return events


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_an_event_begins_at_the_shot_to_a_few_milliseconds(rate: int) -> None:
    ring, detector = listening(rate=rate)
    events = hear(ring, detector, forest_with(3.21, rate=rate), rate // 10) + detector.finish()
    assert [event.phase for event in events] == ["new", "end"]
    assert abs(events[0].first_onset / rate - 3.21) < 0.004
    assert events[-1].shots == 1
    assert -8 < events[-1].level_dbfs < -4


def test_the_alert_is_there_soon_after_the_shot() -> None:
    ring, detector = listening()
    sound, told_s = forest_with(3.21), None
    for k in range(0, len(sound), 480):
        ring.write(sound[k : k + 480])
        if ring.end >= detector.position + 480 and detector.advance(0.0) and told_s is None:
            told_s = ring.end / RATE
    # The first window that holds a few milliseconds of it, one hop more, and the resampler's delay.
    assert told_s is not None
    assert 0.24 < told_s - 3.21 < 2 * 0.24 + 0.1


def test_events_do_not_depend_on_the_blocks_in_which_the_sound_arrived() -> None:
    sound = forest_with(2.0, 2.6, 6.9)
    results = []
    for block in (137, 4800, 48_000, 90_000):
        ring, detector = listening()
        results.append(hear(ring, detector, sound, block) + detector.finish())
    assert all(result == results[0] for result in results)
    assert [event.shots for event in results[0] if event.phase == "end"] == [2, 1]


@pytest.mark.parametrize("before_end_s", [0.05, 0.2, 0.5, 1.5])
def test_a_shot_near_the_end_of_a_recording_is_confirmed(before_end_s: float) -> None:
    ring, detector = listening()
    sound = forest_with(4.0)[: round((4.0 + before_end_s) * RATE)]
    events = hear(ring, detector, sound) + detector.finish()
    assert [event.phase for event in events if event.phase != "update"] == ["new", "end"]
    assert abs(events[0].first_onset / RATE - 4.0) < 0.004


def test_only_windows_of_real_sound_are_shown_and_a_short_recording_shows_one() -> None:
    for length_s, shown in ((0.3, [0]), (0.975, [0]), (2.0, [0, HOP, 2 * HOP, 3 * HOP, 4 * HOP])):
        ring, detector = listening()
        starts: list[int] = []
        detector.on_window = lambda start, scores, starts=starts: starts.append(start)  # type: ignore[misc]
        hear(ring, detector, forest_with(length_s=4)[: round(length_s * RATE)])
        detector.finish()
        assert starts == shown


def test_no_window_spans_a_gap_and_sound_that_sets_in_after_it_is_no_onset() -> None:
    ring, detector = listening()
    starts: list[int] = []
    detector.on_window = lambda start, scores: starts.append(start)
    sound = forest_with(1.0, 5.5, length_s=8)
    hear(ring, detector, sound[: 3 * RATE])
    ring.gap(2 * RATE, "overflow")
    detector.advance(0.0)
    events = hear(ring, detector, sound[5 * RATE :]) + detector.finish()
    assert all(start + WINDOW <= 3 * RATE or start >= 5 * RATE for start in starts)
    second = [event for event in events if event.phase == "new"][-1]
    assert abs(second.first_onset / RATE - 5.5) < 0.004


def test_falling_behind_is_counted_and_listening_goes_on_with_the_newest() -> None:
    ring, detector = listening(ring_s=2)
    hear(ring, detector, forest_with(length_s=2))
    for _ in range(10):
        ring.write(np.zeros(RATE, np.float32))
    assert detector.advance(0.0) == []
    assert detector.skipped >= 8 * RATE // HOP
    assert ring.end - detector.position <= WINDOW
    before = detector.windows
    hear(ring, detector, forest_with(length_s=2))
    assert detector.windows > before


def test_advance_sleeps_until_the_next_hop_and_wakes_once_for_each() -> None:
    ring, detector = listening()
    sound, stop = forest_with(length_s=4), threading.Event()

    def play() -> None:
        for k in range(0, len(sound), 960):  # 20 ms blocks at ten times the speed of sound
            ring.write(sound[k : k + 960])
            time.sleep(0.002)
        ring.close()

    player = threading.Thread(target=play)
    player.start()
    calls = 0
    while not (ring.closed and detector.position >= ring.end) and not stop.is_set():
        detector.advance(5.0)
        calls += 1
    player.join()
    assert detector.windows >= 12
    assert calls <= detector.windows + 6


def test_a_source_that_says_nothing_costs_one_timeout_and_no_event() -> None:
    _, detector = listening()
    began_s = time.monotonic()
    assert detector.advance(0.05) == []
    assert time.monotonic() - began_s < 1
    assert detector.finish() == []


def test_the_energy_gate_spares_the_network_in_silence_and_misses_no_loud_shot() -> None:
    gate = DetectionSettings(energy_gate=EnergyGate(enabled=True, level_dbfs=-30))
    ring, detector = listening(gate)
    events = hear(ring, detector, forest_with(5.0, length_s=10)) + detector.finish()
    assert [event.phase for event in events] == ["new", "end"]
    assert detector.windows <= 14
    assert detector.gated >= 20


def test_the_reader_position_holds_back_a_fast_recording() -> None:
    ring, detector = listening(ring_s=10)
    assert ring.reader_position == 0
    ring.write(np.zeros(8 * RATE, np.float32))
    assert not ring.wait_for_room(0.0)
    while detector.position < ring.end - RATE:
        detector.advance(0.0)
    assert ring.wait_for_room(0.0)


def test_the_offset_of_a_site_moves_the_threshold_and_an_event_still_ends() -> None:
    model = LoudnessModel()
    (rule,) = rules_of(model, DetectionSettings(threshold_offset=-0.4))  # type: ignore[arg-type]
    assert rule.threshold == pytest.approx(0.1)
    assert 0 < rule.release < rule.threshold
    (rule,) = rules_of(model, DetectionSettings(threshold_offset=0.5, hop_s=0.48))  # type: ignore[arg-type]
    assert rule.threshold < 1
    assert rule.required_hits == 1


def test_durations_of_the_network_are_kept_within_bounds() -> None:
    ring, detector = listening()
    hear(ring, detector, forest_with(length_s=6))
    assert len(detector.inference_ms) == detector.windows
    assert detector.inference_ms.maxlen is not None


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_windows_of_live_sound_end_where_its_blocks_do(rate: int) -> None:
    block = round(0.12 * rate)
    ring = Ring(rate, 20)
    detector = Detector(LoudnessModel(), ring, DetectionSettings(), block)  # type: ignore[arg-type]
    waited: list[float] = []

    def note(start: int, _: Scores) -> None:
        waited.append((ring.end - start) / rate - 0.975)

    detector.on_window = note
    hear(ring, detector, forest_with(3.0, rate=rate), block)
    longest_lag_s = FrontEnd(rate, 0.24).longest_lag() / rate
    assert len(waited) > 20
    # What the resampler holds back, and no more: without this a window waits for up to a block on top of it.
    assert max(waited) < longest_lag_s + 0.006
    assert min(waited) >= 0


def test_windows_end_where_blocks_do_though_much_sound_waited_for_the_model() -> None:
    """A device listens before its model is loaded, and takes what waits in steps that are no blocks."""
    block = round(0.24 * RATE)
    ring = Ring(RATE, 20)
    detector = Detector(LoudnessModel(), ring, DetectionSettings(), block)  # type: ignore[arg-type]
    sound = forest_with(length_s=9)
    for k in range(0, 5 * RATE, block):
        ring.write(sound[k : k + block])
    while detector.due:
        detector.advance(0.0)
    waited: list[float] = []
    detector.on_window = lambda start, _: waited.append((ring.end - start) / RATE - 0.975)
    for k in range(ring.end, len(sound) - block, block):
        ring.write(sound[k : k + block])
        detector.advance(0.0)
    assert len(waited) > 10
    assert max(waited) < FrontEnd(RATE, 0.24).longest_lag() / RATE + 0.006


def test_windows_of_a_recording_begin_with_it() -> None:
    ring, detector = listening()
    starts: list[int] = []
    detector.on_window = lambda start, _: starts.append(start)
    hear(ring, detector, forest_with(3.0))
    assert starts[:3] == [0, HOP, 2 * HOP]


def test_a_model_is_replaced_between_two_windows_and_none_is_missed_or_scored_twice() -> None:
    ring, detector = listening()
    told: list[tuple[int, float]] = []
    detector.on_window = lambda start, scores: told.append((start, float(scores.labels[1])))
    sound = forest_with(length_s=8)
    for k in range(0, len(sound), 4800):
        ring.write(sound[k : k + 4800])
        if k == 4 * RATE:
            assert detector.quiet
            assert detector.replace(LoudnessModel(lambda _: 0.25)) == []  # type: ignore[arg-type]
            switched = detector.position
        detector.advance(0.0)
    detector.finish()
    starts = [start for start, _ in told]
    assert starts == list(range(starts[0], starts[0] + len(starts) * HOP, HOP))
    assert len(starts) >= 29
    assert [score for start, score in told if start + WINDOW <= switched] == pytest.approx(
        [0.01] * sum(start + WINDOW <= switched for start in starts)
    )
    assert all(score == 0.25 for start, score in told if start + WINDOW > switched)


def test_an_event_that_is_open_ends_under_the_old_model_and_bars_the_new_for_its_refractory_period() -> None:
    ring, detector = listening(DetectionSettings(refractory_s=2.0))
    sound = forest_with(2.0, length_s=8)
    events: list[Event] = []
    for k in range(0, len(sound), 4800):
        ring.write(sound[k : k + 4800])
        events += detector.advance(0.0)
        if events and len(events) == 1 and events[0].phase == "new":
            assert not detector.quiet
            events += detector.replace(LoudnessModel(lambda _: 0.9))  # type: ignore[arg-type]
            assert detector.quiet
    assert [event.phase for event in events[:2]] == ["new", "end"]
    assert events[0].number == events[1].number
    assert events[2].phase == "new"
    assert events[2].number > events[1].number
    assert events[2].first_onset >= events[1].end + 2 * RATE - WINDOW
