"""Whether a new program is well, and the units that run it. For root's updater.

Well is what stays up: the same process for the whole probation, which says itself that it hears and scores. What the
daemon says stands in ``health.json`` in its runtime directory (memory, not the card).
"""

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from edge.delivery.messages import Health
from edge.updates.program.signed_copy import open_beneath

LOOK_S = 5.0
WELL_S = 120.0
"""A start that has lasted this long was no failure; the next one begins to count anew."""
MOST_STARTS = 10
"""…but a program that needs more than these to get through its probation is not well either."""
PATIENCE_S = 86_400.0
"""Beside the probation: a unit that somebody has stopped does not keep a trial open for ever."""
LARGEST_HEALTH_BYTES = 100_000
SYSTEMCTL_S = 60.0
HEALTH_AGE_S = 300.0


class Units(Protocol):
    """The detector's units, as the service manager knows them."""

    def running(self) -> list[str]:
        """Names of those that run, or try to."""

    def pid(self, unit: str) -> int | None:
        """Its process, where it is up and has said that it is ready."""

    def environment(self, unit: str) -> str | None:
        """The path of the Python that its process runs with; None where there is no process."""

    def restart(self, unit: str) -> None:
        """Begin to; comes back at once."""

    def health(self, unit: str) -> Health | None:
        """The newest that its process has said of itself."""


class Systemd:
    """Units over ``systemctl``."""

    def running(self) -> list[str]:
        said = self._ask(
            "list-units", "--plain", "--no-legend", "--state=active,activating", "ecosight-edge*.service"
        ).splitlines()
        return [line.split()[0] for line in said if line.strip()]

    def pid(self, unit: str) -> int | None:
        said = dict(line.partition("=")[::2] for line in self._show(unit).splitlines())
        return int(said["MainPID"]) if said.get("ActiveState") == "active" and said.get("MainPID", "0") != "0" else None

    def environment(self, unit: str) -> str | None:
        said = dict(line.partition("=")[::2] for line in self._show(unit).splitlines())
        try:
            return os.fsdecode(Path(f"/proc/{int(said['MainPID'])}/cmdline").read_bytes().split(b"\0")[0])
        except (OSError, KeyError, ValueError):
            return None

    def restart(self, unit: str) -> None:
        self._ask("restart", "--no-block", unit)

    def health(self, unit: str) -> Health | None:
        name = unit.removesuffix(".service").replace("@", "-")
        return read_health(Path("/run") / name / "health.json")

    def _show(self, unit: str) -> str:
        return self._ask("show", "--property=MainPID,ActiveState", unit)

    def _ask(self, *arguments: str) -> str:
        command = ["systemctl", "--no-pager", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SYSTEMCTL_S)
        return done.stdout


def read_health(path: Path) -> Health | None:
    """What a daemon wrote; nothing where it is absent, strange or too large: the file is the daemon's, not ours."""
    try:
        descriptor = open_beneath(path.parent, path.name)
    except OSError:
        return None
    try:
        if time.time() - os.fstat(descriptor).st_mtime > HEALTH_AGE_S:
            return None
        return Health.model_validate_json(os.read(descriptor, LARGEST_HEALTH_BYTES))
    except (OSError, ValidationError):
        return None
    finally:
        os.close(descriptor)


def slot_of(python: str | None) -> str | None:
    """``/opt/ecosight/b/bin/python`` → ``b``."""
    found = re.search(r"/opt/ecosight/([ab])/bin/python", python or "")
    return found[1] if found else None


@dataclass
class Watch:
    """One probation, looked at every few seconds. ``look`` says how it ended, once it has."""

    units: Units
    probation_s: float
    deaf_before: bool
    """The program before heard nothing either: that is not held against the new one."""
    version: str
    """Of the program that is to run."""
    was_well: Callable[[], None]
    """Called once for each process that has lasted `WELL_S`."""
    monotonic_s: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[int, float]] = field(default_factory=dict)
    _windows: dict[str, tuple[int, int]] = field(default_factory=dict)
    _well: set[int] = field(default_factory=set)
    _pids: set[int] = field(default_factory=set)
    _began_s: float | None = None

    def look(self) -> str | None:
        """None: not over yet. Empty: it is well. Otherwise why it is not."""
        now_s = self.monotonic_s()
        if self._began_s is None:
            self._began_s = now_s
        if now_s - self._began_s > self.probation_s + PATIENCE_S:
            return f"it was not up for {self.probation_s:g} s without a break within a day"
        names = self.units.running() or list(self._since)
        if not names:
            return None
        shortest_s = min(self._up_s(unit, now_s) for unit in names)
        if len(self._pids) > MOST_STARTS * len(names):
            return f"it was started more than {MOST_STARTS} times"
        fresh = {pid for pid, _ in self._since.values()} - self._well
        if fresh and shortest_s >= min(WELL_S, self.probation_s):
            self._well |= fresh
            self.was_well()
        if shortest_s < self.probation_s:
            return None
        return "; ".join(filter(None, map(self._complaint, names)))

    def _up_s(self, unit: str, now_s: float) -> float:
        pid = self.units.pid(unit)
        if pid is None:
            self._since.pop(unit, None)
            return -1.0
        known = self._since.get(unit)
        if known is None or known[0] != pid:
            known = self._since[unit] = (pid, now_s)
            self._pids.add(pid)
        health = self.units.health(unit)
        first = self._windows.get(unit)
        if health is not None and (first is None or first[0] != pid):
            self._windows[unit] = (pid, health.windows)
        return now_s - known[1]

    def _complaint(self, unit: str) -> str:
        health = self.units.health(unit)
        if health is None:
            return f"{unit} says nothing of its health"
        if health.version != self.version:
            return f"{unit} runs {health.version}, not {self.version}"
        if health.state == "no_audio" and not self.deaf_before:
            return f"{unit} hears nothing: {', '.join(health.problems)}"
        pid, windows = self._windows.get(unit, (0, 0))
        gated = health.windows_gated or 0
        if not self.deaf_before and pid and self.probation_s > HEALTH_AGE_S and health.windows + gated <= windows:
            return f"{unit} scores no windows"
        return ""
