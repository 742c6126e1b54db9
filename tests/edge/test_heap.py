"""Which memory is laid on large pages, on the map of a real daemon and on this process."""

from edge import heap

SMAPS = """\
55d111ef2000-55d112bb2000 rw-p 00000000 00:00 0                          [heap]
Size:              13056 kB
KernelPageSize:        4 kB
Rss:               13048 kB
VmFlags: rd wr mr mw me ac
7f78b26fe000-7f78b2a00000 rw-p 00000000 00:00 0
Size:               3080 kB
Rss:                3080 kB
VmFlags: rd wr mr mw me ac
7f78b92a0000-7f78b9b0c000 rw-p 00000000 00:00 0
Size:               8624 kB
Rss:                1392 kB
VmFlags: rd wr mr mw me ac
7f78c842b000-7f78c8bb2000 r-xp 0002b000 fe:00 3588761                    /usr/lib/python3/a library.so
Size:               7708 kB
Rss:                7708 kB
VmFlags: rd ex mr mw me
7ffc1c4e0000-7ffc1c501000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
Rss:                 132 kB
VmFlags: rd wr mr mw me gd ac
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Size:                  4 kB
Rss:                   0 kB
"""


def test_full_memory_of_our_own_is_laid_on_large_pages_and_no_stack_or_library() -> None:
    assert heap.full_spans(SMAPS) == [(0x55D111EF2000, 0x55D112BB2000), (0x7F78B26FE000, 0x7F78B2A00000)]


def test_what_lives_survives_being_settled() -> None:
    kept = [bytes([number]) * 300_000 for number in range(30)]
    heap.settle()
    try:
        assert all(one == bytes([number]) * 300_000 for number, one in enumerate(kept))
    finally:
        heap.unsettle()
