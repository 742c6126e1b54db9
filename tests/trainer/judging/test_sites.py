"""A threshold that follows the background is judged before it ships: it must pay, and quiet sites must not notice."""

import math

import numpy as np
import pytest

from trainer.judging.events import Judged
from trainer.judging.sites import AtSites, at_sites
from trainer.judging.statistics import rate_difference

WINDOWS = 48


def sounds(name: str, count: int, high: float, share: float = 0.25, base: float = -8.0) -> list[Judged]:
    """Recordings whose margins rise to about ``high`` in a share of the windows, three at a time."""
    made = []
    for number in range(count):
        margins = np.random.default_rng(number).normal(base, 0.3, WINDOWS)
        for start in range(0, WINDOWS, round(3 / share)) if share else ():
            margins[start : start + 3] = high + 0.01 * number
        made.append(Judged(f"{name}-{number}", margins, WINDOWS * 0.24))
    return made


def judged(field: list[Judged], shots: list[Judged], ambience: list[Judged]) -> AtSites:
    found = at_sites(field, shots, ambience, 0.0, 2.0, 2, 0.24, 2.0)
    assert found is not None
    return found


SHOTS = sounds("shot", 20, 6.0, share=1 / 16)
AMBIENCE = sounds("forest", 10, 0.0, share=0)


def test_where_the_same_sound_keeps_alarming_the_rule_pays_and_costs_no_clear_shot() -> None:
    found = judged(sounds("engine", 10, 0.5), SHOTS, AMBIENCE)
    assert found.wins and found.raised == 1 and found.ambience_raised == 0
    assert found.alarms_without > 0 and found.alarms.value == pytest.approx(-found.alarms_without)
    assert found.recall_without == 1 and found.recall.value == 0
    assert "written into the model" in found.in_words()


def test_at_quiet_sites_it_changes_nothing_and_is_left_out() -> None:
    found = judged(sounds("leaves", 10, -6.0), SHOTS, AMBIENCE)
    assert (found.raised, found.alarms.value, found.recall.value, found.wins) == (0, 0, 0, False)
    assert "left out" in found.in_words()


def test_where_it_would_cost_shots_it_is_left_out() -> None:
    found = judged(sounds("engine", 10, 0.5), sounds("far", 20, 1.0, share=1 / 16), AMBIENCE)
    assert found.alarms.high < 0 and found.recall.value < -0.5
    assert not found.wins


def test_without_shots_ambience_or_other_sounds_it_cannot_be_judged() -> None:
    for parts in (([], SHOTS, AMBIENCE), (AMBIENCE, [], AMBIENCE), (AMBIENCE, SHOTS, [])):
        assert at_sites(*parts, 0.0, 2.0, 2, 0.24, 2.0) is None


def test_a_difference_of_rates_is_that_of_the_sites_and_one_site_says_nothing() -> None:
    found = rate_difference([0, 1, 0, 0], [2, 1, 3, 0], [0.5, 0.5, 0.5, 0.5])
    assert found.value == -2.5 and found.low < found.value < found.high <= 0
    assert rate_difference([0], [5], [1.0]).high == math.inf
    with pytest.raises(ValueError, match="hours"):
        rate_difference([0], [1], [1.0, 2.0])
