"""Who learns, who tunes, who judges: by recording, and for ever.

The part depends on the recording's id and on nothing else, so a recording never moves when others come or go.
"""

import hashlib
from typing import Literal

Part = Literal["train", "validation", "test"]

TRAIN = 0.70
VALIDATION = 0.15
"""The rest is for the test."""


def part_of(recording: str) -> Part:
    """The part that all clips of ``recording`` belong to: 70 % train, 15 % validation, 15 % test, in the long run."""
    place = _number(recording, 0) / 2**64
    if place < TRAIN:
        return "train"
    return "validation" if place < TRAIN + VALIDATION else "test"


def fold_of(recording: str, folds: int) -> int:
    """The fold, 0 to ``folds`` - 1, of a recording in cross-validation; independent of ``part_of``.

    Raises:
        ValueError: fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"{folds} folds are none; cross-validation needs 2 or more")
    return _number(recording, 8) % folds


def _number(recording: str, byte: int) -> int:
    """Eight bytes of the id's SHA-256, from ``byte``."""
    return int.from_bytes(hashlib.sha256(recording.encode()).digest()[byte : byte + 8], "big")
