"""Intervals, bounds and calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.judging.statistics import calibration, difference_by_recording, share_by_recording, upper_rate


def test_no_event_in_t_hours_is_bounded_by_three_over_t() -> None:
    assert upper_rate(0, 10) == pytest.approx(0.29957, abs=1e-4)
    assert upper_rate(0, 1) == pytest.approx(3, abs=0.01)


def test_the_bound_of_a_rate_is_that_of_the_poisson_tables() -> None:
    # Garwood: one-sided 95 % upper limits of the mean for 1, 5 and 10 counts.
    for events, bound in ((1, 4.744), (5, 10.513), (10, 16.962)):
        assert upper_rate(events, 2.0) == pytest.approx(bound / 2, abs=1e-3)
    assert upper_rate(3, 0.0) == float("inf")
    with pytest.raises(ValueError, match="negative"):
        upper_rate(-1, 1)


def test_the_bound_holds_in_nineteen_of_twenty_cases() -> None:
    counts = np.random.default_rng(0).poisson(4.0, 4000)
    holds = np.mean([upper_rate(int(count), 1.0) >= 4.0 for count in counts])
    assert holds >= 0.95


def test_a_share_is_pooled_over_recordings_and_its_interval_holds_it() -> None:
    found = share_by_recording([1, 0, 3, 2], [1, 2, 3, 4])
    assert found.value == pytest.approx(0.6)
    assert 0 <= found.low < 0.6 < found.high <= 1
    assert found == share_by_recording([1, 0, 3, 2], [1, 2, 3, 4])


def test_ten_clips_of_one_recording_say_less_than_ten_recordings() -> None:
    apart = share_by_recording([1, 0] * 10, [1, 1] * 10)
    together = share_by_recording([10, 0], [10, 10])
    assert together.high - together.low > apart.high - apart.low


def test_all_found_is_not_certainty() -> None:
    found = share_by_recording([1] * 20, [1] * 20)
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.05 ** (1 / 20))
    assert share_by_recording([0] * 20, [1] * 20).high == pytest.approx(1 - 0.05 ** (1 / 20))


def test_nothing_to_find_says_nothing_and_one_recording_decides_nothing() -> None:
    for found in (share_by_recording([], []), share_by_recording([0.0], [0.0]), share_by_recording([1], [2])):
        assert (found.low, found.high) == (0, 1)
    assert difference_by_recording([2], [1], [2]).low == -1


def test_the_same_model_twice_differs_by_exactly_nothing() -> None:
    same = difference_by_recording([1, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1])
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_pairing_sees_a_small_gain_that_two_intervals_would_not() -> None:
    random = np.random.default_rng(1)
    a = (random.random(200) < 0.5).astype(float)
    b = a.copy()
    b[np.flatnonzero(a == 0)[:10]] = 1
    one = [1.0] * 200
    assert difference_by_recording(b.tolist(), a.tolist(), one).low > 0
    assert share_by_recording(b.tolist(), one).low < share_by_recording(a.tolist(), one).high


def test_other_recordings_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="recordings"):
        difference_by_recording([1, 0], [1, 0, 1], [1, 1, 1])
    with pytest.raises(ValueError, match="holds"):
        share_by_recording([2], [1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_always_holds_its_value_and_stays_a_share(pairs: list[tuple[int, int]]) -> None:
    total = [max(pair) for pair in pairs]
    found = share_by_recording([min(pair) for pair in pairs], total)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_scores_that_mean_what_they_say_have_no_calibration_error() -> None:
    random = np.random.default_rng(0)
    scores = random.random(100_000)
    error, bins = calibration(scores, random.random(100_000) < scores)
    assert error < 0.01
    assert len(bins) == 10
    assert sum(one.count for one in bins) == 100_000


def test_boasting_scores_have_the_error_of_their_boast() -> None:
    error, bins = calibration(np.full(100, 0.95), np.arange(100) < 60)
    assert error == pytest.approx(0.35)
    assert [(one.low, one.high, one.share) for one in bins] == [(0.9, 1.0, 0.6)]
    assert calibration(np.ones(4), np.ones(4, bool))[0] == 0
    assert calibration(np.empty(0), np.empty(0, bool)) == (0.0, ())
