"""The state on disk and the two slots: what a start finds, whatever happened before."""

from hashlib import sha256
from pathlib import Path

import pytest

from edge.detection.choice import LAST_GOOD, choose, default_model
from edge.updates.model import state as states
from edge.updates.model.slots import MOST_STARTS, MOST_STARTS_IN_ALL, Slots
from edge.updates.model.state import Before, Held, State, slot_path
from tests.edge.updates.model.candidates import candidate
from tests.edge.updates.model.units import release_of

ONE, TWO = candidate("1"), candidate("2")
BEFORE = Before(alarms_per_h=0.5)


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    """With model 1 in slot a."""
    put(tmp_path, "a", ONE)
    states.write(tmp_path, State(active="a", slots={"a": Held(release=release_of(ONE, 1), confirmed=True)}))
    return Slots(tmp_path)


def put(state_dir: Path, slot: states.Slot, content: bytes) -> Path:
    path = slot_path(state_dir, slot)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def downloaded(folder: Path, content: bytes = TWO) -> Path:
    path = folder / "updates" / "download" / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def on_probation(slots: Slots) -> Slots:
    slots.place(release_of(TWO, 2), downloaded(slots.state_dir))
    slots.begin_attempt()
    slots.begin_trial()
    slots.begin_probation(BEFORE)
    return Slots(slots.state_dir)


def runs(state_dir: Path) -> str:
    """Digest of the model that a start would run."""
    return choose(None, state_dir, keep=True).model.sha256


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_model_goes_into_the_idle_slot_and_the_other_runs_until_the_switch(slots: Slots) -> None:
    slots.place(release_of(TWO, 2), downloaded(slots.state_dir))
    assert slot_path(slots.state_dir, "b").read_bytes() == TWO
    assert Slots(slots.state_dir).state.phase == "verifying"
    assert runs(slots.state_dir) == digest(ONE)
    slots.begin_attempt()
    slots.begin_trial()
    assert runs(slots.state_dir) == digest(ONE)
    slots.begin_probation(BEFORE)
    assert runs(slots.state_dir) == digest(TWO)
    slots.confirm()
    assert slots.state.phase == "idle"
    assert {held.confirmed for held in slots.state.slots.values()} == {True}
    assert slots.idle == "a"
    assert [past.event for past in slots.state.history] == ["switched", "confirmed"]


def test_a_download_that_was_cut_off_is_begun_again(slots: Slots) -> None:
    slots.change(phase="downloading")
    again = Slots(slots.state_dir)
    again.begin()
    assert states.read(slots.state_dir).phase == "idle"


def test_starts_on_probation_that_did_not_reach_health_take_the_model_back(slots: Slots) -> None:
    slots = on_probation(slots)
    for number in range(MOST_STARTS):
        slots = Slots(slots.state_dir)
        slots.begin()
        assert slots.state.starts == number + 1
        assert runs(slots.state_dir) == digest(TWO)
    slots = Slots(slots.state_dir)
    slots.begin()
    assert slots.state.phase == "idle"
    assert runs(slots.state_dir) == digest(ONE)
    assert "the daemon ended 3 times" in (slots.state.why_failed(release_of(TWO, 2)) or "")
    assert states.read(slots.state_dir) == slots.state


def test_starts_that_reach_health_do_not_count_but_ten_in_all_do(slots: Slots) -> None:
    slots = on_probation(slots)
    for _ in range(MOST_STARTS_IN_ALL):
        slots = Slots(slots.state_dir)
        slots.begin()
        assert slots.state.phase == "probation"
        slots.healthy()
    slots = Slots(slots.state_dir)
    slots.begin()
    assert slots.state.phase == "idle"
    assert runs(slots.state_dir) == digest(ONE)


def test_a_clean_stop_is_no_sign_of_anything_and_the_sound_that_was_heard_counts(slots: Slots) -> None:
    slots = on_probation(slots)
    for _ in range(2 * MOST_STARTS_IN_ALL):
        slots = Slots(slots.state_dir)
        slots.begin()
        slots.stopped_cleanly(watched_s=slots.state.watched_s + 7)
    assert slots.state.phase == "probation"
    assert slots.state.watched_s == 14 * MOST_STARTS_IN_ALL


def test_a_reload_is_no_start(slots: Slots) -> None:
    slots = on_probation(slots)
    slots.begin(counted=False)
    assert slots.state.starts == 0


def test_where_a_start_cannot_be_counted_the_model_from_before_runs(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = on_probation(slots)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.updates.state_file.commit_bytes", full)
    slots.begin()
    assert choose(None, slots.state_dir, state=slots.state).model.sha256 == digest(ONE)
    assert slots.unsaved


def test_a_model_that_is_taken_back_is_remembered_and_not_run_from_any_copy(slots: Slots) -> None:
    slots = on_probation(slots)
    slots.take_back("was too loud")
    assert slots.state.error == "was too loud"
    assert slots.state.why_failed(release_of(TWO, 2)) == "was too loud"
    assert runs(slots.state_dir) == digest(ONE)
    (slots.state_dir / "models" / LAST_GOOD).write_bytes(TWO)
    slot_path(slots.state_dir, "a").unlink()
    assert runs(slots.state_dir) not in (digest(ONE), digest(TWO))


def test_a_rollback_by_a_person_goes_to_the_other_slot_and_then_to_what_the_device_came_with(slots: Slots) -> None:
    slots = on_probation(slots)
    slots.confirm()
    slots.roll_back("a person asked for it")
    assert runs(slots.state_dir) == digest(ONE)
    slots.roll_back("a person asked for it")
    assert choose(None, slots.state_dir).path == default_model()
    assert len(slots.state.failed) == 2


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"phase": "sideways"}', b"\xff" * 100, b"[1, 2]", b'{"schema_version": 2}']
)
def test_a_damaged_state_is_set_aside_and_the_last_good_model_runs(slots: Slots, damage: bytes) -> None:
    assert runs(slots.state_dir) == digest(ONE)  # which keeps a copy
    path = slots.state_dir / "updates" / "state.json"
    path.write_bytes(damage)
    again = Slots(slots.state_dir)
    again.begin()
    assert again.damaged
    assert again.state == State()
    assert (path.parent / "state.json.damaged-1").read_bytes() == damage
    assert choose(None, slots.state_dir).path.name == LAST_GOOD
    assert runs(slots.state_dir) == digest(ONE)


def test_with_both_slots_damaged_the_last_good_copy_runs_and_then_the_one_that_ships(slots: Slots) -> None:
    slots = on_probation(slots)
    slots.confirm()
    assert runs(slots.state_dir) == digest(TWO)
    for slot in states.SLOTS:
        put(slots.state_dir, slot, b"TFL3" * 10)
    choice = choose(None, slots.state_dir, keep=True)
    assert choice.model.sha256 == digest(TWO)
    assert choice.path.name == LAST_GOOD
    slots.missed(choice.path, None)
    assert slots.state.active is None
    assert "slot b" in slots.state.error
    choice.path.write_bytes(b"nothing")
    assert choose(None, slots.state_dir).path == default_model()


def test_a_damaged_active_slot_falls_back_to_the_other_which_is_then_the_active_one(slots: Slots) -> None:
    slots = on_probation(slots)
    slots.confirm()
    put(slots.state_dir, "b", TWO[:-1])
    choice = choose(None, slots.state_dir, keep=True, state=slots.state)
    slots.missed(choice.path, None)
    assert choice.model.sha256 == digest(ONE)
    assert states.read(slots.state_dir).active == "a"


def test_a_slot_that_holds_another_good_model_than_was_put_there_is_refused(slots: Slots) -> None:
    put(slots.state_dir, "a", candidate("3"))
    choice = choose(None, slots.state_dir)
    assert choice.path == default_model()
    assert "was put there" in choice.refused[0]


def test_what_is_damaged_on_probation_is_taken_back(slots: Slots) -> None:
    slots = on_probation(slots)
    put(slots.state_dir, "b", b"nothing")
    slots.begin()
    choice = choose(None, slots.state_dir, keep=True, state=slots.state)
    slots.missed(choice.path, None)
    assert choice.model.sha256 == digest(ONE)
    assert slots.state.phase == "idle"
    assert slots.state.active == "a"


def test_a_model_on_probation_is_not_kept_as_the_last_good_one(slots: Slots) -> None:
    assert runs(slots.state_dir) == digest(ONE)
    slots = on_probation(slots)
    assert runs(slots.state_dir) == digest(TWO)
    assert (slots.state_dir / "models" / LAST_GOOD).read_bytes() == ONE


def test_after_close_nothing_is_written(slots: Slots) -> None:
    slots.close()
    with pytest.raises(OSError, match="another life"):
        slots.change(pinned=True)
    assert not states.read(slots.state_dir).pinned
