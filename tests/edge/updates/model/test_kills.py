"""``kill -9`` at every step of an update, and at random moments: a working model each time, and the update arrives."""

import random
import time

import pytest

from edge.updates.model.state import DIE_AT
from tests.edge.updates.model.candidates import QUIET, candidate
from tests.edge.updates.model.units import PATIENCE_S, Unit

pytestmark = pytest.mark.timeout(1800)

# In the order in which they are passed. One start dies at each, and the next goes on.
ON_THE_WAY_IN = ("downloading", "fetched", "verifying", "placed", "checking", "trial", "tried", "switching", "healthy")
AT_ITS_END = ("switched", "confirming", "confirmed")
ON_THE_WAY_BACK = ("switched", "taking_back", "taken_back")


def die_at(unit: Unit, step: str) -> None:
    """One start of the daemon, which must come to that step and dies there."""
    listening = unit.said().count("listening: model") if unit.log.exists() else 0
    unit.start({DIE_AT: step})
    until_s = time.monotonic() + PATIENCE_S
    while unit.running:
        assert time.monotonic() < until_s, f"{step} was not reached\n{unit.state}\n{unit.said()}"
        time.sleep(0.02)
    assert unit.wait(1) == -9, unit.said()
    assert unit.said().count("listening: model loud") > listening or step in ("taken_back",), unit.said()


def test_a_kill_at_any_step_leaves_a_working_model_and_the_update_arrives(unit: Unit) -> None:
    two = unit.publish(candidate("2"), 2)
    for step in ON_THE_WAY_IN:
        die_at(unit, step)
    unit.start()
    state = unit.confirmed(two)
    assert not state.failed
    unit.stop()
    three = unit.publish(candidate("3"), 3)
    for step in AT_ITS_END:
        die_at(unit, step)
    unit.start()
    assert not unit.confirmed(three).failed


def test_a_kill_on_the_way_back_leaves_a_working_model_and_the_bad_one_goes(unit: Unit) -> None:
    unit.configure({"updates": {"shadow_s": 0, "probation_s": 600}})
    unit.publish(candidate("2", centre=QUIET, gain=8.0), 2)
    for step in ON_THE_WAY_BACK:
        die_at(unit, step)
    unit.start()
    state = unit.until(lambda s: s.failed and s.phase == "idle", "the way back")
    assert state.active == "a"
    unit.until(
        lambda s: unit.said().rstrip().endswith("model loud 1, hop 0.24 s") or "model loud 1" in unit.said(), "1"
    )


def test_a_kill_after_a_refusal_does_not_try_the_bad_one_again(unit: Unit) -> None:
    unit.publish(candidate("2", centre=-30.0), 2)
    die_at(unit, "given_up")
    before = unit.state.checked_at
    assert before is not None
    unit.start()
    unit.until(lambda s: s.phase == "idle" and s.checked_at is not None and s.checked_at > before, "another look")
    assert unit.state.active == "a"
    assert len(unit.state.failed) == 1


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_hundred_kills_at_random_moments_leave_a_working_model_each_time(unit: Unit) -> None:
    chance = random.Random(4)
    number, blamed = 2, 0
    unit.configure({"updates": {"shadow_s": 1.0, "probation_s": 2.0, "check_every_h": 0.0003}})
    wanted = unit.publish(candidate(str(number)), number)
    for _ in range(100):
        unit.start()
        time.sleep(chance.uniform(0.3, 8.0))
        assert unit.running, unit.said()
        unit.kill()
        why = unit.state.why_failed(wanted)
        assert why is None or "the daemon ended" in why
        if unit.state.holding(wanted.sha256) or why:  # one that was killed too often is blamed for it, as it should be
            blamed += bool(why)
            number += 1
            wanted = unit.publish(candidate(str(number)), number)
    number += 1
    wanted = unit.publish(candidate(str(number)), number)
    unit.start()
    unit.confirmed(wanted)
    assert "Traceback" not in unit.said()
    print(f"100 kills, {number - 1} models, {blamed} of them blamed for the kills")
