"""Byte-level deltas between model files (bsdiff: Percival, "Naive differences of executable code", 2003).

The trainer makes them at publishing, the device applies them. Measured on models of this project, in bytes on the air
(``docs/adr/0017-over-the-air.md``): the same backbone with another head 0.17 of the file, a backbone changed
altogether no gain over the compressed file, 0.8. zstd's patch-from gives 8 % less than bsdiff, for a
library of 24 MB instead of 80 kB. A delta from nothing is the compressed file: a device that has nothing to
start from saves a fifth.

What was made is never believed: a delta is a signed target, and its result must have the digest of the signed model.
"""

import hashlib
import struct

NOTHING = hashlib.sha256(b"").hexdigest()
"""The digest of the file that every device has."""
WORTHWHILE = 0.9
"""A delta longer than this share of the file is not worth a second request."""

_HEADER = struct.Struct("<8sQQQ")
_MAGIC = b"BSDIFF40"


class DeltaError(ValueError):
    """It is no delta, or not for this file."""


def make(old: bytes, new: bytes) -> bytes | None:
    """What leads from ``old`` (empty: from nothing) to ``new``; None where it does not pay.

    Takes some 17 times the length of ``old`` in memory: for the maintainer's machine.
    """
    import bsdiff4

    delta: bytes = bsdiff4.diff(old, new)
    return delta if len(delta) < WORTHWHILE * len(new) else None


def apply(old: bytes, delta: bytes, length: int) -> bytes:
    """The new file, of which the caller checks the digest.

    Args:
        length: Of the new file in bytes, as it was signed: nothing larger is made.

    Raises:
        DeltaError: the text says what is wrong.
    """
    import bsdiff4

    if len(delta) < _HEADER.size:
        raise DeltaError("a delta of bsdiff has a header of 32 bytes")
    magic, _, _, new_length = _HEADER.unpack_from(delta)
    if magic != _MAGIC:
        raise DeltaError("it does not begin with BSDIFF40")
    if new_length != length:
        raise DeltaError(f"it makes {new_length} bytes, and the file has {length}")
    try:
        new: bytes = bsdiff4.patch(old, delta)
    except (ValueError, OSError, EOFError, IndexError, TypeError) as error:
        raise DeltaError(f"it cannot be applied: {error}") from error
    return new
