"""When a run is worth it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.trainer.models.making import deafer, metrics, package_of
from trainer.judging.metrics import AtRate, Metrics
from trainer.models.choice import promote
from trainer.models.log import append, entry_of, read
from trainer.models.package import package
from trainer.models.store import Store
from trainer.retraining.request import Trigger
from trainer.retraining.trigger import RECORDINGS, Verdict, recordings_file, verdict

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = [f"recording {number}" for number in range(50)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One run, ten days ago, whose model is in use."""
    store = Store(tmp_path / "models")
    at = NOW - timedelta(days=10)
    folder = package(store, package_of(more={RECORDINGS: recordings_file(KNOWN)}), at.date())
    found = Metrics.model_validate_json((folder / "performance_metrics.json").read_bytes())
    with store.locked():
        append(store.root, entry_of("retrained", found, at, details={"recordings": len(KNOWN)}))
    promote(store, folder.name, at)
    return store


def asked(store: Store, recordings: list[str], now: Metrics | None = None, **trigger: float) -> Verdict:
    return verdict(Trigger(**trigger), store, read(store.root), recordings, lambda was, model: now, NOW)  # type: ignore[arg-type]


def recall_of(found: Metrics, recall: float) -> Metrics:
    def changed(one: AtRate) -> AtRate:
        every = one.recalls.all.model_copy(update={"value": recall})
        return one.model_copy(update={"recalls": one.recalls.model_copy(update={"all": every})})

    return found.model_copy(update={"at_rates": [changed(one) for one in found.at_rates]})


def test_the_first_run_needs_no_other_reason(tmp_path: Path) -> None:
    found = verdict(Trigger(), Store(tmp_path), [], KNOWN, lambda was, model: None, NOW)
    assert found.reason == "the first run"


def test_enough_new_recordings_are_a_reason_whatever_went_meanwhile(store: Store) -> None:
    new = [f"new {number}" for number in range(100)]
    assert asked(store, KNOWN + new).reason == "100 new recordings (100 make a run)"
    assert asked(store, KNOWN[:10] + new).reason == "100 new recordings (100 make a run)"
    assert asked(store, KNOWN + new[:99]).reason == ""
    assert asked(store, KNOWN + new[:3], min_new=3).reason == "3 new recordings (3 make a run)"


def test_without_its_folder_the_log_still_knows_how_many_there_were(store: Store) -> None:
    (store.root / (store.current() or "") / RECORDINGS).unlink()
    assert asked(store, [*KNOWN, "one more"], min_new=1).reason == "1 new recordings (1 make a run)"


def test_time_is_a_reason_where_it_is_asked_for(store: Store) -> None:
    assert asked(store, KNOWN).reason == ""
    assert asked(store, KNOWN, every_days=11).reason == ""
    assert asked(store, KNOWN, every_days=7).reason == "10.0 days since the last run (every 7)"


def test_a_model_that_does_worse_on_what_has_come_is_a_reason(store: Store) -> None:
    was = metrics().recall_at(3.0).recalls.all.value
    found = asked(store, KNOWN, recall_of(metrics(), was - 0.06))
    assert found.reason.startswith("quality fell: recall of ")
    assert f"was {was:.3f} and is {was - 0.06:.3f}" in found.reason
    assert asked(store, KNOWN, recall_of(metrics(), was - 0.04)).reason == ""


def test_what_was_looked_at_is_told_where_nothing_is_to_be_done(store: Store) -> None:
    told = asked(store, [*KNOWN, "another"], every_days=30).looked_at
    assert told[0].startswith("1 new recordings since 2026-02-19")
    assert told[1] == "10.0 days since the last run (every 30)"
    assert "nothing has come that it could be judged on anew" in told[2]


def test_without_a_model_in_use_none_is_watched(store: Store) -> None:
    (store.root / "current").unlink()
    assert asked(store, KNOWN).looked_at[-1] == "no model is in use, so none is watched"


def test_a_refused_run_counts_as_one(store: Store) -> None:
    refused = deafer(metrics())
    with store.locked():
        append(store.root, entry_of("refused", refused, NOW - timedelta(days=1), details={"recordings": 60}))
    assert asked(store, KNOWN, every_days=2).reason == ""
