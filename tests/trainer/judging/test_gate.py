"""The gate and the comparison: paired, on the same sounds, every rule with its value."""

from collections.abc import Callable
from typing import Any

import pytest

from edge.audio.frontend import Window
from tests.trainer.judging.judges import detector, field, loud
from trainer.judging.comparison import NotComparableError, compare
from trainer.judging.evaluate import evaluate
from trainer.judging.gate import Limits, judge
from trainer.judging.metrics import ClassResult, Gate, Metrics, Quantisation, Recall, Speed
from trainer.judging.sounds import Sounds
from trainer.judging.speed import time_against
from trainer.judging.statistics import Interval


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return field(minutes=4)


@pytest.fixture(scope="module")
def good(sounds: Sounds) -> Metrics:
    return evaluate(detector(loud), sounds, promised_per_hour=3).metrics


@pytest.fixture(scope="module")
def deafer(sounds: Sounds) -> Metrics:
    """Misses every third recording, whose windows it takes for rain."""
    heard: dict[int, bool] = {}

    def some(window: Window) -> float:
        if window.start == 0:
            heard["sound"] = heard.get("sound", -1) + 1  # type: ignore[index]
        number = heard["sound"] - 2  # type: ignore[index]
        return 0.01 if number >= 0 and (number // 2) % 3 == 0 else loud(window)

    return evaluate(detector(some, version="2"), sounds).metrics


def changed(metrics: Metrics, **changes: Any) -> Metrics:
    return metrics.model_copy(update=changes)


def failed(gate: Gate) -> list[str]:
    return [rule.name for rule in gate.rules if not rule.passed]


def test_a_first_model_is_held_against_the_absolute_limits_only(good: Metrics) -> None:
    gate = judge(good, None)
    assert gate.passed
    assert gate.against is None
    notes = {rule.name: rule.note for rule in gate.rules}
    assert "no model before it" in notes["recall at 3 false alarms per hour, against the model before, lower bound"]
    assert notes["recall lost from float to int8"] == "there is no float model"
    assert notes["time per window, ratio"] == "not timed"


def test_the_same_model_again_passes_with_a_difference_of_zero(good: Metrics) -> None:
    gate = judge(good, good)
    assert gate.passed
    rule = next(rule for rule in gate.rules if "lower bound" in rule.name)
    assert (rule.limit, rule.measured, rule.note) == (-0.05, 0, "1.000 before, 1.000 now")


def test_a_model_that_misses_recordings_of_before_is_refused(good: Metrics, deafer: Metrics) -> None:
    gate = judge(deafer, good)
    assert not gate.passed
    assert "recall at 3 false alarms per hour, against the model before, lower bound" in failed(gate)
    assert judge(good, deafer).passed


def test_a_broken_model_is_refused_even_as_the_first(sounds: Sounds) -> None:
    broken = evaluate(detector(lambda _: 0.01), sounds).metrics
    assert failed(judge(broken, None)) == ["recall at 3 false alarms per hour"]


def test_false_alarms_are_held_against_the_promise_and_the_bound_of_before(good: Metrics) -> None:
    def with_alarms(events: int) -> Metrics:
        found = good.shipped.false_alarms.model_copy(
            update={"events": events, "hours": 2.0, "per_hour": events / 2, "upper_per_hour": 1.5}
        )
        return changed(good, shipped=good.shipped.model_copy(update={"false_alarms": found}))

    assert judge(with_alarms(3), with_alarms(0)).passed
    gate = judge(with_alarms(20), with_alarms(0))
    assert failed(gate) == [
        "false alarms per hour, against 3 times the promise",
        "false alarms per hour, against the upper bound of the model before",
    ]
    assert [
        rule.limit for rule in gate.rules if "false alarms per hour, against" in rule.name and "recall" not in rule.name
    ] == [9.0, 1.5]


@pytest.mark.parametrize(
    ("recordings", "recall", "before", "passes"),
    [
        (19, 0.0, 0.9, True),
        (20, 0.1, 0.1, False),
        (20, 0.65, 0.9, False),
        (20, 0.85, 0.9, True),
        (20, 0.25, None, True),
    ],
)
def test_a_class_that_is_surely_under_its_floor_closes_the_gate_where_there_are_recordings_enough(
    good: Metrics, recordings: int, recall: float, before: float | None, passes: bool
) -> None:
    def one(value: float) -> list[ClassResult]:
        low, high = max(0.0, value - 0.1), min(1.0, value + 0.1)
        share = Recall(value=value, low=low, high=high, bursts=recordings, recordings=recordings)
        return [ClassResult(label="siren", recordings=recordings, sounds=recordings, recall=share, precision=None)]

    current = None if before is None else changed(good, classes=one(before))
    gate = judge(changed(good, classes=one(recall)), current)
    assert gate.passed == passes
    rule = next(rule for rule in gate.rules if rule.name == "recall of siren")
    assert rule.measured == pytest.approx(recall + 0.1)
    assert (rule.limit is None) == (recordings < 20)


def test_size_speed_and_quantisation_have_their_limits(good: Metrics) -> None:
    large = changed(good, model=good.model.model_copy(update={"size_bytes": 1200}))
    assert failed(judge(large, good)) == ["size, bytes"]
    assert judge(large, None).passed
    slow = changed(good, speed=Speed(ms_per_window=1, against="x 1", ratio=1.5))
    assert failed(judge(slow, good)) == ["time per window, ratio"]
    coarse = changed(good, quantisation=Quantisation(per_hour=3, recall_float=0.8, recall_int8=0.7))
    assert failed(judge(coarse, good)) == ["recall lost from float to int8"]
    assert judge(coarse, good, Limits(quantisation_loss=0.2)).passed


def test_models_judged_on_other_sounds_cannot_be_compared(good: Metrics) -> None:
    other = changed(good, dataset=good.dataset.model_copy(update={"sha256": "1" * 64}))
    with pytest.raises(NotComparableError, match="judge both again"):
        judge(other, good)
    with pytest.raises(NotComparableError, match="tolerance"):
        compare(good, changed(good, tolerance_s=0.1))


def test_a_comparison_says_which_is_better_and_by_how_much(good: Metrics, deafer: Metrics) -> None:
    found = compare(deafer, good)
    row = next(row for row in found.rows if row.what == "recall at 3 false alarms per hour")
    assert (row.a, row.b) == (pytest.approx(2 / 3), 1)
    assert row.difference is not None
    assert row.difference.value == pytest.approx(1 / 3)
    assert row.verdict == "B is better"
    assert {row.verdict for row in compare(good, deafer).rows if row.difference} == {"A is better"}
    assert {row.verdict for row in compare(good, good).rows if row.difference} == {"no difference shown"}
    assert (found.a, found.b, found.dataset) == ("judge 2", "judge 1", "field 1")


def test_two_models_are_timed_in_turns() -> None:
    calls: list[str] = []

    def noting(name: str) -> Callable[[Window], float]:
        return lambda _: calls.append(name) or 0.5  # type: ignore[func-returns-value]

    found = time_against(detector(noting("a")).model, detector(noting("b"), version="7").model, turns=2)
    assert "".join(calls) == ("a" * 10 + "b" * 10) * 3
    assert found.against == "judge 7"
    assert found.ratio > 0


@pytest.mark.parametrize(("recordings", "low", "passes"), [(8, 0.10, True), (40, 0.10, False), (40, -0.05, True)])
def test_only_what_int8_surely_costs_on_enough_recordings_closes_the_gate(
    good: Metrics, recordings: int, low: float, passes: bool
) -> None:
    lost = Quantisation(
        per_hour=3, recall_float=0.7, recall_int8=0.6, lost=Interval(0.1, low, 0.2), recordings=recordings
    )
    found = judge(changed(good, quantisation=lost), None)
    (rule,) = [one for one in found.rules if "int8" in one.name]
    assert rule.passed is passes and rule.measured == low
    assert ("needed to judge" in rule.note) is (recordings < 20)
