"""The folder of models: ``models/<version>/``, each written once, whole, and never again.

    store = Store(Path("models"))
    folder = store.put(content_sha256, date.today(), write)
    store.current()

A version is ``YYYYMMDD-N-hhhhhhhh``: the day, the how many-th of that day, and the first digits of a SHA-256 over
what the model is (`trainer.models.package.content_of`). The same content is stored once: putting it again, as a run
does that was killed just after, gives the folder that is there. ``files.json`` in it lists the digest of each file.

A folder is filled under a temporary name, every file and folder of it is fsynced, and then it gets its name by
rename(2): it is there whole or not at all, through kill -9, a full disk and a power cut. ``current`` is a symbolic link
to the version in use, replaced in the same way.
"""

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from edge.digest import sha256_of
from edge.durable import commit_bytes, make_folder, sync

CURRENT = "current"
FILES = "files.json"
LOCK = ".lock"
_VERSION = re.compile(r"(\d{8})-(\d+)-([0-9a-f]{8})")
_PART = ".part"


class StoreError(RuntimeError):
    """The store cannot do that. The text is for a person."""


class Store:
    """A folder of models. It need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the store, waiting for whoever is in it; the lock ends with the process (flock(2))."""
        make_folder(self.root)
        with (self.root / LOCK).open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def versions(self) -> list[str]:
        """All of them, oldest first."""
        if not self.root.is_dir():
            return []
        found = [path.name for path in self.root.iterdir() if _VERSION.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=_age)

    def find(self, name: str) -> str:
        """The version that is meant by its whole name, the beginning of its digest, or ``current``.

        Raises:
            StoreError: there is none, or more than one.
        """
        if name == CURRENT:
            current = self.current()
            if current is None:
                raise StoreError(f"no model is in use in {self.root}; put one to use with `ecosight-trainer promote`")
            return current
        versions = self.versions()
        if name in versions:
            return name
        meant = [version for version in versions if len(name) >= 4 and version.rsplit("-", 1)[1].startswith(name)]
        if len(meant) == 1:
            return meant[0]
        there = ", ".join(versions[-5:]) or "none"
        raise StoreError(
            f"{self.root} has {'several versions' if meant else 'no version'} {name!r}; the newest: {there}"
        )

    def folder(self, version: str) -> Path:
        """Where a version is; any name that `find` takes. Raises StoreError."""
        return self.root / self.find(version)

    def holding(self, content_sha256: str) -> str | None:
        """The version with this content."""
        for version in self.versions():
            if version.endswith(content_sha256[:8]) and _listed(self.root / version).get("content") == content_sha256:
                return version
        return None

    def put(self, content_sha256: str, day: date, write: Callable[[Path, str], None]) -> Path:
        """Store a model; ``write(folder, version)`` fills the folder. Content that is there already is not written.

        Raises:
            StoreError: another content with the same first digits came on the same day.
            OSError: no space, no permission, …; nothing is left behind then.
        """
        with self.locked():
            for left in self.root.glob(f".*{_PART}"):
                shutil.rmtree(left)
            there = self.holding(content_sha256)
            if there is not None:
                return self.root / there
            version = self._next(content_sha256, day)
            target, part = self.root / version, self.root / f".{version}{_PART}"
            try:
                part.mkdir()
                write(part, version)
                _seal(part, content_sha256)
                part.rename(target)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            sync(self.root)
            return target

    def damage(self, version: str) -> list[str]:
        """What is not as it was written: files that are gone, changed, or came later."""
        folder = self.root / version
        listed: dict[str, str] = _listed(folder).get("files", {})
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        there.pop(FILES, None)
        found = [f"{name} is missing" for name in listed if name not in there]
        found += [f"{name} was added" for name in there if name not in listed]
        found += [f"{name} was changed" for name in listed if name in there and sha256_of(there[name]) != listed[name]]
        return sorted(found) if listed else [f"{FILES} is missing or damaged"]

    def current(self) -> str | None:
        """The version in use."""
        try:
            name = (self.root / CURRENT).readlink().name
        except OSError:
            return None
        return name if (self.root / name).is_dir() else None

    def point_to(self, version: str) -> None:
        """Put a version to use. Raises OSError."""
        temporary = self.root / f".{CURRENT}.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(version)
        temporary.rename(self.root / CURRENT)
        sync(self.root)

    def _next(self, content_sha256: str, day: date) -> str:
        today = f"{day:%Y%m%d}"
        serials = [_age(version)[1] for version in self.versions() if version.startswith(f"{today}-")]
        return f"{today}-{max(serials, default=0) + 1}-{content_sha256[:8]}"


def _age(version: str) -> tuple[str, int]:
    found = _VERSION.fullmatch(version)
    assert found is not None
    return found[1], int(found[2])


def _listed(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / FILES).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _seal(folder: Path, content_sha256: str) -> None:
    """List every file, forbid writing to it, and put all of it on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    document = {"schema_version": 1, "content": content_sha256, "files": listed}
    commit_bytes(folder / FILES, (json.dumps(document, indent=1) + "\n").encode())
    for path in [*files, folder / FILES]:
        path.chmod(0o444)
        sync(path)
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        sync(path)
    sync(folder)
