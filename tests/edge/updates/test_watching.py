"""The whole way in a running daemon, with the real fetch process and the real child: what comes, stays or goes."""

import json
import subprocess
import sys
import time

import pytest

from edge.detection.model_file import parse
from tests.edge.updates.model.candidates import QUIET, candidate, that_crashes, with_other_golden
from tests.edge.updates.model.units import PATIENCE_S, Unit

pytestmark = pytest.mark.timeout(600)


def edge(unit: Unit, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edge", *arguments, "--config", str(unit.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_good_model_comes_is_confirmed_and_stays_over_a_restart(unit: Unit) -> None:
    two = unit.publish(candidate("2"), 2)
    unit.start()
    state = unit.confirmed(two)
    assert [past.event for past in state.history] == ["switched", "confirmed"]
    assert unit.stop() == 0
    unit.start()
    unit.until(lambda s: unit.said().count("listening: model loud 2"), "the new model after a restart")
    assert unit.said().count("is confirmed") == 1
    said = edge(unit, "model", "history")
    assert said.returncode == 0
    assert "runs: loud 2, in slot b" in said.stdout


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (with_other_golden(candidate("2")), "golden vector"),
        (that_crashes(candidate("2")), "crashed its trial"),
        (candidate("2", centre=-30.0), "the same scores"),
    ],
    ids=["golden", "crash", "all-one"],
)
def test_a_model_that_fails_its_trial_never_listens_and_is_not_tried_again(
    unit: Unit, content: bytes, why: str
) -> None:
    unit.publish(content, 2)
    unit.configure({"updates": {"check_every_h": 0.0003}})
    unit.start()
    state = unit.until(lambda s: s.failed, "the refusal")
    assert why in state.error
    looked = state.checked_at
    state = unit.until(lambda s: s.checked_at != looked and s.phase == "idle", "another look")
    assert len(state.failed) == 1
    assert state.active == "a"
    assert "listens from sample" not in unit.said()
    three = unit.publish(candidate("3"), 3)
    assert unit.confirmed(three).error == ""


def test_a_model_that_shows_itself_only_on_probation_is_taken_back_by_itself(unit: Unit) -> None:
    unit.configure({"updates": {"shadow_s": 0, "probation_s": 600}})
    unit.publish(candidate("2", centre=QUIET, gain=8.0), 2)
    unit.start()
    unit.until(lambda s: s.phase == "probation", "the switch")
    state = unit.until(lambda s: s.failed, "the way back")
    assert "over its threshold" in state.error
    assert state.active == "a"
    unit.until(lambda s: "model loud 1 listens from sample" in unit.said(), "the old model")


def test_a_model_that_takes_the_daemon_down_is_left_after_three_starts(unit: Unit) -> None:
    unit.configure({"updates": {"probation_s": 600}})
    unit.publish(candidate("2"), 2)
    unit.start({"HEALTHY_S": "600"})
    unit.until(lambda s: s.phase == "probation" and "loud 2 listens" in unit.said(), "the switch")
    unit.kill()
    for _ in range(3):
        listening = unit.said().count("listening: model loud 2")
        unit.start({"HEALTHY_S": "600"})
        unit.until(lambda s, n=listening: unit.said().count("listening: model loud 2") > n, "a start")
        unit.kill()
    unit.start({"HEALTHY_S": "600"})
    state = unit.until(lambda s: s.phase == "idle", "the old model")
    assert "ended 3 times" in state.error
    unit.until(lambda _: unit.said().count("listening: model loud 1") == 2, "a start with the old model")


def test_a_release_that_is_withdrawn_is_left_at_once_even_on_probation(unit: Unit) -> None:
    one = unit.publish(candidate("1"), 1)
    unit.publish(candidate("2"), 2)
    unit.configure({"updates": {"probation_s": 600, "check_every_h": 0.0003}})
    unit.start()
    unit.until(lambda s: s.phase == "probation", "the switch")
    unit.publish(candidate("1"), 1)
    state = unit.until(lambda s: s.phase == "idle", "the way back")
    assert state.active == "a"
    assert not state.failed
    assert not state.error
    assert state.offered == one
    assert state.history[-1].event == "withdrawn"


def test_people_pin_roll_back_and_unpin_without_a_restart(unit: Unit) -> None:
    two = unit.publish(candidate("2"), 2)
    unit.start()
    unit.confirmed(two)
    said = edge(unit, "model", "pin")
    assert (said.returncode, said.stdout) == (
        0,
        "loud 2 stays; `ecosight-edge model unpin` lets updates go on\n",
    )
    three = unit.publish(candidate("3"), 3)
    assert edge(unit, "model", "update").stdout == "it looks now\n"
    state = unit.until(lambda s: s.offered == three, "the look")
    time.sleep(1)
    assert unit.state.phase == "idle"
    assert edge(unit, "model", "unpin").returncode == 0
    unit.confirmed(three)
    said = edge(unit, "model", "rollback")
    assert said.stdout.startswith("loud 2 listens;"), said
    state = unit.state
    assert state.slots[state.active or "a"].release == two
    assert unit.running
    unit.stop()
    assert "no daemon runs here" in edge(unit, "model", "pin").stdout
    unit.start()
    unit.until(lambda s: s.pinned, "the wish that waited")


def test_a_configured_model_is_pinned_and_says_so(unit: Unit) -> None:
    mine = unit.folder / "mine.tflite"
    mine.write_bytes(candidate("9"))
    unit.configure({"detection": {"model": str(mine)}})
    two = unit.publish(candidate("2"), 2)
    unit.start()
    unit.until(lambda s: s.offered == two, "the look")
    time.sleep(1)
    assert unit.state.phase == "idle"
    said = edge(unit, "model", "rollback")
    assert said.returncode == 1
    assert str(mine) in said.stderr
    assert "Traceback" not in said.stderr


def test_a_model_that_this_device_had_before_is_not_downloaded_again(unit: Unit) -> None:
    two = unit.publish(candidate("2"), 2)
    unit.configure({"updates": {"check_every_h": 0.0003}})
    unit.start()
    unit.confirmed(two)
    one = unit.publish(candidate("1"), 1)
    state = unit.confirmed(one)
    assert state.active == "a"
    assert parse((unit.state_dir / "models" / "slot_a.tflite").read_bytes()).sha256 == one.sha256
    assert "models/loud-1" not in json.dumps([str(p) for p in (unit.state_dir / "updates").rglob("*")])


def test_without_a_set_clock_nothing_is_asked(unit: Unit) -> None:
    two = unit.publish(candidate("2"), 2)
    unit.program = ("-m", "edge")  # type: ignore[misc]
    unit.start()
    unit.until(lambda s: "listening: model" in unit.said(), "a start")
    time.sleep(7)
    assert unit.state.offered is None
    assert unit.state.phase == "idle"
    assert two.number == 2
