"""Where a repository is: a folder (a web server's, a share's) or a bucket. What stands under a name is whole, always.

``metadata/`` and ``targets/`` are what devices read; ``pending/`` holds what waits for signatures.
"""

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from edge.durable import commit_bytes, make_folder
from trainer.failing import said, who
from trainer.lock import AlreadyRunningError, only_one
from trainer.release import ReleaseError
from trainer.release.settings import S3, ReleaseSettings

METADATA = "metadata"
TARGETS = "targets"
PENDING = "pending"
LOCK_HOLDS_S = 900.0
"""A lock in a bucket that is older is that of a run that was killed."""
SETTLE_S = 0.5
"""Two who lock a bucket at once see each other after this long."""


class Place(Protocol):
    """A repository's files by their names, with slashes."""

    name: str

    def get(self, name: str) -> bytes | None:
        """A file's content; None where there is none. Raises ReleaseError."""

    def put(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all. Raises ReleaseError."""

    def size(self, name: str) -> int | None:
        """A file's length in bytes. Raises ReleaseError."""

    def remove(self, name: str) -> None:
        """Take a file away, if it is there. Raises ReleaseError."""

    def only_one(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Nobody else changes the repository meanwhile. Raises ReleaseError: somebody does."""


class Folder:
    """A folder. Files appear by rename(2); locked with flock(2), which ends with the process."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def get(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReleaseError(said(error)) from error

    def put(self, name: str, content: bytes) -> None:
        path = self._root / name
        try:
            make_folder(path.parent)
            commit_bytes(path, content)
        except OSError as error:
            raise ReleaseError(f"cannot write {path}: {error.strerror or error}") from error

    def size(self, name: str) -> int | None:
        try:
            return (self._root / name).stat().st_size
        except OSError:
            return None

    def remove(self, name: str) -> None:
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as error:
            raise ReleaseError(said(error)) from error

    @contextlib.contextmanager
    def only_one(self, what: str) -> Iterator[None]:
        try:
            with only_one(self._root / PENDING, what):
                yield
        except AlreadyRunningError as error:
            raise ReleaseError(str(error)) from error
        except OSError as error:
            raise ReleaseError(said(error)) from error


class Bucket:
    """``s3://bucket/prefix``. Objects appear whole. The lock is an object: good against two people, not against two
    machines in the same half second on a server without conditional writes; `placing` looks once more at the end."""

    def __init__(self, address: str) -> None:
        from trainer.data.objects import BucketError, connect

        self._bucket, _, prefix = address.removeprefix(S3).strip("/").partition("/")
        self.name = f"{S3}{self._bucket}/{prefix}".rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        if not self._bucket:
            raise ReleaseError(f"{address!r} names no bucket; expected s3://bucket/prefix")
        try:
            self._client = connect()
        except BucketError as error:
            raise ReleaseError(str(error)) from error

    def get(self, name: str) -> bytes | None:
        answer = self._ask(name, lambda client, **where: client.get_object(**where)["Body"].read())
        return None if answer is None else bytes(answer)

    def put(self, name: str, content: bytes) -> None:
        # What changes under its name must not be kept by caches on the way.
        fixed = name.startswith(f"{TARGETS}/") or name.rpartition("/")[2][:1].isdigit()
        self._ask(
            name,
            lambda client, **where: client.put_object(
                Body=content,
                ContentType="application/json" if name.endswith(".json") else "application/octet-stream",
                CacheControl="max-age=31536000, immutable" if fixed else "no-cache",
                **where,
            ),
        )

    def size(self, name: str) -> int | None:
        answer = self._ask(name, lambda client, **where: client.head_object(**where)["ContentLength"])
        return None if answer is None else int(answer)

    def remove(self, name: str) -> None:
        self._ask(name, lambda client, **where: client.delete_object(**where))

    @contextlib.contextmanager
    def only_one(self, what: str) -> Iterator[None]:
        name, token = f"{PENDING}/lock.json", secrets.token_hex(8)
        self._refuse_if_locked(self.get(name))
        mine = {"what": what, "user": who(), "host": socket.gethostname(), "at": time.time(), "token": token}
        self.put(name, json.dumps(mine).encode())
        time.sleep(SETTLE_S)
        there = self.get(name)
        if _read_lock(there).get("token") != token:
            self._refuse_if_locked(there)
            raise ReleaseError(f"{self.name} was just being changed by somebody else; run it again")
        try:
            yield
        finally:
            if _read_lock(self.get(name)).get("token") == token:
                self.remove(name)

    def _refuse_if_locked(self, content: bytes | None) -> None:
        lock = _read_lock(content)
        if not lock or not isinstance(lock.get("at"), int | float):
            return
        age_s = time.time() - lock["at"]
        if age_s < LOCK_HOLDS_S:
            raise ReleaseError(
                f"already running on {self.name}: {lock.get('what')} by {lock.get('user')} on {lock.get('host')} since "
                f"{age_s:.0f} s; wait for it (one that was killed is forgotten after {LOCK_HOLDS_S / 60:.0f} minutes)"
            )

    def _ask(self, name: str, call: Any) -> Any:
        from trainer.data.objects import said_of

        try:
            return call(self._client, Bucket=self._bucket, Key=f"{self._prefix}{name}")
        except Exception as error:
            code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code"))
            if code in ("NoSuchKey", "404", "NotFound"):
                return None
            raise ReleaseError(said_of(f"{self.name}/{name}", error)) from error


def _read_lock(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def place_of(settings: ReleaseSettings) -> Place:
    """The repository that the settings name. Raises ReleaseError."""
    return Bucket(settings.repository) if settings.is_bucket else Folder(Path(settings.repository))
