"""The whole daemon as a process: what the kernel counts of it."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.source import block_s_for
from edge.bench.broker import private_broker
from edge.bench.stages import CAPTURE_RATE_HZ, noise

SETTLE_S = 4.0
"""After the first window: by then the first health message, the dearest, has left."""
LONGEST_START_S = 30.0


class BenchFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """What was to be measured did not work."""


@dataclass(frozen=True)
class Whole:
    """The daemon as a process."""

    cpu_ms_per_audio_s: float
    turns: tuple[float, ...]
    """The same for each turn."""
    rss_mib: float
    first_window_s: float | None
    """None where an energy gate skipped every window unsaid."""
    mqtt_connected: bool


def daemon_cost(
    folder: Path,
    model: Path,
    hop_s: float,
    seconds: float,
    overrides: dict[str, Any] | None = None,
    meanwhile: Callable[[float], object] = time.sleep,
    turns: int = 1,
    sound: NDArray[np.float32] | None = None,
) -> Whole:
    """Run the daemon on 48 kHz sound at the speed of sound and read what the kernel counted.

    The sound comes through a pipe, in blocks as long as a microphone's: reading a file costs the daemon more than
    PortAudio's callback does, and a sound server's client library more than all of the daemon.

    ``meanwhile(seconds)`` lasts as long as what is measured, in each of the ``turns`` into which it is divided.
    ``sound``: what it hears, again and again, float32 [n] at 48 kHz; None: noise.

    Raises:
        BenchFailed: the daemon did not last; the text ends with its log.
    """
    with private_broker(folder) as port:
        tree: dict[str, Any] = {
            "state_dir": str(folder / "state"),
            "audio": {"source": "stdin", "sample_rate_hz": CAPTURE_RATE_HZ},
            "detection": {"model": str(model), "hop_s": hop_s},
            "mqtt": {"host": "127.0.0.1", "port": port or 1},
            **(overrides or {}),
        }
        config = folder / "edge.yaml"
        config.write_text(json.dumps(tree))  # JSON is YAML
        log = folder / "daemon.log"
        with log.open("w") as errors:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", str(config)],
                stdin=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
            )
        heard = noise(CAPTURE_RATE_HZ, 20.0) if sound is None else sound
        threading.Thread(target=_feed, args=(daemon, block_s_for(hop_s), heard), daemon=True).start()
        try:
            _await_first_window(daemon, log)
            time.sleep(SETTLE_S)
            _must_run(daemon, log)
            marks = [(cpu_s(daemon.pid), time.monotonic())]
            for _ in range(turns):
                meanwhile(seconds / turns)
                _must_run(daemon, log)
                marks.append((cpu_s(daemon.pid), time.monotonic()))
            resident_mib = rss_mib(daemon.pid)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=15)
    text = log.read_text()
    first = re.search(r"first window scored ([0-9.]+) s", text)
    first_s = float(first[1]) if first else None
    connected = port is not None and "New client connected" in (folder / "mosquitto.log").read_text()
    costs = tuple(_ms_per_s(before, after) for before, after in pairwise(marks))
    return Whole(_ms_per_s(marks[0], marks[-1]), costs, resident_mib, first_s, connected)


def _ms_per_s(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[0] - before[0]) * 1e3 / (after[1] - before[1])


def _feed(daemon: "subprocess.Popen[bytes]", block_s: float, heard: NDArray[np.float32]) -> None:
    """``heard`` into the daemon's standard input, at the speed of sound, until it ends."""
    assert daemon.stdin is not None
    block = round(block_s * CAPTURE_RATE_HZ)
    sound = (heard * 32_767).clip(-32_768, 32_767).astype("<i2")
    blocks = [sound[start : start + block].tobytes() for start in range(0, len(sound) - block + 1, block)]
    due_s = time.monotonic()
    with suppress(OSError, ValueError):
        for some in itertools.cycle(blocks):
            daemon.stdin.write(some)
            daemon.stdin.flush()
            due_s = max(due_s + block_s, time.monotonic())  # what a daemon that still starts has missed is gone
            time.sleep(max(0.0, due_s - time.monotonic()))


def _await_first_window(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    """A busy machine takes its time to start; what that costs is not part of listening."""
    until_s = time.monotonic() + LONGEST_START_S
    while daemon.poll() is None and "first window scored" not in log.read_text() and time.monotonic() < until_s:
        time.sleep(0.1)


def _must_run(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    if daemon.poll() is not None:
        raise BenchFailed(f"the daemon ended with exit code {daemon.returncode}:\n{log.read_text()[-2000:].strip()}")


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process. From ``schedstat``, in nanoseconds: ``stat`` counts in steps of 10 ms,
    too coarse for a daemon that needs 3 ms a second."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mib(pid: int) -> float:
    """Resident memory of a process and its children, shared pages counted in each (so never too little).

    Raises:
        OSError: one of them has ended meanwhile.
    """
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), None)
    if own is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return own / 1024 + sum(rss_mib(int(child)) for child in children)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
