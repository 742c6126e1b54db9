"""The catalogue: every recording that may be learned from, in one file on disk.

It is SQLite (``catalogue.sqlite3``, beside the lock of who is adding): a crash or a full disk in the middle of a write
leaves what was committed before, thousands of rows are looked up and changed without writing the others again, and
readers do not wait for the writer. Lines of JSON would be readable with less, but a row could not be changed, and a
half-written last line would have to be told from a damaged one.

The sound stays where it is; the catalogue keeps paths, and of each file its size and time, by which a file that was
changed is noticed. What files hold the same sound is kept too; what follows from that stands in
``copies.py``.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.clip import Clip
from trainer.data.copies import Entry, Pair, pairs_of, usable
from trainer.data.decoding import Inspection, one_line
from trainer.data.fingerprint import Fingerprint
from trainer.data.sources import Found, Refused

NAME = "catalogue.sqlite3"
VERSION = 1
_TABLES = """
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    root TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    label TEXT NOT NULL,
    recording TEXT NOT NULL,
    source TEXT NOT NULL,
    licence TEXT NOT NULL,
    site TEXT NOT NULL,
    provenance TEXT NOT NULL,
    seconds REAL NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    samples_sha256 TEXT NOT NULL,
    notes TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    added TEXT NOT NULL,
    compared INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE copy (
    one INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    other INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    PRIMARY KEY (one, other)
);
CREATE TABLE refused (path TEXT PRIMARY KEY, root TEXT NOT NULL, reason TEXT NOT NULL);
"""

_PUT = (
    "INSERT INTO file (path, root, size_bytes, modified_ns, label, recording, source, licence, site, provenance, "
    "seconds, sample_rate_hz, sha256, samples_sha256, notes, fingerprint, added) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class CatalogueError(RuntimeError):
    """The catalogue cannot be read, written, or used as it is. The text is for people."""


class Catalogue:
    """An open catalogue. Use it as a context manager, in one thread."""

    def __init__(self, folder: Path, begin: bool = False) -> None:
        """Open the catalogue in ``folder``; with ``begin``, make one where there is none.

        Raises:
            CatalogueError: there is none, it is damaged or of another version, or there is no place for one.
        """
        self.folder = folder
        self.path = folder / NAME
        if not begin and not self.path.exists():
            raise CatalogueError(f"no catalogue in {folder}; begin one with `ecosight-trainer data add FOLDER`")
        with self._clearly():
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            self._database.execute("PRAGMA foreign_keys = ON")
            self._database.execute("PRAGMA synchronous = FULL")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with self._transaction():
                    if self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                        for statement in _TABLES.split(";\n"):
                            self._database.execute(statement)
                        self._database.execute(f"PRAGMA user_version = {VERSION}")
            elif version != VERSION:
                raise CatalogueError(
                    f"{self.path} is of version {version}, this program knows {VERSION}: update it, or begin a new "
                    "catalogue in another folder"
                )

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def clips(self) -> list[Clip]:
        """What may be learned from, in the order of paths, with the group as ``recording``.

        Raises:
            CatalogueError: files were added and not compared yet, so nobody knows what is a copy of what.
        """
        entries = self.entries()
        if waiting := self.waiting():
            raise CatalogueError(
                f"{waiting} recordings were added and not yet looked through for copies, because adding was "
                "interrupted: run `ecosight-trainer data add` again"
            )
        return usable(entries, self.pairs(entries))

    def waiting(self) -> int:
        """How many files were read and not yet looked through for copies."""
        with self._clearly():
            return int(self._database.execute("SELECT count(*) FROM file WHERE NOT compared").fetchone()[0])

    def entries(self) -> list[Entry]:
        """All files, in the order of paths."""
        with self._clearly():
            rows = self._database.execute(
                "SELECT id, path, source, label, recording, seconds, licence, sha256, site, sample_rate_hz, "
                "provenance, root, samples_sha256, notes, size_bytes, modified_ns FROM file ORDER BY path"
            ).fetchall()
        return [
            Entry(row[0], Clip(Path(row[1]), *row[2:11]), Path(row[11]), row[12], row[13], (row[14], row[15]))
            for row in rows
        ]

    def pairs(self, entries: Sequence[Entry]) -> list[Pair]:
        """Files of ``entries`` that share sound; the one whose path comes first is ``one``."""
        with self._clearly():
            near = self._database.execute("SELECT one, other FROM copy").fetchall()
        return pairs_of(entries, near)

    def refused(self) -> list[tuple[str, str]]:
        """Path and reason of what was looked at and is not in the catalogue."""
        with self._clearly():
            return self._database.execute("SELECT path, reason FROM refused ORDER BY path").fetchall()

    def known(self, root: Path) -> dict[Path, tuple[int, int]]:
        """Size and time of the files that came from ``root``."""
        with self._clearly():
            rows = self._database.execute("SELECT path, size_bytes, modified_ns FROM file WHERE root = ?", [str(root)])
            return {Path(path): (size, modified) for path, size, modified in rows}

    def put(self, root: Path, inspected: Iterable[tuple[Found, Inspection, tuple[int, int]]]) -> None:
        """Write files that were read, all or none of them; the last are their sizes and times."""
        added = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (
                str(found.path), str(root), *stamp, found.label, found.recording or f"file-{inside.sha256[:16]}",
                found.source, found.licence, found.site, found.provenance, inside.seconds, inside.sample_rate_hz,
                inside.sha256, inside.samples_sha256, "; ".join(inside.notes), inside.fingerprint.to_bytes(), added,
            )
            for found, inside, stamp in inspected
        ]  # fmt: skip
        with self._clearly(), self._transaction():
            # Whatever was known of a changed file is forgotten: its copies go with its row.
            self._database.executemany("DELETE FROM file WHERE path = ?", [row[:1] for row in rows])
            self._database.executemany(_PUT, rows)

    def describe(self, found: Sequence[Found]) -> None:
        """Bring up to date what is said of files that themselves have not changed."""
        rows = [
            (one.label, one.source, one.licence, one.site, one.provenance, one.recording, str(one.path))
            for one in found
        ]
        with self._clearly(), self._transaction():
            self._database.executemany(
                "UPDATE file SET label = ?, source = ?, licence = ?, site = ?, provenance = ?, "
                "recording = coalesce(nullif(?, ''), 'file-' || substr(sha256, 1, 16)) WHERE path = ?",
                rows,
            )

    def forget(self, paths: Iterable[Path]) -> None:
        """Take files out that are no longer there."""
        with self._clearly(), self._transaction():
            self._database.executemany("DELETE FROM file WHERE path = ?", [(str(path),) for path in paths])

    def refuse(self, root: Path, refused: Iterable[Refused]) -> None:
        """Remember what of ``root`` is not in the catalogue, instead of what was remembered before."""
        rows = [(one_line(one.path), str(root), one.reason) for one in refused]
        with self._clearly(), self._transaction():
            self._database.execute("DELETE FROM refused WHERE root = ?", [str(root)])
            self._database.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?, ?)", rows)

    def fingerprints(self) -> tuple[list[int], list[Path], list[Fingerprint], NDArray[np.bool_]]:
        """Number, path, fingerprint of every file, and which were never compared (bool [n]), by number."""
        with self._clearly():
            rows = self._database.execute("SELECT id, path, fingerprint, compared FROM file ORDER BY id").fetchall()
        numbers, paths = [row[0] for row in rows], [Path(row[1]) for row in rows]
        new = np.array([not row[3] for row in rows], np.bool_)
        return numbers, paths, [Fingerprint.of_bytes(row[2]) for row in rows], new

    def compared(self, numbers: Sequence[int], copies: Iterable[tuple[int, int]]) -> None:
        """Write which files are near copies, and that all of ``numbers`` were compared."""
        with self._clearly(), self._transaction():
            self._database.executemany("INSERT OR IGNORE INTO copy VALUES (?, ?)", copies)
            self._database.executemany("UPDATE file SET compared = 1 WHERE id = ?", [(number,) for number in numbers])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT, or where SQLite rolled back by itself, there is nothing left to undo.
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _clearly(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            step = "move it away and add the folders again"
            if "full" in text:
                step = "free some space and run it again; what was committed before is kept"
            elif "locked" in text or "unable to open" in text or "readonly" in text:
                step = "is its folder there, may it be written, and does nobody else hold it?"
            raise CatalogueError(f"{self.path}: {text}; {step}") from error
        except OSError as error:
            raise CatalogueError(f"{self.path}: {error.strerror or error}") from error
