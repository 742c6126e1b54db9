"""One at a time: a lock that says who holds it, and since when.

    with only_one(folder, "retrain"):
        …

It is released when the process ends, however it ends (flock(2)); nothing has to be removed after a crash.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

NAME = "lock"


class AlreadyRunningError(RuntimeError):
    """Another process holds the lock. The text says who, and since when."""


@contextlib.contextmanager
def only_one(folder: Path, what: str) -> Iterator[None]:
    """Hold ``folder``'s lock; the folder is made where it is not there. ``what`` is told to whoever comes second.

    Raises:
        AlreadyRunningError: another process holds it.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(f"already running on {folder}: {_owner(lock)}; wait for it or stop it") from error
        lock.truncate(0)
        owner = {
            "what": what,
            "process": os.getpid(),
            "user": _user(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        lock.write(json.dumps(owner))
        lock.flush()
        yield


def _owner(lock: TextIO) -> str:
    lock.seek(0)
    try:
        said = json.loads(lock.read())
        return f"{said['what']} by {said['user']} (process {said['process']} on {said['host']}) since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return "somebody who has just begun"


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, a number without a name
        return str(os.getuid())
