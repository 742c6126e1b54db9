"""What the unit costs: CPU and memory of the daemon and all its children, from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Footprint:
    """CPU between two calls, and memory now. Meant for about one call a minute (a few ms each)."""

    def __init__(
        self,
        pid: int | None = None,
        root: Path = Path("/"),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._proc = root / "proc"
        self._monotonic_s = monotonic_s
        self._last: tuple[float, float] | None = None
        self.cpu_percent()  # the first figure then spans from here

    def cpu_percent(self) -> float | None:
        """CPU of the unit since the last call; 100 is one core. None where /proc does not say."""
        now_s, cpu_s = self._monotonic_s(), self._cpu_s()
        last, self._last = self._last, None if cpu_s is None else (now_s, cpu_s)
        if last is None or cpu_s is None or now_s <= last[0]:
            return None
        # A child that outlives its parent leaves the unit with its time: never below zero.
        return max(0.0, 100 * (cpu_s - last[1]) / (now_s - last[0]))

    def memory_mib(self) -> float | None:
        """Memory of the unit in MiB: proportional set size, so what a child shares with the daemon counts once."""
        sizes = [self._memory_kib(pid) for pid in self._members()]
        known = [size for size in sizes if size is not None]
        return sum(known) / 1024 if known else None

    def _members(self) -> list[int]:
        """The daemon and its living descendants."""
        children: dict[int, list[int]] = {}
        try:
            names = [entry.name for entry in self._proc.iterdir()]
        except OSError:
            return []
        for name in names:
            stat = self._stat(int(name)) if name.isdecimal() else None
            if stat is not None:
                children.setdefault(int(stat[1]), []).append(int(name))
        members, fresh = [], [self._pid]
        while fresh:
            members += fresh
            fresh = [child for pid in fresh for child in children.get(pid, [])]
        return members

    def _cpu_s(self) -> float | None:
        """User and system time of the members, and of their children that have ended (proc(5), stat 14 to 17)."""
        stats = [stat for stat in map(self._stat, self._members()) if stat is not None]
        if not stats:
            return None
        return sum(int(ticks) for stat in stats for ticks in stat[11:15]) / _TICKS_PER_S

    def _stat(self, pid: int) -> list[str] | None:
        """The fields of /proc/PID/stat after the name in parentheses, which may hold anything."""
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # ended meanwhile
            return None
        fields = text.rpartition(")")[2].split()
        return fields if len(fields) > 15 else None

    def _memory_kib(self, pid: int) -> int | None:
        for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
            try:
                text = (self._proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
            except OSError:  # ended meanwhile, or a kernel without smaps
                continue
            for line in text.splitlines():
                if line.startswith(key):
                    return int(line.split()[1])
        return None
