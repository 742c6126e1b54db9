"""The sweep gives, at any threshold, what the device's logic gives on the same scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.detection.event import Rule, Timing
from edge.detection.events import EventLogic
from edge.settings import DetectionSettings
from trainer.judging.hearing import Listened
from trainer.judging.sounds import Sound
from trainer.judging.sweep import Sweep, margin, margins, score_of

SETTINGS = DetectionSettings(storm_alerts=1000)
RULE = Rule("gun_shot", 0.5, 0.3, 2, 0.9)
RATE, HOP, WINDOW_S = 16_000, 3840, 0.975


def listened(scores: list[float], shots: tuple[float, ...] = (), recording: str = "r") -> Listened:
    sound = Sound(recording, "", shots, samples=np.zeros(1, np.float32))
    table = np.array(scores, np.float32).reshape(-1, 1)
    starts = np.arange(len(scores), dtype=np.int64) * HOP
    return Listened(sound, len(scores) * 0.24, RATE, (), starts, table, np.ones(len(scores), np.float32))


def sweep(*some: Listened) -> Sweep:
    return Sweep(some, 0, RULE, SETTINGS, WINDOW_S, 0.75)


def plainly(scores: list[float]) -> list[float]:
    """Every window shown to the logic, at the model's own rule."""
    logic = EventLogic([RULE], Timing.of(SETTINGS, RATE, WINDOW_S))
    found = [event for at, score in enumerate(scores) for event in logic.observe(at * HOP, [score])]
    return [event.first_onset / RATE for event in found if event.phase == "new"]


@given(st.lists(st.sampled_from([0.05, 0.25, 0.35, 0.45, 0.55, 0.85, 0.95]), max_size=120))
def test_at_the_models_own_threshold_the_events_are_those_of_the_logic(scores: list[float]) -> None:
    found = sweep(listened(scores))
    assert found.onsets(0, found.shipped) == plainly(scores)


@given(st.lists(st.sampled_from([0.02, 0.1, 0.4, 0.6]), max_size=120), st.floats(-3, 3))
def test_moving_the_threshold_is_moving_all_scores_the_other_way(scores: list[float], by: float) -> None:
    moved = [score_of(margin(np.float32(score)) - by) for score in scores]
    found = sweep(listened(scores))
    assert found.onsets(0, found.shipped + by) == plainly(moved)


def test_recall_is_stated_at_the_lowest_threshold_that_keeps_the_rate() -> None:
    quiet = listened([0.01] * 7497 + [0.6, 0.6, 0.01] + [0.01] * 7497 + [0.8, 0.8, 0.01], recording="field")
    shot = listened([0.01] * 20 + [0.7, 0.7] + [0.01] * 20, (5.6,), "shot")
    found = sweep(quiet, shot)
    assert found.rated_hours == pytest.approx(1.0)
    strict, loose = found.at_rate(0.5), found.at_rate(1.0)
    assert (strict.recall, strict.per_hour) == (0, 0)
    assert (loose.recall, loose.per_hour) == (1, 1)
    assert margin(0.6) < loose.margin < margin(0.7)
    assert loose.precision == 0.5


def test_where_every_sound_holds_a_shot_all_of_them_make_the_rate() -> None:
    found = sweep(listened([0.01] * 20 + [0.7, 0.7] + [0.01] * 20 + [0.7, 0.7], (5.6,)))
    assert found.rated == [True]
    assert found.at(found.shipped).per_hour == pytest.approx(3600 / (44 * 0.24))


def test_a_curve_runs_from_no_event_at_all_down_to_many() -> None:
    random = np.random.default_rng(0)
    found = sweep(listened(random.random(3000).tolist()))
    curve = found.curve(points=12)
    assert curve[0].per_hour == 0
    assert curve[0].precision is None
    assert 50 < curve[-1].per_hour <= 100
    assert [one.margin for one in curve] == sorted((one.margin for one in curve), reverse=True)


def test_no_score_is_lost_at_the_ends() -> None:
    assert np.isfinite(margins(np.array([0, 1], np.float32))).all()
    assert score_of(margin(0.3)) == pytest.approx(0.3)
    assert score_of(-800) == 0
