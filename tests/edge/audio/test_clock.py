from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio.clock import BUCKETS_KEPT, Clock
from edge.audio.system_time import TIMESYNC_FLAG, SystemTime

RATE_HZ = 48_000
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FakeTime:
    """A machine's clocks, as strict as the kernel: boot time only goes forward."""

    def __init__(self, utc: datetime = NOON, boot_s: float = 1000.0, synchronised: bool = False) -> None:
        self._boot_s = boot_s
        self._offset_s = utc.timestamp() - boot_s
        self.is_synchronised = synchronised
        self.boot = "0c6f5f5e-9bb3-4c31-9f2e-5d0f2b0b9d11"

    def utc_s(self) -> float:
        return self._boot_s + self._offset_s

    def boot_s(self) -> float:
        return self._boot_s

    def synchronised(self) -> bool:
        return self.is_synchronised

    def boot_id(self) -> str:
        return self.boot

    def advance(self, seconds: float) -> None:
        assert seconds >= 0
        self._boot_s += seconds

    def step(self, seconds: float) -> None:
        self._offset_s += seconds


def listen(clock: Clock, machine: FakeTime, seconds: float, rate_hz: float = RATE_HZ, start: int = 0) -> int:
    """Blocks of 0.1 s from a card that really runs at ``rate_hz``; the index reached."""
    index = start
    for _ in range(round(seconds * 10)):
        machine.advance(0.1)
        index += round(0.1 * rate_hz)
        clock.observe(index, machine.boot_s())
    return index


def test_a_frame_has_the_time_at_which_it_sounded() -> None:
    machine = FakeTime(synchronised=True)
    clock = Clock(RATE_HZ, machine)
    listen(clock, machine, 5.0)
    moment = clock.moment(RATE_HZ * 2)
    assert moment.utc == NOON + timedelta(seconds=2)
    assert moment.boot_s == pytest.approx(1002.0)
    assert (moment.sample, moment.clock_synchronised, moment.clock_epoch) == (2 * RATE_HZ, True, 1)
    assert moment.boot_id == machine.boot


@settings(max_examples=60, deadline=None)
@given(
    late_s=st.lists(st.floats(0, 0.4), min_size=20, max_size=400),
    ppm=st.floats(-150, 150),
    gaps=st.dictionaries(st.integers(0, 300), st.integers(1, 10 * RATE_HZ), max_size=3),
)
def test_late_reports_never_bend_the_mapping_and_time_never_runs_backwards(
    late_s: list[float], ppm: float, gaps: dict[int, int]
) -> None:
    clock = Clock(RATE_HZ, FakeTime())
    true_rate_hz = RATE_HZ * (1 + ppm * 1e-6)
    index, truth = 0, []
    for number, late in enumerate([*late_s, 0.0]):
        index += 4800 + gaps.get(number, 0)
        truth.append((index, 1000.0 + index / true_rate_hz))
        # One report in ten is in time, as with a real scheduler.
        clock.observe(index, truth[-1][1] + (0.0 if number % 10 == 0 else late))
    mapped = [clock.boot_s_of(i) for i, _ in truth]
    assert all(later > earlier for earlier, later in pairwise(mapped))
    for (_, boot_s), guess_s in zip(truth, mapped, strict=True):
        # Ten seconds of a bucket at 150 ppm are 1.5 ms; a gap stretches them.
        assert guess_s == pytest.approx(boot_s, abs=0.02)


@pytest.mark.parametrize("ppm", [-80.0, 0.0, 35.0])
def test_drift_is_known_to_a_few_ppm_in_spite_of_jitter_and_a_bad_gap(ppm: float) -> None:
    clock = Clock(RATE_HZ, FakeTime())
    rng = np.random.default_rng(5)
    index, extra = 0, 0
    for number in range(12_000):  # 20 minutes of 0.1 s
        index += 4800
        if number == 9_000:
            extra = 4800  # the estimate of a gap was 100 ms too long
        clock.observe(index + extra, 1000.0 + index / (RATE_HZ * (1 + ppm * 1e-6)) + rng.exponential(0.01))
    assert clock.drift_ppm == pytest.approx(ppm, abs=3)


def test_drift_is_unknown_in_the_first_minute_and_for_recordings_played_fast() -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    listen(clock, machine, 50)
    assert clock.drift_ppm is None
    fast = Clock(RATE_HZ, machine)
    for index in range(0, RATE_HZ * 4000, RATE_HZ):
        machine.advance(0.02)
        fast.observe(index, machine.boot_s())
    assert fast.drift_ppm is None


def test_a_day_of_listening_keeps_an_hour_of_points() -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    index = 0
    for _ in range(24 * 3600):
        machine.advance(1.0)
        index += RATE_HZ
        clock.observe(index, machine.boot_s())
    assert len(clock._points) == BUCKETS_KEPT
    assert clock.boot_s_of(index) == pytest.approx(machine.boot_s())


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1), timedelta(seconds=0.6)])
def test_a_stepped_clock_moves_no_index_and_starts_a_new_epoch(step: timedelta) -> None:
    machine = FakeTime(synchronised=True)
    clock = Clock(RATE_HZ, machine)
    end = listen(clock, machine, 20)
    before = clock.moment(end)
    assert not clock.poll()
    machine.step(step.total_seconds())
    assert clock.poll()
    assert not clock.poll()
    after = clock.moment(end)
    assert (after.boot_s, after.sample) == (before.boot_s, before.sample)
    assert after.clock_epoch == before.clock_epoch + 1
    assert after.utc - before.utc == step


def test_the_first_synchronisation_corrects_what_was_said_before_it_by_years() -> None:
    machine = FakeTime(utc=datetime(1970, 1, 1, 0, 0, 40, tzinfo=UTC), boot_s=40.0)
    clock = Clock(RATE_HZ, machine)
    end = listen(clock, machine, 60)
    said = clock.moment(end - RATE_HZ)
    assert (said.utc.year, said.clock_synchronised, said.clock_epoch) == (1970, False, 0)
    machine.step(NOON.timestamp() - machine.utc_s())
    machine.is_synchronised = True
    assert clock.poll()
    corrected = clock.correct(said)
    assert corrected.utc == NOON - timedelta(seconds=1)
    assert (corrected.clock_synchronised, corrected.clock_epoch) == (True, 1)
    assert (corrected.boot_s, corrected.sample) == (said.boot_s, said.sample)
    assert clock.correct(corrected) == corrected


def test_synchronisation_without_a_step_is_a_new_epoch_too_and_only_once() -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    machine.is_synchronised = True
    assert clock.poll()
    machine.is_synchronised = False  # the network went away for days
    assert not clock.poll()
    assert not clock.now().clock_synchronised
    machine.is_synchronised = True
    assert not clock.poll()
    assert clock.epoch == 1


def test_slewing_is_followed_without_a_new_epoch() -> None:
    machine = FakeTime(synchronised=True)
    clock = Clock(RATE_HZ, machine)
    for _ in range(3000):  # an hour at NTP's 500 ppm: 1.5 s in all
        machine.advance(1.0)
        machine.step(0.0005)
        assert not clock.poll()
    assert clock.now().utc.timestamp() == pytest.approx(machine.utc_s(), abs=1e-3)


def test_a_moment_of_another_boot_cannot_be_corrected() -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    earlier = clock.now().model_copy(update={"boot_id": "another"})
    machine.step(86_400)
    clock.poll()
    assert clock.correct(earlier) == earlier


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 5000), st.floats(-1e8, 1e8), st.booleans()), max_size=12))
def test_whatever_the_wall_clock_does_epochs_rise_and_boot_time_holds(steps: list[tuple[float, float, bool]]) -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    said = clock.now()
    for advance_s, step_s, synchronised in steps:
        machine.advance(advance_s)
        machine.step(step_s)
        machine.is_synchronised = synchronised
        epoch = clock.epoch
        changed = clock.poll()
        assert clock.epoch == epoch + changed
        assert changed or abs(step_s) <= 0.5001
        corrected = clock.correct(said)
        assert corrected.boot_s == said.boot_s
        expected_s = machine.utc_s() - machine.boot_s() + said.boot_s
        assert corrected.utc.timestamp() == pytest.approx(expected_s, abs=1e-3)


def test_sound_lost_unnoticed_shows_as_a_slip() -> None:
    machine = FakeTime()
    clock = Clock(RATE_HZ, machine)
    end = listen(clock, machine, 45)
    assert clock.slip_s() == pytest.approx(0, abs=1e-3)
    machine.advance(0.7)  # the card went on, its frames did not come
    listen(clock, machine, 21, start=end)
    assert clock.slip_s() == pytest.approx(0.7, abs=0.02)


def test_the_machine_is_asked_as_its_manual_says(tmp_path: Path) -> None:
    machine = SystemTime()
    assert 0 < machine.boot_s() <= machine.boot_s()
    assert machine.utc_s() == pytest.approx(datetime.now(UTC).timestamp(), abs=1)
    assert len(machine.boot_id()) == 36
    assert SystemTime(tmp_path).boot_id() == ""
    (tmp_path / TIMESYNC_FLAG).parent.mkdir(parents=True)
    (tmp_path / TIMESYNC_FLAG).touch()
    assert SystemTime(tmp_path).synchronised()


@pytest.mark.parametrize(("state", "status", "expected"), [(0, 0x2001, True), (5, 0x2041, False), (0, 0x41, False)])
def test_the_kernels_flag_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: int, status: int, expected: bool
) -> None:
    class Libc:
        @staticmethod
        def adjtimex(timex: object) -> int:
            timex._obj.status = status  # type: ignore[attr-defined]
            return state

    monkeypatch.setattr("edge.audio.system_time._libc", Libc)
    assert SystemTime(tmp_path).synchronised() is expected


def test_a_refused_question_to_the_kernel_means_not_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Libc:
        @staticmethod
        def adjtimex(timex: object) -> int:
            return -1  # EPERM under ProtectClock=yes

    monkeypatch.setattr("edge.audio.system_time._libc", Libc)
    assert not SystemTime(tmp_path).synchronised()
