"""One function over many things, on several processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interrupting import may_be_interrupted
from trainer.processes import Failure, WorkerDied, over_processes


def square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    return number * number


def square_or_die(number: int) -> int:
    if number in (3, 17):
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * number


def threads_allowed(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"] + os.environ["OPENBLAS_NUM_THREADS"]


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_an_error_in_the_place_of_its_result(processes: int) -> None:
    found = dict(over_processes(square, range(30), processes))
    assert list(found) == list(range(30))
    assert isinstance(found[13], Failure) and isinstance(found[13].error, ValueError)
    assert all(found[n] == n * n for n in range(30) if n != 13)


def test_a_worker_that_dies_costs_the_one_thing_that_killed_it() -> None:
    found = dict(over_processes(square_or_die, range(30), 2))
    dead = [number for number, outcome in found.items() if isinstance(outcome, Failure)]
    assert dead == [3, 17]
    assert all(isinstance(found[n].error, WorkerDied) for n in dead)  # type: ignore[union-attr]
    assert all(found[n] == n * n for n in range(30) if n not in dead)


def test_few_things_are_taken_ahead() -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    outcomes = over_processes(square, numbers(), 2)
    assert next(outcomes) == (0, 0)
    assert taken <= 10
    outcomes.close()  # type: ignore[attr-defined]


def test_a_worker_has_one_thread_and_the_environment_stays_as_it_was() -> None:
    before = dict(os.environ)
    assert {outcome for _, outcome in over_processes(threads_allowed, range(4), 2)} == {"11"}
    assert dict(os.environ) == before


ENDLESS = """
import os, sys, time
from pathlib import Path
from trainer.processes import over_processes

def work(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    list(over_processes(work, [sys.argv[1]] * 4, 2))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_whoever_started_it(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    pids = tmp_path / "pids"
    pids.mkdir()
    process = subprocess.Popen(
        [sys.executable, script, pids],
        stderr=subprocess.DEVNULL,
        env=_with_the_project(),
        preexec_fn=may_be_interrupted,
    )
    _until(lambda: len(list(pids.iterdir())) == 2)
    process.send_signal(number)
    process.wait(20)
    _until(lambda: not any(_runs(int(path.name)) for path in pids.iterdir()))


def _with_the_project() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(true: object) -> None:
    deadline_s = time.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


INTERRUPTED = """
import os, signal, sys, threading, time
from trainer.processes import over_processes
def work(number):
    time.sleep(600)
if __name__ == "__main__":
    # As a terminal does it: the whole group, while the workers are still being started.
    threading.Timer(float(sys.argv[1]), os.killpg, (os.getpgid(0), signal.SIGINT)).start()
    try:
        list(over_processes(work, range(4), 2))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("after_s", [0.02, 0.05, 0.1])
def test_ctrl_c_leaves_no_traceback_of_workers_that_were_just_beginning(tmp_path: Path, after_s: float) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, script, str(after_s)],
        capture_output=True,
        text=True,
        env=_with_the_project(),
        start_new_session=True,
    )
    assert done.stdout == "interrupted\n", done.stderr
    assert "Traceback" not in done.stderr
