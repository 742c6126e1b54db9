from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.upkeep.liveness import ESCALATE_AFTER_S, ESCALATE_AT_MOST_EVERY_S, Liveness
from edge.upkeep.noise_floor import NoiseFloor

RATE_HZ = 8_000
RNG = np.random.default_rng(3)
SOUND = RNG.normal(0, 0.01, RATE_HZ).astype(np.float32)
ZEROS = np.zeros(RATE_HZ, np.float32)
CONSTANT = np.full(RATE_HZ, -0.25, np.float32)


def feed(
    liveness: Liveness, frames: NDArray[np.float32] | None, seconds: int, start_s: float
) -> tuple[float, list[str | None]]:
    said: list[str | None] = []
    for _ in range(seconds):
        start_s += 1.0
        liveness.observe(start_s, frames)
        said.append(liveness.problem)
    return start_s, said


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (None, "no_audio:stale"),
        (ZEROS, "no_audio:silent"),
        (CONSTANT, "no_audio:constant"),
        (ZEROS[:0], "no_audio:stale"),
    ],
)
def test_each_kind_of_dead_sound_is_an_alarm_after_its_time_and_passes_with_sound(
    frames: NDArray[np.float32] | None, problem: str
) -> None:
    liveness = Liveness(no_audio_after_s=5.0)
    now_s, said = feed(liveness, SOUND, 10, 100.0)
    assert said == [None] * 10
    now_s, said = feed(liveness, frames, 8, now_s)
    # The last good sound was a second before the first fault was seen; only with no samples is that known.
    first = 4 if problem == "no_audio:stale" else 5
    assert said == [None] * first + [problem] * (8 - first)
    assert liveness.state == "alarmed"
    now_s, said = feed(liveness, SOUND, 4, now_s)
    assert said == [problem, problem, None, None]
    assert liveness.state == "healthy"


def test_a_microphone_that_never_spoke_is_an_alarm_too() -> None:
    liveness = Liveness(no_audio_after_s=5.0)
    _, said = feed(liveness, None, 7, 0.0)
    assert said[-1] == "no_audio:stale"


def test_short_silence_is_no_alarm() -> None:
    liveness = Liveness(no_audio_after_s=5.0)
    now_s = 0.0
    for _ in range(20):
        now_s, said = feed(liveness, ZEROS, 4, now_s)
        assert said == [None] * 4
        now_s, _ = feed(liveness, SOUND, 1, now_s)


def test_the_quietest_microphone_that_still_hears_is_alive() -> None:
    liveness = Liveness()
    quiet = RNG.integers(-1, 2, RATE_HZ).astype(np.float32) / 2**23  # one step of 24 bits
    assert liveness._judge(0.0, quiet) == "constant"
    audible = RNG.integers(-1, 2, RATE_HZ).astype(np.float32) / 2**15
    assert liveness._judge(0.0, audible) is None


def test_an_alarm_that_stays_opens_the_microphone_anew_ever_more_rarely() -> None:
    opened: list[float] = []
    now = [0.0]
    liveness = Liveness(on_escalate=lambda: opened.append(now[0]))
    for _ in range(4 * 3600):
        now[0] += 1.0
        liveness.observe(now[0], ZEROS)
    pauses = np.diff(opened)
    assert liveness.state == "escalated"
    assert opened[0] == pytest.approx(ESCALATE_AFTER_S + 6, abs=2)
    assert (np.diff(pauses) >= 0).all()
    assert pauses.max() == ESCALATE_AT_MOST_EVERY_S


def test_sound_in_bursts_is_sound_and_ends_an_alarm() -> None:
    liveness = Liveness(no_audio_after_s=5.0)
    now_s, said = feed(liveness, None, 10, 0.0)
    assert said[-1] == "no_audio:stale"
    for _ in range(10):
        now_s, _ = feed(liveness, SOUND, 1, now_s)
        now_s, said = feed(liveness, None, 1, now_s)
    assert said == [None]


def test_sound_that_returns_for_a_moment_does_not_clear_the_alarm() -> None:
    liveness = Liveness(no_audio_after_s=3.0)
    now_s, _ = feed(liveness, ZEROS, 6, 0.0)
    for _ in range(10):
        now_s, said = feed(liveness, SOUND, 1, now_s)
        assert said == ["no_audio:silent"]
        now_s, said = feed(liveness, ZEROS, 1, now_s)
        assert said == ["no_audio:silent"]


@settings(max_examples=100, deadline=None)
@given(
    seconds=st.lists(st.sampled_from(["sound", "zeros", "constant"]), max_size=120),
    after_s=st.floats(0.5, 20),
)
def test_an_alarm_is_said_if_and_only_if_the_fault_lasted(seconds: list[str], after_s: float) -> None:
    kinds = {"sound": SOUND[:100], "zeros": ZEROS[:100], "constant": CONSTANT[:100]}
    liveness = Liveness(no_audio_after_s=after_s)
    faulty_for, good_for, alarmed = 0, 0, False
    for number, kind in enumerate(seconds):
        liveness.observe(float(number), kinds[kind])
        if kind == "sound":
            good_for, faulty_for = good_for + 1, 0
        else:
            good_for, faulty_for = 0, faulty_for + 1
        alarmed = alarmed or faulty_for - 1 >= after_s
        if alarmed and good_for == 3:
            alarmed = False
        assert (liveness.problem is not None) == alarmed
        assert (liveness.level_dbfs is not None) == (kind == "sound")


def test_the_level_is_stated_in_dbfs() -> None:
    liveness = Liveness()
    sine = (0.5 * np.sin(2 * np.pi * 100 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    liveness.observe(1.0, sine)
    assert liveness.level_dbfs == pytest.approx(-9.03, abs=0.01)


def hours(floor: NoiseFloor, levels_dbfs: list[float], start_s: float = 0.0) -> float:
    """An hour of two minutes for each level: nine tenths of it louder by what happens in a forest."""
    for level in levels_dbfs:
        for second in range(120):
            start_s += 1.0
            floor.add(start_s, level + (15.0 if second % 5 else 0.0))
    return start_s


def new_floor(file: Path | None = None, microphone: str = "usb:1") -> NoiseFloor:
    return NoiseFloor(deafening_db=20.0, file=file, microphone=microphone, hour_s=120.0)


DAY_AND_NIGHT = [-50.0] * 12 + [-75.0] * 12


def test_quiet_nights_are_no_deafening_and_a_day_far_below_the_first_ones_is() -> None:
    floor = new_floor()
    assert floor.reference_dbfs is None
    now_s = hours(floor, DAY_AND_NIGHT * 10)
    assert not floor.deafening
    assert floor.now_dbfs in (-50.0, -75.0)
    for step in range(10):  # water creeps into the membrane
        now_s = hours(floor, [level - 3.0 * step for level in DAY_AND_NIGHT], now_s)
    assert floor.deafening
    hours(floor, DAY_AND_NIGHT * 2, now_s)
    assert not floor.deafening


def test_deafening_is_a_problem_while_sound_goes_on() -> None:
    floor = new_floor()
    hours(floor, [-40.0] * 72 + [-80.0] * 25)
    liveness = Liveness(noise_floor=floor)
    liveness.observe(1e6, SOUND)
    assert (liveness.state, liveness.problem) == ("healthy", "audio:deafening")


def test_the_first_days_are_remembered_over_restarts_but_not_for_another_microphone(tmp_path: Path) -> None:
    file = tmp_path / "noise_floor.json"
    hours(new_floor(file), [-40.0] * 73)
    again = new_floor(file)
    assert again.reference_dbfs == -40.0
    hours(again, [-80.0] * 25)
    assert new_floor(file).deafening
    assert new_floor(file, microphone="usb:2").reference_dbfs is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"first_days_dbfs": 3, "recent_dbfs": []}', "\0\0\0"])
def test_a_damaged_memory_of_the_floor_is_learnt_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "noise_floor.json"
    file.write_text(text)
    floor = new_floor(file)
    assert floor.reference_dbfs is None
    hours(floor, [-40.0] * 30)
    assert new_floor(file).reference_dbfs == -40.0
