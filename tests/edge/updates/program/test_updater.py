"""Root's updater with real environments, real signatures and the real script before a start."""

import subprocess

import pytest

from edge.updates.program.records import Records
from edge.updates.program.updater import ProgramUpdater
from edge.updates.program.watch import MOST_STARTS
from edge.updates.release import Floor, Stage
from tests.edge.updates.program.programs import MACHINE, UNIT, Device, Supervisor, wheel


def test_a_program_is_installed_tried_and_confirmed(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2)
    steps: list[str] = []
    updater = device.updater(units, step=steps.append)
    updater.run()
    assert device.version == "2.0"
    assert updater.records.trial() is None
    assert updater.records.status().state == "idle"
    assert units.starts == 2, "one restart, into the new one"
    assert steps.index("trial began") < steps.index("switched") < steps.index("confirmed")
    # And on, and back to what maintainers had before: that is still there, so nothing is built.
    device.offer("3.0", number=3)
    updater.run()
    assert device.version == "3.0"
    device.offer("2.0", number=2)
    steps.clear()
    updater.run()
    assert device.version == "2.0"
    assert "filled" not in steps


def test_nothing_is_done_without_a_request_or_twice(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2)
    updater = device.updater(units)
    updater.run()
    assert not list((device.state_dir / "updates").glob("program-request"))
    device.request()
    steps: list[str] = []
    device.updater(units, step=steps.append).run()
    assert steps == ["looked", "request removed"]
    steps.clear()
    device.updater(units, step=steps.append).run()
    assert steps == []


def test_a_program_that_dies_at_once_is_taken_back_after_three_starts(device: Device, units: Supervisor) -> None:
    target = device.offer("2.0", number=2, behaviour="dies")
    updater = device.updater(units)
    updater.run()
    assert device.version == "1.0"
    assert units.starts == 1 + 3 + 1, "three of the new one, and the one that went back"
    assert "did not stay up" in updater.records.state().refused[target]
    assert updater.records.status().state == "failed"
    device.request()
    steps: list[str] = []
    device.updater(units, step=steps.append).run()
    assert "built" not in steps, "what was refused is not tried again"
    assert device.version == "1.0"


def test_a_program_whose_doctor_refuses_is_never_started(device: Device, units: Supervisor) -> None:
    target = device.offer("2.0", number=2, behaviour="sick")
    device.updater(units).run()
    assert (device.version, units.starts) == ("1.0", 1)
    assert "golden vectors" in device.refused[target]


def test_a_wheelhouse_without_the_program_in_it_is_refused(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2, behaviour="broken")
    updater = device.updater(units)
    updater.run()
    assert (device.version, units.starts) == ("1.0", 1)
    assert "cannot be started" in updater.records.status().error


@pytest.mark.parametrize("state", ["no_audio"])
def test_a_program_that_hears_nothing_where_the_old_one_did_is_taken_back(
    device: Device, units: Supervisor, state: str
) -> None:
    device.offer("2.0", number=2)

    def deaf_from_then_on(step: str) -> None:
        if step == "switched":
            units.state = state

    updater = device.updater(units, step=deaf_from_then_on)
    updater.run()
    assert device.version == "1.0"
    assert "hears nothing" in updater.records.status().error


def test_a_device_that_was_deaf_before_does_not_hold_it_against_the_new_program(
    device: Device, units: Supervisor
) -> None:
    units.state = "no_audio"
    device.offer("2.0", number=2)
    device.updater(units).run()
    assert device.version == "2.0"


def test_below_the_floor_nothing_is_installed_and_the_highest_floor_is_remembered(
    device: Device, units: Supervisor
) -> None:
    device.repository.set_floor(Floor(program=5))
    device.offer("2.0", number=4)
    updater = device.updater(units)
    updater.run()
    assert device.version == "1.0"
    assert "maintainers allow none under 5" in updater.records.status().error
    device.repository.set_floor(Floor(program=0))
    device.offer("2.1", number=4)
    updater.run()
    assert device.version == "1.0", "a floor is never lowered"


def test_a_device_that_was_not_drawn_stays_as_it_is_whatever_its_daemon_asks(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2, fraction=0.0)
    device.updater(units).run()
    assert device.version == "1.0"


def test_a_paused_rollout_changes_nothing(device: Device, units: Supervisor) -> None:
    target = device.offer("2.0", number=2)
    folder = target.rpartition("/")[0]
    device.repository.choose("stable", program=Stage(wanted=folder, fraction=1.0, paused=True))
    device.repository.publish()
    device.download()
    device.updater(units).run()
    assert device.version == "1.0"


def test_an_unset_clock_and_a_full_disk_wait(
    device: Device, units: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.offer("2.0", number=2)
    updater = ProgramUpdater(device.root, units, synchronised=lambda: False)
    updater.run()
    assert "clock is not set" in updater.records.status().error
    monkeypatch.setattr("edge.updates.program.updater.SPARE_BYTES", 10**18)
    device.request()
    device.updater(units).run()
    assert "disk_full" in updater.records.status().error
    monkeypatch.undo()
    assert device.refused == {}
    device.request()
    device.updater(units).run()
    assert device.version == "2.0", "neither is held against the release"


def test_what_was_told_is_never_left_open(device: Device, units: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    device.offer("2.0", number=2)
    updater = device.updater(units)

    def stumble(*_: object) -> None:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(updater.environments, "build", stumble)
    updater.run()
    assert updater.records.status().state == "failed"
    assert "nobody thought of this" in updater.records.status().error
    monkeypatch.undo()
    # A disk that does not even take the news: the request stays, so that the news come later.
    device.request()
    told = updater.records.tell

    def full(state: str, *more: str, **most: str) -> None:
        if state == "failed":
            raise OSError(28, "No space left on device")
        told(state, *more, **most)  # type: ignore[arg-type]

    monkeypatch.setattr(updater.records, "tell", full)
    monkeypatch.setattr(updater.environments, "build", stumble)
    with pytest.raises(OSError, match="No space"):
        updater.run()
    assert (device.state_dir / "updates/program-request").exists()
    monkeypatch.undo()
    device.updater(units).run()
    assert device.version == "2.0"
    assert Records(device.root).status().state == "idle"


def test_a_wheel_with_a_second_wheels_content_is_not_installed(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2)
    stored = next((device.state_dir / "updates/download/programs/wheels").iterdir())
    stored.write_bytes(wheel("2.0", "dies")[1])
    updater = device.updater(units)
    updater.run()
    assert device.version == "1.0"
    assert "not what was signed" in updater.records.status().error


def test_an_installation_by_hand_ends_a_trial_without_a_verdict(device: Device, units: Supervisor) -> None:
    device.offer("2.0", number=2)

    def by_hand(step: str) -> None:
        if step == "restarted":
            updater.records.end_trial()

    updater = device.updater(units, step=by_hand)
    updater.run()
    assert device.refused == {}


def test_a_program_that_needs_too_many_starts_is_not_well(device: Device) -> None:
    """It lives long enough each time for the count of the script to begin anew."""
    from edge.updates.program.watch import Watch

    class Restless(Supervisor):
        number = 0

        def running(self) -> list[str]:
            return [UNIT]

        def pid(self, unit: str) -> int | None:
            self.number += 1
            return self.number

    now_s = 0.0
    watch = Watch(Restless(device), 3600.0, False, "2.0", lambda: None, monotonic_s=lambda: now_s)
    verdict = None
    for _ in range(3 * MOST_STARTS):
        now_s += 300.0
        verdict = verdict or watch.look()
    assert verdict == f"it was started more than {MOST_STARTS} times"


def test_the_environment_of_the_caller_does_not_reach_the_new_one(
    device: Device, units: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    device.offer("2.0", number=2)
    device.updater(units).run()
    assert device.version == "2.0"


def test_the_machine_that_the_tests_publish_for_is_this_one() -> None:
    said = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    assert said == MACHINE
