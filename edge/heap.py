"""The heap of a process that runs for months: what is freed goes back to the system.

glibc learns from the first large block that is freed to keep such blocks (its mmap threshold moves up to 32 MiB), and
gives each thread a heap of its own. Beside clips of megabytes that is a few MiB more with every hundred clips.
Fixing the thresholds switches the learning off (mallopt(3)). Blocks of 128 KiB and more are then mapped and unmapped:
nothing that is heard hop by hop is that large.

A daemon that wakes four times a second finds everything cold, the addresses too: of the memory that a hop touches,
each page of 4 KiB must be looked up first. On large pages there are few.
"""

import ctypes
import gc
import mmap
from pathlib import Path

# malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_THRESHOLD_BYTES = 128 * 1024
_ARENAS = 2
_MADV_COLLAPSE = 25
"""madvise(2), since Linux 6.1."""
FULL = 0.8
"""Of memory on large pages so much is in use, at least."""


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
    _lay_on_large_pages()


def unsettle() -> None:
    """At the end: else soxr finds at the exit what nobody collected, and says so at length."""
    gc.unfreeze()


def _lay_on_large_pages() -> None:
    """Ask the kernel to put what lies together on large pages. An older kernel, or one whose large pages are larger
    than anything here (with pages of 16 KiB: 32 MiB), changes nothing."""
    large = mmap.PAGESIZE * mmap.PAGESIZE // 8  # what one page of addresses, eight bytes each, leads to
    try:
        madvise = ctypes.CDLL(None).madvise
        spans = full_spans(Path("/proc/self/smaps").read_text())
    except (OSError, AttributeError):
        return
    for start, stop in spans:
        first, last = -(-start // large) * large, stop // large * large
        if first < last:
            madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_COLLAPSE)


def full_spans(smaps: str) -> list[tuple[int, int]]:
    """Addresses of memory that belongs to no file and of which nearly all is in use, from ``smaps`` (proc(5)).

    A large page is memory as a whole: the stack of a thread, of which little is ever used, would fill up.
    """
    found = []
    span = (0, 0)
    for line in smaps.splitlines():
        name, *fields = line.split()
        if not name.endswith(":"):
            start, stop = name.split("-")
            ours = fields[0].startswith("rw") and fields[4:] in ([], ["[heap]"])
            span = (int(start, 16), int(stop, 16)) if ours else (0, 0)
        elif name == "Rss:" and 1024 * int(fields[0]) > FULL * (span[1] - span[0]) > 0:
            found.append(span)
    return found
