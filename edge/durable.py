"""Files that survive a power cut: a file is there whole or not at all.

The order is the promise: write under a temporary name → fsync the file → rename → fsync the directory
(rename(2) and fsync(2): without the last step the name itself may be lost).

    commit(folder / "clip.flac", lambda temporary: write_flac(temporary, frames))
"""

import os
from collections.abc import Callable
from pathlib import Path

TEMPORARY_PREFIX = "."
TEMPORARY_SUFFIX = ".part"


def commit(target: Path, write: Callable[[Path], None]) -> None:
    """Put a file at ``target`` durably; ``write`` gets the temporary path and fills it.

    Raises:
        OSError: no space, no permission, …; the temporary file is gone then and ``target`` is as it was.
    """
    stage(target, write)
    place(target)


def stage(target: Path, write: Callable[[Path], None]) -> Path:
    """The first half of ``commit``: the content is on disk under its temporary name, which is returned."""
    temporary = temporary_name(target)
    try:
        write(temporary)
        sync(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def place(*targets: Path) -> None:
    """The second half: staged files of one directory get their names, in this order, and the names are on disk."""
    for target in targets:
        temporary_name(target).replace(target)
    sync(targets[0].parent)


def commit_bytes(target: Path, content: bytes) -> None:
    """``commit`` for content that is already in memory."""
    commit(target, lambda temporary: _fill(temporary, content))


def temporary_name(target: Path) -> Path:
    """Where ``target`` is written before it has its name: hidden, in the same directory."""
    return target.with_name(f"{TEMPORARY_PREFIX}{target.name}{TEMPORARY_SUFFIX}")


def sync(path: Path) -> None:
    """fsync a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """``mkdir -p`` of which every new level is durable."""
    missing = [level for level in (folder, *folder.parents) if not level.exists()]
    for level in reversed(missing):
        level.mkdir(exist_ok=True)
        sync(level.parent)


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
