import pytest

from edge.updates.fetching.light_tuf import exceptions
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace


class At:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> At:
    return At()


@pytest.fixture
def pace(clock: At) -> Pace:
    return Pace(Limits(), total_s=600, now_s=clock)


def test_fifty_bytes_a_second_are_enough_and_less_are_not(pace: Pace, clock: At) -> None:
    pace.begin()
    for _ in range(4):
        clock.now_s += 30
        pace.took(1500)
    clock.now_s += 30
    pace.took(1500)
    clock.now_s += 30
    with pytest.raises(exceptions.SlowRetrievalError, match="49 bytes per second"):
        pace.took(1440)


def test_a_fast_beginning_does_not_pay_for_a_slow_end(pace: Pace, clock: At) -> None:
    pace.begin()
    clock.now_s += 60
    pace.took(10_000_000)
    clock.now_s += 60
    with pytest.raises(exceptions.SlowRetrievalError):
        pace.took(100)


def test_what_is_not_the_network_takes_its_time(pace: Pace, clock: At) -> None:
    pace.begin()
    pace.end()
    clock.now_s += 300
    pace.check()


def test_the_deadline_is_one_for_everything_and_said_once(pace: Pace, clock: At) -> None:
    pace.begin()
    pace.took(1_000_000)
    clock.now_s += 601
    with pytest.raises(exceptions.SlowRetrievalError, match="download_timeout_s = 600"):
        pace.took(1_000_000)
    pace.end()
    pace.check()


def test_a_signal_breaks_off_only_what_waits_for_the_network(pace: Pace, clock: At) -> None:
    pace.begin()
    clock.now_s += 61
    pace.check_waiting()
    pace.waiting = True
    with pytest.raises(exceptions.SlowRetrievalError):
        pace.check_waiting()
