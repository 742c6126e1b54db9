"""The database of the outbox, whatever happens to its file: damaged, locked, full, read-only, gone.

A damaged file is set aside and replaced; a failing disk is stood in for by a copy in memory (``standin``).
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self, TypeVar

from edge.delivery import outbox_file
from edge.delivery.standin import Standin, code_of

T = TypeVar("T")
log = logging.getLogger(__name__)

RETRY_TIMEOUT_S = 0.1


class Store:
    """Reads and writes in transactions. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._disk: sqlite3.Connection | None = None
        self._standin: Standin | None = None
        self._data_version = -1
        self._next_mend_s = 0.0
        self._depth: int | None = None
        self.set_aside: Path | None = None
        """Where a damaged database was moved by this process."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """The outbox at ``path``, made if absent. A damaged one is set aside (``set_aside``), never a crash."""
        outbox = cls(path)
        try:
            outbox._open_disk()
        except (sqlite3.Error, OSError) as error:
            outbox._fall_back(error)
        return outbox

    def close(self) -> None:
        with self._lock:
            if self._standin is not None and not self._mend():
                log.error("closed without a disk: messages that were not delivered are lost")
            if self._disk is not None:
                self._disk.close()
                self._disk = None

    @property
    def problems(self) -> list[str]:
        """``outbox:set_aside``, and while the disk fails ``outbox:disk_full``, ``outbox:read_only``,
        ``outbox:locked``, ``outbox:io_error``; ``outbox:overflow`` once messages were lost for want of memory."""
        with self._lock:
            found = ["outbox:set_aside"] if self.set_aside else []
            return found + (self._standin.problems if self._standin else [])

    def tend(self) -> bool:
        """Call about once a second: return to the disk when it works again, notice rows that another process
        has put. True where there may be new rows."""
        with self._lock:
            if self._standin is not None:
                if time.monotonic() < self._next_mend_s:
                    return False
                return self._mend()
            assert self._disk is not None
            try:
                version: int = self._disk.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error as error:
                self._cope(error)
                return True
            changed = version != self._data_version
            self._data_version = version
            if changed:
                self._depth = None
            return changed

    def _read(self, statement: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            for _ in range(3):
                try:
                    with closing(self._database().execute(statement, values)) as cursor:
                        return cursor.fetchall()
                except sqlite3.DatabaseError as error:
                    self._cope(error)
            raise RuntimeError("the outbox can be read neither from disk nor from memory")

    def _write(self, act: Callable[[sqlite3.Connection], T], durable: bool = True) -> T:
        with self._lock:
            self._depth = None
            for _ in range(3):
                db = self._database()
                try:
                    # A deletion that a power cut undoes costs a repeat; it is not worth an fsync of an SD card.
                    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    db.execute("BEGIN IMMEDIATE")
                    with outbox_file.transaction_end(db):
                        return act(db)
                except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
                    raise
                except sqlite3.DatabaseError as error:
                    self._cope(error)
            raise RuntimeError("the outbox can be written neither to disk nor to memory")

    def _give_space_back(self) -> None:
        self._read("PRAGMA incremental_vacuum(500)")

    def _database(self) -> sqlite3.Connection:
        if self._standin is not None:
            return self._standin.database
        assert self._disk is not None, "the outbox is closed"
        return self._disk

    def _open_disk(self, timeout_s: float = outbox_file.BUSY_TIMEOUT_S) -> None:
        self._disk, aside = outbox_file.open_file(self._path, timeout_s)
        self.set_aside = aside or self.set_aside

    def _cope(self, error: sqlite3.Error) -> None:
        """After it, another attempt makes sense: a damaged file was replaced, a failing one stood in for."""
        if self._standin is not None:
            self._standin.make_room(error)
            return
        if outbox_file.is_damage(error):
            log.error("the outbox broke while in use: %s", error)
            try:
                if self._disk is not None:
                    self._disk.close()
                self._open_disk()
                return
            except (sqlite3.Error, OSError) as again:
                error = again if isinstance(again, sqlite3.Error) else error
                self._disk = None
        self._fall_back(error)

    def _fall_back(self, error: Exception) -> None:
        log.error("the outbox cannot use %s (%s: %s): going on from memory", self._path, code_of(error), error)
        self._standin = Standin(self._disk, code_of(error))
        self._next_mend_s = time.monotonic() + Standin.RETRY_S

    def _mend(self) -> bool:
        assert self._standin is not None
        self._next_mend_s = time.monotonic() + Standin.RETRY_S
        known = self._disk
        try:
            if self._disk is None:
                self._open_disk(RETRY_TIMEOUT_S)
            assert self._disk is not None
            self._standin.write_back(self._disk)
        except (sqlite3.Error, OSError) as error:
            self._standin.still(code_of(error))
            if known is None or not isinstance(error, sqlite3.Error) or not outbox_file.is_damage(error):
                return False
            # It broke meanwhile. Opening it anew sets it aside; what is in memory would never get past it.
            log.error("the outbox broke while memory stood in for it: %s", error)
            known.close()
            self._disk = None
            return self._mend()
        log.warning("the outbox is on disk again")
        self._standin = None
        self._depth = None
        return True


def next_seq(db: sqlite3.Connection, alert_id: str, utc_s: float) -> int:
    row = db.execute(
        "INSERT INTO alerts (alert_id, last_seq, phase, payload, boot_id, synchronised, utc_s)"
        # Not always 0: a message may have been saved from a damaged file without its ledger row.
        " VALUES (?1, (SELECT coalesce(max(seq) + 1, 0) FROM messages WHERE alert_id = ?1), '', '', '', 1, ?2)"
        " ON CONFLICT (alert_id) DO UPDATE SET last_seq = last_seq + 1"
        " RETURNING last_seq",
        (alert_id, utc_s),
    ).fetchone()
    return int(row["last_seq"])


def enqueue(db: sqlite3.Connection, rank: int, leaf: str, alert_id: str, seq: int, payload: bytes) -> None:
    db.execute(
        "INSERT INTO messages (rank, leaf, alert_id, seq, payload) VALUES (?, ?, ?, ?, ?)",
        (rank, leaf, alert_id, seq, payload),
    )
