"""Events and shots, one to one."""

from hypothesis import given
from hypothesis import strategies as st

from trainer.judging.matching import bursts_of, match

MERGE_S, TOLERANCE_S = 3.0, 0.5


def test_an_event_close_to_a_shot_finds_it_and_one_that_is_not_is_a_false_alarm() -> None:
    found = match([9.8, 30.0], [10.0, 20.0], MERGE_S, TOLERANCE_S)
    assert found.found == (True, False)
    assert found.false_alarms == (1,)


def test_shots_within_the_devices_merge_are_one_burst_and_any_of_them_finds_it() -> None:
    assert bursts_of([1, 2, 5, 9, 9.5], MERGE_S) == ((1, 2, 5), (9, 9.5))
    assert match([5.1], [1, 2, 5, 9], MERGE_S, TOLERANCE_S).found == (True, False)


def test_two_events_on_one_shot_are_one_hit_and_one_false_alarm() -> None:
    found = match([9.9, 10.3], [10.0], MERGE_S, TOLERANCE_S)
    assert found.found == (True,)
    assert found.false_alarms == (1,)


def test_the_closest_pair_is_matched_first() -> None:
    found = match([10.3, 10.6], [10.0, 10.5], MERGE_S, TOLERANCE_S)
    assert found.found == (True,)
    assert found.false_alarms == ()


def test_an_event_that_began_before_a_shot_and_goes_on_does_not_find_it() -> None:
    found = match([2.0], [10.0], MERGE_S, TOLERANCE_S)
    assert found.found == (False,)
    assert found.false_alarms == (0,)


def test_a_weak_label_takes_any_event_in_its_span_and_calls_none_there_false() -> None:
    found = match([1.0, 4.0, 7.0, 12.0], [2.0], MERGE_S, TOLERANCE_S, somewhere_s=6.0)
    assert found.found == (True,)
    assert found.false_alarms == (0, 3)


@given(
    st.lists(st.floats(0, 100), max_size=12).map(sorted),
    st.lists(st.floats(0, 100), max_size=12).map(sorted),
)
def test_every_event_is_a_hit_or_a_false_alarm_and_no_shot_is_hit_twice(
    events: list[float], shots: list[float]
) -> None:
    found = match(events, shots, MERGE_S, TOLERANCE_S)
    hits = len(events) - len(found.false_alarms)
    assert sum(found.found) <= hits <= min(len(events), len(shots))
    assert sum(len(burst) for burst in found.bursts) == len(shots)
    for event, onset in enumerate(events):
        if event not in found.false_alarms:
            assert min(abs(onset - shot) for shot in shots) <= TOLERANCE_S
