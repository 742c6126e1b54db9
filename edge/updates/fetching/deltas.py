"""Byte-level deltas between model files, in the format of bsdiff (Percival, "Naive differences of executable code").

The trainer makes them at publishing with bsdiff4, the device applies them with what Python has. Measured on models of
this project, in bytes on the air (``docs/adr/0017-over-the-air.md``): the same backbone with another head 0.17 of the
file, a changed backbone no gain over the compressed file, 0.8. zstd's patch-from gives 8 % less than bsdiff, for
a library of 24 MB. A delta from nothing is the compressed file: a device that has nothing to start from saves a fifth.

What was made is never believed: a delta is a signed target, and its result must have the digest of the signed model.

The file: ``BSDIFF40``; the lengths of the two compressed blocks that follow and of the new file; control, differences
and new bytes, each compressed by bzip2. A control triple (add, insert, seek) says: add so many differences to the old
bytes from here on, then insert so many new bytes, then move on in the old file. Integers have 8 bytes, little-endian,
the topmost bit is the sign.
"""

import bz2
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NOTHING = hashlib.sha256(b"").hexdigest()
"""The digest of the file that every device has."""
WORTHWHILE = 0.9
"""A delta longer than this share of the file is not worth a second request."""

_HEADER = struct.Struct("<8sQQQ")
_MAGIC = b"BSDIFF40"
_TRIPLE_BYTES = 24
_MOST_CONTROL_BYTES = 1 << 22
_CHUNK_BYTES = 65_536
_SIGN = 1 << 63


class DeltaError(ValueError):
    """It is no delta, or not for this file."""


def make(old: bytes, new: bytes) -> bytes | None:
    """What leads from ``old`` (empty: from nothing) to ``new``; None where it does not pay.

    Takes some 17 times the length of ``old`` in memory: for the maintainer's machine.
    """
    import bsdiff4

    delta: bytes = bsdiff4.diff(old, new)
    return delta if len(delta) < WORTHWHILE * len(new) else None


def apply(old: Path | None, delta: Path, new: Path, length: int) -> None:
    """Write the new file, of which the caller checks the digest. In little memory: bzip2's 4 MiB and the new bytes.

    Args:
        old: The file to start from; None: nothing.
        length: Of the new file in bytes, as it was signed: nothing larger is written.

    Raises:
        DeltaError: the text says what is wrong.
        OSError: a file cannot be read or written.
    """
    with delta.open("rb") as patch, new.open("wb") as out, (old or Path("/dev/null")).open("rb") as start:
        try:
            for piece in _pieces(patch, start, length):
                out.write(piece)
        except (EOFError, struct.error) as error:
            raise DeltaError(f"it cannot be applied: {error}") from error


def _pieces(patch: BinaryIO, start: BinaryIO, length: int) -> Iterator[bytes]:
    magic, control_bytes, difference_bytes, new_length = _HEADER.unpack(patch.read(_HEADER.size))
    if magic != _MAGIC:
        raise DeltaError("it does not begin with BSDIFF40")
    if new_length != length:
        raise DeltaError(f"it makes {new_length} bytes, and the file has {length}")
    if _HEADER.size + control_bytes + difference_bytes > patch.seek(0, 2):
        raise DeltaError("it ends too early")
    control = _Block(patch, _HEADER.size, control_bytes).rest(_MOST_CONTROL_BYTES)
    inserted = _Block(patch, _HEADER.size + control_bytes + difference_bytes, None).rest(length)
    differences = _Block(patch, _HEADER.size + control_bytes, difference_bytes)
    old_length = start.seek(0, 2)
    position, done, insert_from = 0, 0, 0
    for offset in range(0, len(control), _TRIPLE_BYTES):
        add, insert, seek = (_signed(value) for value in struct.unpack_from("<QQQ", control, offset))
        if add < 0 or insert < 0 or done + add + insert > length:
            raise DeltaError("it makes more than it says")
        for at in range(0, add, _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, add - at)
            yield _sum(_old(start, old_length, position + at, count), differences.take(count))
        yield inserted[insert_from : insert_from + insert]
        insert_from += insert
        position += add + seek
        done += add + insert
    if done != length or insert_from > len(inserted):
        raise DeltaError(f"it makes {done} of {length} bytes")


class _Block:
    """One compressed part of a delta."""

    def __init__(self, file: BinaryIO, start: int, size_bytes: int | None) -> None:
        self._file = file
        self._next = start
        self._end = None if size_bytes is None else start + size_bytes
        self._decompressor = bz2.BZ2Decompressor()

    def take(self, count: int) -> bytes:
        """So many bytes. Raises DeltaError: they are not there."""
        content = self._some(count)
        if len(content) != count:
            raise DeltaError("it ends too early")
        return content

    def rest(self, most: int) -> bytes:
        """All of it. Raises DeltaError: more than ``most`` bytes."""
        content = self._some(most + 1)
        if len(content) > most:
            raise DeltaError(f"a part of it holds more than {most} bytes")
        return content

    def _some(self, count: int) -> bytes:
        content = bytearray()
        try:
            while len(content) < count and not self._decompressor.eof:
                some = b""
                if self._decompressor.needs_input:
                    self._file.seek(self._next)
                    left = _CHUNK_BYTES if self._end is None else self._end - self._next
                    some = self._file.read(max(0, min(_CHUNK_BYTES, left)))
                    if not some:
                        raise DeltaError("it ends too early")
                    self._next += len(some)
                content += self._decompressor.decompress(some, count - len(content))
        except OSError as error:
            raise DeltaError(f"it cannot be read: {error}") from error
        return bytes(content)


def _signed(value: int) -> int:
    return value if value < _SIGN else _SIGN - value


def _old(file: BinaryIO, length: int, position: int, count: int) -> bytes:
    """``count`` bytes from there on; zeros where the old file has none."""
    first, last = max(0, position), min(length, position + count)
    if first >= last:
        return bytes(count)
    file.seek(first)
    return bytes(first - position) + file.read(last - first) + bytes(position + count - last)


def _sum(one: bytes, other: bytes) -> bytes:
    """Byte by byte, modulo 256: all at once in one large integer, the top bits apart so that nothing carries over."""
    count = len(one)
    a, b = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    low, top = int.from_bytes(b"\x7f" * count, "little"), int.from_bytes(b"\x80" * count, "little")
    return (((a & low) + (b & low)) ^ ((a ^ b) & top)).to_bytes(count, "little")
