"""What the kernel knows about time: wall clock, time since boot, and whether the wall clock was set from outside."""

import ctypes
import time
from functools import cache
from pathlib import Path

TIMESYNC_FLAG = "run/systemd/timesync/synchronized"
"""systemd-timesyncd touches it at the first synchronisation of a boot (systemd-timesyncd.service(8))."""
STA_UNSYNC = 0x0040
TIME_ERROR = 5
"""``adjtimex(2)``: status bit and return value of a clock that nobody keeps."""


class _Timex(ctypes.Structure):
    """``struct timex`` of 64-bit Linux (include/uapi/linux/timex.h), up to the field that we read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_char * 256),
    )


class SystemTime:
    """The machine's clocks. ``root`` is for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def utc_s(self) -> float:
        """Seconds since 1970, as the wall clock says."""
        return time.time()

    def boot_s(self) -> float:
        """Seconds since boot, suspension included; never stepped, never slewed by more than NTP's rate."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def synchronised(self) -> bool:
        """Whether the wall clock was set from outside in this boot.

        The kernel's own flag holds for chrony, ntpd and timesyncd. A unit with ``ProtectClock=yes`` may not
        ask the kernel; timesyncd's file then speaks alone.
        """
        return (self._root / TIMESYNC_FLAG).exists() or _kernel_synchronised()

    def boot_id(self) -> str:
        """Changes at each boot; empty where the kernel does not say."""
        try:
            return (self._root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""


def _kernel_synchronised() -> bool:
    timex = _Timex()  # modes 0: read only, no privilege needed
    state: int = _libc().adjtimex(ctypes.byref(timex))
    return 0 <= state != TIME_ERROR and not timex.status & STA_UNSYNC


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
