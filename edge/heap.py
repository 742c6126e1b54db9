"""The heap of a process that runs for months: what is freed goes back to the system.

glibc learns from the first large block that is freed to keep such blocks (its mmap threshold moves up to 32 MiB), and
gives each thread a heap of its own. Beside clips of megabytes that is a few MiB more with every hundred clips.
Fixing the thresholds switches the learning off (mallopt(3)). Blocks of 128 KiB and more are then mapped and unmapped:
nothing that is heard hop by hop is that large.
"""

import ctypes
import gc

# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_THRESHOLD_BYTES = 128 * 1024
_ARENAS = 2


def keep_small() -> None:
    """Before the first thread is started. Without glibc (musl has no such ways) nothing is done."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)


def settle() -> None:
    """What lives now lives for months: take it out of the garbage collector's sight. It looks at everything only
    when a quarter as much again has gathered, and beside all that was imported that would be megabytes."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def unsettle() -> None:
    """At the end: else soxr finds at the exit what nobody collected, and says so at length."""
    gc.unfreeze()
