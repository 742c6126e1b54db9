"""Recall and false alarms on events."""

import numpy as np
import pytest

from trainer.judging.events import CERTAIN_ABOVE, Judged, events, false_alarms_per_hour, recall, threshold_at


def track(*margins: float, recording: str = "r", seconds: float = 360.0) -> Judged:
    return Judged(recording, np.array(margins), seconds)


def test_an_event_needs_its_hits_or_one_that_is_certain() -> None:
    weak, certain = CERTAIN_ABOVE - 0.1, CERTAIN_ABOVE + 0.1
    assert events(np.array([-9.0, weak, -9, -9]), 0, -2, 2, 0.24) == 0
    assert events(np.array([-9.0, weak, weak, -9]), 0, -2, 2, 0.24) == 1
    assert events(np.array([-9.0, weak, -9, -9]), 0, -2, 1, 0.24) == 1
    assert events(np.array([-9.0, certain, -9, -9]), 0, -2, 2, 0.24) == 1


def test_two_bursts_far_apart_are_two_events() -> None:
    quiet = [-9.0] * 40
    assert events(np.array([*quiet, 5, 5, *quiet, 5, 5, *quiet]), 0, -2, 2, 0.24) == 2


def test_false_alarms_are_counted_per_hour() -> None:
    some = [track(-9, 5, 5, -9), track(-9, -9, -9)]
    assert false_alarms_per_hour(some, 0, -2, 2, 0.24) == pytest.approx(5.0)


def test_recall_is_a_share_of_recordings_with_an_interval_around_it() -> None:
    value, low, high = recall([track(5, 5), track(-9, -9), track(5, 5), track(5, 5)], 0, -2, 2, 0.24)
    assert value == 0.75
    assert 0 < low < value < high <= 1


def test_the_threshold_is_the_lowest_that_keeps_the_rate() -> None:
    quiet = [track(-9, level, level, -9, seconds=3600) for level in (1.0, 2.0, 3.0, 4.0)]
    assert threshold_at(quiet, 0.5, 2.0, 2, 0.24) == pytest.approx(2.0, abs=0.02)
    assert threshold_at(quiet, 0.0, 2.0, 2, 0.24) == pytest.approx(4.0, abs=0.02)
