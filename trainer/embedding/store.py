"""Embeddings on disk: found by what they depend on, read through memory maps, checked before they are believed.

The folder of one backbone holds segments (files of 64 MiB and more, filled from front to back) and an index in SQLite.
An item is one block: n rows of D steps, then n peaks and n levels (float32). Its bytes are on disk before the index
names it, so a crash loses at most the last second of work; its CRC-32 is compared when it is first read, so damage and
truncation are noticed, said, and cost only the items that they hit.

Memory maps count as memory while their pages are touched; ``release`` gives those back (the disk cache keeps them).
"""

import contextlib
import mmap
import os
import sqlite3
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from trainer.embedding.backbone import HOP_S, Backbone
from trainer.embedding.track import Track
from trainer.lock import only_one

SEGMENT_BYTES = 64 << 20
ALIGNED = 64
COMMIT_EVERY_S = 1.0
READ_BYTES = 1 << 20
INDEX = "index.sqlite3"


class StoreError(RuntimeError):
    """The cache cannot be used. The text is for people."""


@dataclass(frozen=True)
class _Item:
    segment: int
    offset: int
    count: int
    seconds: float
    crc: int


class Store:
    """The tracks of one backbone. One writer at a time; not thread-safe."""

    def __init__(self, folder: Path, backbone: Backbone, say: Callable[[str], None]) -> None:
        """``say`` is told when something was damaged.

        Raises:
            StoreError: it holds another backbone's embeddings, or cannot be opened.
        """
        self._folder = folder
        self._backbone = backbone
        self._say = say
        self._maps: dict[int, mmap.mmap] = {}
        self._sizes: dict[int, int] = {}
        self._believed: set[bytes] = set()
        self._waiting: dict[bytes, _Item] = {}
        self._committed_s = time.monotonic()
        self._damaged = 0
        self._lock = contextlib.ExitStack()
        self._locked = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._items = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, no permission, no space
                    raise
                say(f"the index of {folder} is damaged ({error}): everything in it is computed again")
                self._begin_anew()
                self._items = self._open()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{folder}: {error}") from error
        self._ends: dict[int, int] = {}
        for item in self._items.values():
            end = item.offset + self._bytes(item.count)
            self._ends[item.segment] = max(end, self._ends.get(item.segment, 0))

    def __contains__(self, key: str) -> bool:
        return _hash(key) in self._items

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: str) -> Track | None:
        """The track kept under ``key``; None if there is none, or none that is whole."""
        name = _hash(key)
        item = self._items.get(name)
        if item is None:
            return None
        if name not in self._believed and not self._is_whole(item):
            self._damaged += 1
            if self._damaged == 1:
                self._say(f"{self._folder} is damaged or cut short: what it hit is computed again")
            del self._items[name]
            self._waiting.pop(name, None)
            return None
        self._believed.add(name)
        return self._view(item)

    def put(self, key: str, track: Track) -> Track:
        """Keep a track; returns it as it lies on disk.

        Raises:
            StoreError: no space, or it is of another backbone.
            AlreadyRunningError: another process writes into this cache.
        """
        if track.backbone != self._backbone.identity or track.steps.shape[1:] != (self._backbone.width,):
            raise StoreError(f"embeddings of another backbone ({track.backbone[:16]}) were offered to {self._folder}")
        if not self._locked:
            self._lock.enter_context(only_one(self._folder, "embedding"))
            self._locked = True
        parts = (track.steps, track.peak.astype("<f4"), track.rms.astype("<f4"))
        block = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        segment, offset = self._place(len(block))
        try:
            with self._path(segment).open("r+b") as file:
                file.seek(offset)
                file.write(block)
        except OSError as error:
            raise StoreError(
                f"{self._path(segment)}: {error.strerror}; what was computed before is kept: make room and run it again"
            ) from error
        item = _Item(segment, offset, len(track.steps), track.seconds, zlib.crc32(block))
        self._ends[segment] = offset + len(block)
        name = _hash(key)
        self._items[name] = self._waiting[name] = item
        self._believed.add(name)
        if time.monotonic() - self._committed_s > COMMIT_EVERY_S:
            self.commit()
        return self._view(item)

    def commit(self) -> None:
        """Make what was put last through a crash. Raises StoreError."""
        if self._waiting:
            try:
                for segment in {item.segment for item in self._waiting.values()}:
                    with self._path(segment).open("rb") as file:
                        os.fsync(file.fileno())
                rows = [
                    (name, item.segment, item.offset, item.count, item.seconds, item.crc)
                    for name, item in self._waiting.items()
                ]
                with self._database:
                    self._database.executemany("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, ?)", rows)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(f"{self._folder}: {error}; make room and run it again") from error
            self._waiting = {}
        self._committed_s = time.monotonic()

    def release(self) -> None:
        """Give back the memory of all that was read; tracks stay readable."""
        for one in self._maps.values():
            one.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Commit, and let others write. Tracks stay readable."""
        try:
            self.commit()
        finally:
            if self._damaged:
                self._say(f"{self._folder}: {self._damaged} damaged items were computed again")
            self._lock.close()
            self._database.close()

    def _open(self) -> dict[bytes, _Item]:
        self._database = sqlite3.connect(self._folder / INDEX, timeout=30.0)
        with self._database:
            self._database.execute("CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS item (key BLOB PRIMARY KEY, segment INTEGER, offset INTEGER, "
                "count INTEGER, seconds REAL, crc INTEGER)"
            )
            about = {"backbone": self._backbone.identity, "width": str(self._backbone.width), "hop_s": str(HOP_S)}
            found = dict(self._database.execute("SELECT name, value FROM about"))
            if not found:
                self._database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            elif found != about:
                raise StoreError(
                    f"{self._folder} holds embeddings of another backbone ({found.get('backbone', '?')[:16]}), which "
                    "cannot be mixed with this one's; choose another cache folder"
                )
        rows = self._database.execute("SELECT key, segment, offset, count, seconds, crc FROM item")
        return {row[0]: _Item(*row[1:]) for row in rows}

    def _begin_anew(self) -> None:
        with only_one(self._folder, "embedding"):
            self._database.close()
            for path in [*self._folder.glob("segment-*"), *self._folder.glob(f"{INDEX}*")]:
                path.unlink()

    def _bytes(self, count: int) -> int:
        return count * (self._backbone.width + 8)

    def _path(self, segment: int) -> Path:
        return self._folder / f"segment-{segment:05}"

    def _place(self, size: int) -> tuple[int, int]:
        """Where so many bytes go: behind the last item, or into a new segment."""
        segment = max(self._ends, default=-1)
        if segment >= 0:
            offset = -(-self._ends[segment] // ALIGNED) * ALIGNED
            if offset + size <= self._size(segment):
                return segment, offset
        segment += 1
        # A file of holes: its size is fixed so that one map serves it while it fills, the disk is used as it does.
        path = self._path(segment)
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.truncate(max(SEGMENT_BYTES, size))
        self._sizes[segment] = max(SEGMENT_BYTES, size)
        return segment, 0

    def _size(self, segment: int) -> int:
        if segment not in self._sizes:
            path = self._path(segment)
            needed = max(SEGMENT_BYTES, self._ends.get(segment, 0))
            size = path.stat().st_size if path.exists() else 0
            if size < needed:
                # Cut short, it gets its size back, with holes that no CRC takes for items.
                with path.open("ab") as file:
                    file.truncate(needed)
            self._sizes[segment] = max(size, needed)
        return self._sizes[segment]

    def _is_whole(self, item: _Item) -> bool:
        # Read, not mapped: pages that are only checked are no memory of this process.
        crc, missing, at = 0, self._bytes(item.count), item.offset
        try:
            with self._path(item.segment).open("rb") as file:
                while missing:
                    some = os.pread(file.fileno(), min(missing, READ_BYTES), at)
                    if not some:
                        return False
                    crc, missing, at = zlib.crc32(some, crc), missing - len(some), at + len(some)
        except OSError:
            return False
        return crc == item.crc

    def _view(self, item: _Item) -> Track:
        width, count = self._backbone.width, item.count
        if count == 0:
            none = np.empty(0, np.float32)
            return Track(np.empty((0, width), np.uint8), none, none, item.seconds, self._backbone.identity)
        if item.segment not in self._maps:
            size = self._size(item.segment)
            with self._path(item.segment).open("rb") as file:
                self._maps[item.segment] = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        whole = self._maps[item.segment]
        steps = np.frombuffer(whole, np.uint8, count * width, item.offset).reshape(count, width)
        levels = np.frombuffer(whole, np.uint8, count * 8, item.offset + count * width).view("<f4").reshape(2, count)
        return Track(steps, levels[0], levels[1], item.seconds, self._backbone.identity)


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()
