"""Threshold and hits, chosen on events of what was not learned from."""

from pathlib import Path

import numpy as np
import pytest

from trainer.data.labels import BACKGROUND, SHOT
from trainer.judging.events import Judged
from trainer.learning.learner import Heard, decide
from trainer.learning.renderings import Spec


def heard(label: str, *margins: float, seconds: float = 60.0) -> Heard:
    spec = Spec("judged", Path("a.wav"), "00", label, f"{label}{margins}")
    return Heard(spec, Judged(spec.recording, np.array([-9.0, -9, *margins, -9, -9]), seconds))


def test_the_threshold_lets_through_no_more_false_alarms_than_asked_for() -> None:
    others = [heard("rain", level, level, seconds=360) for level in np.linspace(-3, 3, 10)]
    shots = [heard(SHOT, level, level) for level in np.linspace(0, 6, 20)]
    decided = decide([*others, *shots], 2.0)
    assert decided.per_hour <= 2.0
    assert 1.0 < decided.threshold < 2.5
    assert decided.recall == pytest.approx(np.mean(np.linspace(0, 6, 20) >= decided.threshold), abs=0.06)


def test_a_forest_alone_sounds_no_alarm_whatever_is_promised_for_its_other_sounds() -> None:
    quiet = [heard("rain", -5, -5)]
    decided = decide([*quiet, heard(BACKGROUND, 2.0, 2.0), heard(SHOT, 5, 5)], 10.0)
    assert decided.threshold > 2.0 and decided.recall == 1.0


def test_machines_of_a_city_do_not_set_the_threshold() -> None:
    sounds = [heard("rain", -2, -2), heard("jackhammer", 4, 4), heard(SHOT, 3, 3)]
    assert decide(sounds, 1.0).recall == 1.0


def test_of_rules_that_find_as_many_the_one_that_tells_first_is_taken() -> None:
    others = [heard("rain", 0.5, 0.5, seconds=3600)]
    clear = [heard(SHOT, 2.0, 2.0) for _ in range(49)]
    decided = decide([*others, *clear], 0.5)
    assert (decided.hits, decided.certain_above) == (2, 1.0)
    assert decided.sooner_s == pytest.approx(0.24)
    # Where single windows of other sounds score as high, being fast wants a threshold that finds fewer.
    rain = [heard("rain", 1.8, -3, seconds=3600) for _ in range(9)]
    weak = [heard(SHOT, 0.7, 0.7) for _ in range(49)]
    slow = decide([*others, *rain, *clear, *weak], 0.05)
    assert slow.certain_above == 2.2 and slow.recall == 1.0 and slow.sooner_s == 0.0


def test_one_hit_is_enough_only_where_it_finds_more() -> None:
    others = [heard("rain", 0.5, 0.5, seconds=3600)]
    assert decide([*others, *(heard(SHOT, 3, 3) for _ in range(9))], 0.5).hits == 2
    assert decide([*others, *(heard(SHOT, -2, 0.8, -2) for _ in range(9))], 0.5).hits == 1
