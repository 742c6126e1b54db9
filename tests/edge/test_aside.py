"""Tasks in forked children."""

import os
import signal
import time

import pytest

from edge.aside import aside


class TroubleError(RuntimeError):
    pass


def test_what_a_task_says_comes_back_and_what_it_does_to_its_memory_does_not() -> None:
    changed: list[str] = []

    def task() -> str:
        changed.append("in the child")
        return "é" * 100_000  # more than a pipe holds

    assert aside(task, TroubleError, 60.0) == "é" * 100_000
    assert changed == []


@pytest.mark.parametrize("raised", [TroubleError("the disk is round"), OSError(28, "the disk is round")])
def test_what_can_be_expected_is_raised_as_the_failure_that_was_named(raised: Exception) -> None:
    def task() -> str:
        raise raised

    with pytest.raises(TroubleError, match="the disk is round"):
        aside(task, TroubleError, 60.0)


def test_a_fault_is_not_mistaken_for_a_failure() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        aside(lambda: str(1 // 0), TroubleError, 60.0)
    assert not isinstance(caught.value, TroubleError)


def test_a_task_that_hangs_or_is_killed_is_a_failure() -> None:
    def hangs() -> str:
        time.sleep(600)
        return ""

    def killed() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    with pytest.raises(TroubleError, match="not done in time"):
        aside(hangs, TroubleError, 0.2)
    with pytest.raises(TroubleError, match="killed by signal 9"):
        aside(killed, TroubleError, 60.0)
