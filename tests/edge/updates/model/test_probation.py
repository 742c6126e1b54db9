"""What is wrong with a model that runs shows itself within its probation."""

from collections.abc import Callable

import numpy as np
import pytest

from edge.audio.frontend import Window
from edge.detection.model import Scores, load_bytes
from edge.settings import DetectionSettings
from edge.updates.model.judgement import LARGEST_GROWTH_BYTES, Figures
from edge.updates.model.probation import GRACE_S, Probation
from edge.updates.model.state import Before
from tests.edge.updates.model.candidates import candidate

SILENCE = Window(0, np.zeros((96, 64), np.float32), np.zeros(0, np.float32), 0)
BEFORE = Before(alarms_per_h=2.0, hits=0.001, inference_ms=1.0)


class Daemon:
    """The counts that a probation reads."""

    def __init__(self) -> None:
        self.alarms = self.skipped = self.growth_bytes = 0
        self.inference_ms = [1.0] * 100
        self.beside = Figures()

    def probation(self, probation_s: float = 3600.0, watched_s: float = 0.0) -> Probation:
        return Probation(
            load_bytes(candidate("2")),
            DetectionSettings(),
            probation_s,
            BEFORE,
            watched_s,
            alarms=lambda: self.alarms,
            skipped=lambda: self.skipped,
            inference_ms=lambda: self.inference_ms,
            growth_bytes=lambda: self.growth_bytes,
            beside=lambda: self.beside,
        )


def hear(probation: Probation, windows: int, score: Callable[[int], float] = lambda n: 0.01) -> None:
    for number in range(windows):
        labels = np.array([score(number), 0.5], np.float32)
        probation.observe(SILENCE, Scores(labels, np.empty(0, np.float32)))


def test_quiet_sound_confirms_after_so_much_of_it_over_several_starts() -> None:
    daemon = Daemon()
    probation = daemon.probation(probation_s=600.0, watched_s=400.0)
    hear(probation, round(150 / 0.24))
    assert not probation.passed
    assert probation.healthy
    assert 0.91 < probation.progress < 0.92
    hear(probation, round(51 / 0.24))
    assert probation.passed
    assert probation.objection() == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"alarms": 12}, "would have alarmed 12 times"),
        ({"skipped": 100}, "did not keep up"),
        ({"inference_ms": [7.0] * 100}, "ms for a window"),
        ({"inference_ms": [130.0] * 100}, "half of the hop"),
        ({"growth_bytes": LARGEST_GROWTH_BYTES + 1}, "MiB of memory"),
    ],
    ids=["alarms", "skipped", "slower", "too-slow", "memory"],
)
def test_what_the_daemon_suffers_from_it_takes_it_back(change: dict[str, object], why: str) -> None:
    daemon = Daemon()
    probation = daemon.probation()
    hear(probation, 3600)
    assert probation.objection() == ""
    for name, value in change.items():
        setattr(daemon, name, value)
    assert why in probation.objection()


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (lambda n: 1.0, "over its threshold"),
        (lambda n: float(n % 10 == 0), "over its threshold"),
        (lambda n: float("nan") if n == 99 else 0.01, "not between 0 and 1"),
        (lambda n: 1.5, "not between 0 and 1"),
    ],
    ids=["all-one", "one-in-ten", "nan", "too-large"],
)
def test_scores_that_no_good_model_gives_take_it_back(score: Callable[[int], float], why: str) -> None:
    probation = Daemon().probation()
    hear(probation, 100, score)
    assert why in probation.objection()


def test_as_many_alarms_as_the_model_before_had_are_no_reason() -> None:
    daemon = Daemon()
    probation = daemon.probation()
    hear(probation, 15_000)  # an hour
    daemon.alarms = 5
    assert probation.objection() == ""


def test_a_storm_that_the_model_before_hears_too_is_not_held_against_the_new_one() -> None:
    daemon = Daemon()
    probation = daemon.probation()
    hear(probation, 3600, lambda n: 0.9 if n % 5 == 0 else 0.01)
    daemon.alarms = 30
    assert "over its threshold" in probation.objection(), "before the switch it was quiet"
    daemon.beside = Figures(windows=3000, hits=500, events=20, spread=0.9)
    assert probation.objection() == ""
    daemon.beside = Figures(windows=3000, hits=5, events=0, spread=0.9)
    assert "over its threshold" in probation.objection()


def test_the_one_before_counts_by_the_same_sound_even_where_it_used_to_alarm_often() -> None:
    daemon = Daemon()
    probation = daemon.probation()
    hear(probation, 15_000)
    daemon.alarms = 9
    assert probation.objection() == "", "two an hour were usual"
    daemon.beside = Figures(windows=15_000, hits=2, events=1)
    assert "would have alarmed 9 times; the current model 1 times" in probation.objection()
    daemon.beside = Figures(windows=7400, hits=2, events=1)
    assert probation.objection() == "", "it has heard too little of it"


def test_scores_that_stand_still_while_the_one_before_hears_something_take_it_back() -> None:
    daemon = Daemon()
    probation = daemon.probation()
    hear(probation, 100)
    assert probation.objection() == "", "on quiet sound good ones may"
    daemon.beside = Figures(windows=100, spread=0.3)
    assert "gave the same scores" in probation.objection()


def test_without_sound_it_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    probation = Daemon().probation(probation_s=600.0)
    assert probation.objection() == ""
    now = __import__("time").monotonic()
    monkeypatch.setattr("edge.updates.model.probation.time.monotonic", lambda: now + 6000 + GRACE_S + 60)
    assert "too little sound" in probation.objection()
