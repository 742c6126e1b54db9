"""Which model is in use: the gate is held when it is put to use, and the log keeps who went past it."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.trainer.models.making import deafer, metrics, package_of
from trainer.models.choice import RefusedError, in_use_before, promote, rollback
from trainer.models.log import NAME, LogError, read
from trainer.models.package import package
from trainer.models.store import Store, StoreError

AT = datetime(2026, 1, 2, tzinfo=UTC)
DAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models: two alike, and a third that finds half as much."""
    store = Store(tmp_path_factory.mktemp("three") / "models")
    for number in range(2):
        package(store, package_of(number, sounds=()), DAY)
    package(store, package_of(2, deafer(metrics()), sounds=()), DAY)
    return store.root


@pytest.fixture
def store(three: Path, tmp_path: Path) -> Store:
    return Store(Path(shutil.copytree(three, tmp_path / "models")))


def test_a_model_that_is_as_good_follows_and_the_log_says_so(store: Store) -> None:
    first, second, _ = store.versions()
    assert promote(store, first, AT, "jo").before is None
    change = promote(store, second, AT, "jo", "heard more rain")
    assert (change.before, change.now, store.current()) == (first, second, second)
    last = read(store.root)[-1]
    assert (last.action, last.version, last.before, last.who, last.reason) == (
        "promoted", second, first, "jo", "heard more rain",
    )  # fmt: skip
    assert last.gate is not None
    assert last.gate.against == first
    assert last.recall["3"] == pytest.approx(metrics().recall_at(3).recalls.all.value, abs=1e-4)


def test_a_worse_model_is_refused_and_nothing_changes(store: Store) -> None:
    first, _, worse = store.versions()
    promote(store, first, AT)
    with pytest.raises(RefusedError, match="lower bound is -0"):
        promote(store, worse, AT)
    assert store.current() == first
    assert len(read(store.root)) == 1


def test_force_goes_past_the_gate_and_stays_in_the_log_for_ever(store: Store) -> None:
    first, second, worse = store.versions()
    promote(store, first, AT)
    forced = promote(store, worse, AT, "jo", "demo tomorrow", force=True).entry
    assert forced.forced
    assert forced.gate is not None
    assert not forced.gate.passed
    promote(store, second, AT, force=True)
    rollback(store, AT)
    assert [entry.forced for entry in read(store.root)] == [False, True, False, False]


def test_force_where_the_gate_is_open_is_not_called_forced(store: Store) -> None:
    assert not promote(store, store.versions()[0], AT, force=True).entry.forced


def test_a_model_judged_on_other_sounds_cannot_follow_without_force(store: Store) -> None:
    found = metrics()
    other = found.model_copy(update={"dataset": found.dataset.model_copy(update={"sha256": "1" * 64})})
    folder = package(store, package_of(7, other, sounds=()), DAY)
    promote(store, store.versions()[0], AT)
    with pytest.raises(RefusedError, match="judge both again"):
        promote(store, folder.name, AT)
    assert promote(store, folder.name, AT, force=True).entry.forced


def test_going_back_leads_to_the_one_before_and_then_to_the_one_before_that(store: Store) -> None:
    first, second, worse = store.versions()
    for version in (first, second, worse):
        promote(store, version, AT, force=True)
    assert rollback(store, AT, reason="cries wolf").now == second
    assert rollback(store, AT).now == first
    with pytest.raises(StoreError, match="no other model was in use before"):
        rollback(store, AT)
    assert [entry.action for entry in read(store.root)] == ["promoted"] * 3 + ["rolled back"] * 2


def test_going_back_to_a_named_one_wants_it_to_have_been_in_use(store: Store) -> None:
    first, second, worse = store.versions()
    promote(store, first, AT)
    promote(store, worse, AT, force=True)
    with pytest.raises(StoreError, match="was not in use before"):
        rollback(store, AT, to=second)
    assert rollback(store, AT, to=first).now == first
    assert in_use_before(read(store.root), first) == []


def test_what_is_in_use_or_unknown_or_damaged_is_not_put_to_use(store: Store) -> None:
    first, second, _ = store.versions()
    promote(store, first, AT)
    with pytest.raises(StoreError, match="in use already"):
        promote(store, first, AT)
    with pytest.raises(StoreError, match="no version 'nine'"):
        promote(store, "nine", AT)
    card = store.folder(second) / "MODEL_CARD.md"
    card.chmod(0o644)
    card.write_text("better than it is")
    with pytest.raises(StoreError, match=r"damaged: MODEL_CARD\.md was changed"):
        promote(store, second, AT)


def test_a_death_between_log_and_link_is_mended_by_doing_it_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = store.versions()
    promote(store, first, AT)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "point_to", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            promote(store, second, AT)
    assert store.current() == first
    assert promote(store, second, AT).now == second
    assert rollback(store, AT).now == first


def test_with_a_damaged_log_nothing_is_put_to_use(store: Store) -> None:
    (store.root / NAME).write_text("{}")
    with pytest.raises(LogError):
        promote(store, store.versions()[0], AT)
    assert store.current() is None
