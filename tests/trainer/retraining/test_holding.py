"""The new model against the one in use."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.detection.choice import default_model
from tests.trainer.models.making import deafer, metrics, package_of
from tests.trainer.retraining.conftest import Home
from trainer.judging.metrics import Metrics, Rule
from trainer.models.choice import RefusedError, promote
from trainer.models.package import MODEL, package
from trainer.models.store import Store
from trainer.retraining.holding import held
from trainer.retraining.telling import Telling

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def judged(home: Home) -> tuple[Metrics, bytes, Store]:
    assert home.outcome.metrics is not None
    folder = home.models / home.outcome.version
    return home.outcome.metrics, (folder / MODEL).read_bytes(), Store(home.models)


def on_other_sounds(found: Metrics) -> Metrics:
    dataset = found.dataset.model_copy(update={"sha256": "1" * 64, "version": "later"})
    return found.model_copy(update={"dataset": dataset})


def never(_: bytes) -> Metrics:
    raise AssertionError("was not to be judged again")


def rule(found: Metrics, words: str) -> Rule:
    assert found.gate is not None
    return next(one for one in found.gate.rules if words in one.name)


def test_a_first_model_is_held_against_nothing_and_timed_against_the_one_that_ships(tmp_path: Path) -> None:
    model = default_model().read_bytes()
    found = held(metrics(), model, Store(tmp_path), False, never, Telling(quiet=True))
    assert found.gate is not None and found.gate.against is None
    assert found.speed is not None and found.speed.ratio > 0
    assert rule(found, "time per window").measured == found.speed.ratio
    assert rule(found, "time per window").limit is None


def test_on_the_same_sounds_nothing_is_heard_again_and_both_are_timed(finished: Home) -> None:
    candidate, model, store = judged(finished)
    found = held(candidate, model, store, False, never, Telling(quiet=True))
    assert found.gate is not None and found.gate.against == finished.outcome.version
    assert found.speed is not None and found.speed.against.endswith(finished.outcome.version)
    assert rule(found, "lower bound").measured == 0


def test_on_other_sounds_the_model_in_use_is_judged_again(finished: Home) -> None:
    candidate, model, store = judged(finished)
    candidate, told = on_other_sounds(candidate), Telling(quiet=True)
    asked: list[bytes] = []

    def again(data: bytes) -> Metrics:
        asked.append(data)
        return on_other_sounds(finished.outcome.metrics or candidate)

    found = held(candidate, model, store, False, again, told)
    assert asked == [model]
    assert "judged again on these" in told.notes[0]
    assert rule(found, "lower bound").measured == 0


def test_out_of_fold_two_are_compared_by_what_both_were_judged_on(finished: Home) -> None:
    candidate, model, store = judged(finished)
    found = held(on_other_sounds(candidate), model, store, True, never, Telling(quiet=True))
    assert "6 recordings that both were judged on" in rule(found, "lower bound").note

    few = candidate.model_copy(update={"recordings": [one for one in candidate.recordings if one.bursts][:4]})
    found = held(on_other_sounds(few), model, store, True, never, Telling(quiet=True))
    assert found.gate is not None and not found.gate.passed
    closed = rule(found, "recordings of shots that both models")
    assert (closed.limit, closed.measured, closed.passed) == (5, 4, False)
    assert "use --force" in closed.note


@pytest.mark.parametrize("file", [MODEL, "performance_metrics.json"])
def test_a_model_in_use_that_is_broken_closes_the_gate_and_can_be_replaced(home: Home, file: str) -> None:
    candidate, model, store = judged(home)
    path = home.models / home.outcome.version / file
    path.chmod(0o644)
    path.write_bytes(b"broken")
    found = held(candidate, model, store, False, never, Telling(quiet=True))
    assert found.gate is not None and found.gate.against == home.outcome.version
    assert not rule(found, "the model in use can be").passed


def test_the_gate_that_was_just_held_decides_and_so_does_the_version_s_own_on_newer_sounds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = package(store, package_of(0), NOW.date()).name
    promote(store, first, NOW)
    newer = on_other_sounds(metrics())
    own = newer.gate.model_copy(update={"against": first}) if newer.gate else None
    second = package(store, package_of(1, newer.model_copy(update={"gate": own})), NOW.date()).name
    third = package(store, package_of(2, on_other_sounds(deafer(metrics()))), NOW.date()).name
    with pytest.raises(RefusedError, match="judged on the same sounds"):
        promote(store, third, NOW)
    assert promote(store, second, NOW).before == first
    assert own is not None
    held_now = own.model_copy(update={"against": second})
    assert promote(store, third, NOW, held=held_now).now == third
    with pytest.raises(RefusedError):  # held against another than is in use
        promote(store, first, NOW, held=held_now)
