"""The embedded storage: a folder with the same keys as a bucket.

On the same disk as the spool a clip is moved by a hard link, so that it is never there twice; on another disk
(a stick, a network share) it is copied. Both are idempotent and durable.
"""

import errno
import os
import shutil
from pathlib import Path

from edge import durable
from edge.delivery.evidence import description_path, sha256_of

NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
"""Another disk, or a file system without hard links (FAT)."""


def put(flac: Path, folder: Path, key: str) -> Path:
    """Put a clip and its description under ``key``; returns the FLAC's new path. The source stays.

    The description comes last: where it is, the clip is whole.

    Raises:
        FileNotFoundError: the clip is not there.
        OSError: the folder cannot be written.
    """
    target = folder / key
    durable.make_folder(target.parent)
    _put_file(flac, target)
    if description_path(flac).exists():
        _put_file(description_path(flac), description_path(target))
    durable.sync(target.parent)
    return target


def is_same_disk(one: Path, other: Path) -> bool:
    """Whether two existing paths share a file system, and so their free space."""
    return one.stat().st_dev == other.stat().st_dev


def _put_file(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        if not target.samefile(source) and sha256_of(target) != sha256_of(source):
            _copy(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    def copy(temporary: Path) -> None:
        shutil.copyfile(source, temporary)

    durable.commit(target, copy)
