"""CPU and memory of the unit: on this machine's /proc, and on a recorded one."""

import subprocess
import sys
import time
from pathlib import Path

from edge.upkeep.footprint import Footprint
from tests.edge.upkeep.trees import write

ALLOCATE = "import sys; block = b'x' * (40 << 20); print('ready', flush=True); sys.stdin.read()"


def stat(pid: int, parent: int, user: int, system: int, ended_user: int = 0, ended_system: int = 0) -> str:
    name = "a (strange) name"
    return (
        f"{pid} ({name}) S {parent} 1 1 0 -1 4194560 9 8 7 6 {user} {system} {ended_user} {ended_system} 20 0 1 0 1\n"
    )


def test_children_count_with_the_daemon_and_strangers_do_not(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/10/stat": stat(10, 1, 100, 50),
            "proc/10/smaps_rollup": "00400000-7ffe rollup\nRss: 90000 kB\nPss:          51200 kB\nPss_Dirty: 1 kB\n",
            "proc/11/stat": stat(11, 10, 10, 10),
            "proc/11/status": "Name:\tpython\nVmRSS:\t   10240 kB\n",
            "proc/12/stat": stat(12, 11, 1, 1),
            "proc/12/smaps_rollup": "Pss: 1024 kB\n",
            "proc/99/stat": stat(99, 1, 9999, 9999),
            "proc/99/smaps_rollup": "Pss: 999999 kB\n",
            "proc/self/stat": "not a number",
            "proc/uptime": "1 1\n",
        },
    )
    now = [0.0]
    footprint = Footprint(10, root, lambda: now[0])
    assert footprint.memory_mib() == (51200 + 10240 + 1024) / 1024
    now[0] = 10.0
    # 2 s by the daemon, 1 s by a child that has ended and been waited for.
    write(root, {"proc/10/stat": stat(10, 1, 250, 100, 100, 0)})
    assert footprint.cpu_percent() == 30.0


def test_a_child_that_ends_takes_nothing_away(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/10/stat": stat(10, 1, 100, 0), "proc/11/stat": stat(11, 10, 500, 0)})
    now = [0.0]
    footprint = Footprint(10, root, lambda: now[0])
    (root / "proc/11/stat").unlink()
    now[0] = 10.0
    assert footprint.cpu_percent() == 0.0, "not yet waited for: never below zero"


def test_no_proc_says_nothing(tmp_path: Path) -> None:
    footprint = Footprint(10, tmp_path)
    assert footprint.cpu_percent() is None
    assert footprint.memory_mib() is None


def test_real_memory_of_a_real_child_is_counted() -> None:
    footprint = Footprint()
    alone = footprint.memory_mib()
    assert alone is not None
    with subprocess.Popen(
        [sys.executable, "-c", ALLOCATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        both = footprint.memory_mib()
        child.communicate("")
    assert both is not None
    assert 40 < both - alone < 70


def test_real_cpu_is_about_what_was_burnt() -> None:
    footprint = Footprint()
    began, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < 0.5:
        pass
    wall = time.monotonic() - began
    percent = footprint.cpu_percent()
    assert percent is not None
    assert abs(percent * wall / 100 - 0.5) < 0.2
