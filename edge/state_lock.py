"""One daemon per state folder: whoever runs holds a lock on it, and others can ask."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import TextIO

NAME = "lock"


class AlreadyRunningError(RuntimeError):
    """Another daemon holds the state folder."""


def hold(state_dir: Path) -> TextIO:
    """Take the lock; it is held until the file is closed or the process ends, however it ends (flock(2)).

    A disk that is full or has become read-only is no obstacle where a daemon ran before: alerts go out from memory.

    Raises:
        AlreadyRunningError: another process holds it; the text names its process id.
        OSError: the folder cannot be written.
    """
    try:
        lock = (state_dir / NAME).open("a+")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EDQUOT) or not (state_dir / NAME).exists():
            raise
        lock = (state_dir / NAME).open()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise AlreadyRunningError(
            f"{state_dir} is in use by process {owner}; stop it or choose another state_dir"
        ) from error
    with contextlib.suppress(OSError):  # only for the text above
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock


def held(state_dir: Path) -> bool:
    """Whether a daemon runs on this folder."""
    try:
        with (state_dir / NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no daemon ever ran here, or we may not look
        return False
    return False
