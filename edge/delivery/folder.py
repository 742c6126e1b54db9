"""The embedded storage: a folder with the same keys as a bucket.

On the same disk as the spool a clip is moved by a hard link, so that it is never there twice; on another disk
(a stick, a network share) it is copied. Both are idempotent and durable.
"""

import errno
import os
import shutil
from pathlib import Path

from edge import durable
from edge.delivery.evidence import description_path, remove_pair, sha256_of
from edge.delivery.faults import Fault, explain
from edge.delivery.outbox import ClipRow, Outbox

NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
"""Another disk, or a file system without hard links (FAT)."""


def keep(row: ClipRow, folder: Path, spool: Path, outbox: Outbox) -> Fault | None:
    """Move a clip of the spool into the folder, and say so in its row; why not, where it cannot be.

    A fault of the scope ``clip`` says that the clip itself is gone.
    """
    if row.path is None:
        return Fault("file_missing", "the clip's file is gone", "clip")
    try:
        target = put(row.path, folder, row.clip.key)
        same_disk = is_same_disk(target, spool)
    except OSError as error:
        if not row.path.exists():  # whatever else is wrong: this one would never go
            return Fault("file_missing", f"{row.path} is gone", "clip")
        fault = explain(error)
        # The clip is here, so it is the folder that went (a stick was pulled out): the clip waits for it.
        return fault if fault.scope == "storage" else Fault("error", f"{folder}: {fault.detail}")
    stored = row.clip.model_copy(update={"state": "uploaded"})
    if same_disk:
        outbox.put_clip(stored, path=target)
    else:
        outbox.put_clip(stored)
        outbox.forget_clip_file(row.clip.alert_id)
    if target != row.path:
        remove_pair(row.path)
    return None


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
