"""A copy of the outbox in memory, for as long as its disk fails.

SD cards end by becoming read-only, and disks fill up. The copy takes over what the disk could still be read
for, so sequence numbers go on and waiting messages are still sent. ``write_back`` merges it into the file.
"""

import contextlib
import logging
import sqlite3

from edge.delivery import outbox_file

log = logging.getLogger(__name__)

MEMORY_PAGES = 4096  # of 4 KiB: 16 MiB, some 10,000 alerts
ROOM_FOR_MESSAGES, ROOM_FOR_LEDGER = 0.5, 0.75
"""Shares of it that may be filled from the disk; the rest is for what comes."""
LOOK_EVERY = 50
"""Rows between two looks at how much is used."""
NEWEST = 100
"""Alerts among which is every event that goes on, where memory is so full of open ones that some must go."""
# New rows get ids far from those that another process may give on disk meanwhile.
ID_GAP = 1_000_000

CODES = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
}


def code_of(error: Exception) -> str:
    """The end of the problem code for an error of SQLite or the system."""
    if isinstance(error, PermissionError):
        return "read_only"
    return CODES.get(getattr(error, "sqlite_errorcode", -1) & 0xFF, "io_error")


class Standin:
    """The database in memory and the way back."""

    RETRY_S = 10.0

    def __init__(self, disk: sqlite3.Connection | None, code: str) -> None:
        self._code = code
        self._overflowed = 0
        self.database = outbox_file.connect(":memory:")
        self.database.execute(f"PRAGMA max_page_count = {MEMORY_PAGES}")
        self._last_id_on_disk = 0
        self._copied: set[int] = set()
        if disk is not None:
            self._copy(disk)
        self.database.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
        self.database.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)", (self._last_id_on_disk + ID_GAP,)
        )

    @property
    def problems(self) -> list[str]:
        return [f"outbox:{self._code}", *(["outbox:overflow"] if self._overflowed else [])]

    def still(self, code: str) -> None:
        """The disk still fails, perhaps in another way."""
        self._code = code

    def make_room(self, error: sqlite3.Error) -> None:
        """Memory is full: the oldest delivered alerts go from the ledger, then the oldest clip messages, then alerts.

        An event that goes on keeps its row: its next message would begin at 0 again, and pass for a repeat.

        Raises:
            sqlite3.Error: ``error``, where it is not about room.
        """
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            raise error
        delivered = (
            "DELETE FROM alerts WHERE alert_id IN (SELECT alert_id FROM alerts"
            " WHERE (phase NOT IN ('new', 'update') OR rowid <= ?)"
            " AND alert_id NOT IN (SELECT alert_id FROM messages) ORDER BY rowid LIMIT 1000)"
        )
        newest: int = self.database.execute("SELECT coalesce(max(rowid), 0) FROM alerts").fetchone()[0]
        for left_open in (0, newest - NEWEST):
            if self.database.execute(delivered, (left_open,)).rowcount:
                return
        lost = self.database.execute(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY rank DESC, id LIMIT 100)"
        ).rowcount
        self._overflowed += lost
        log.error("no disk and no memory left: the oldest %d messages are lost (%d in all)", lost, self._overflowed)

    def write_back(self, disk: sqlite3.Connection) -> None:
        """Merge into the file, in one transaction: all of it or nothing.

        Raises:
            sqlite3.Error: the disk still fails; nothing is lost.
        """
        disk.execute("PRAGMA busy_timeout = 100")
        try:
            disk.execute("PRAGMA synchronous = FULL")
            disk.execute("BEGIN IMMEDIATE")
            with outbox_file.transaction_end(disk):
                for table in outbox_file.TABLES:
                    rows = self.database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
                    if table == "messages":
                        self._forget_delivered(disk, {row["id"] for row in rows})
                    for row in rows:
                        marks = ", ".join("?" * len(row))
                        verb = "INSERT OR IGNORE" if table == "messages" else "REPLACE"
                        # Another process may have gone further with an alert of its own meanwhile.
                        later = "SELECT 1 FROM alerts WHERE alert_id = ? AND last_seq > ?"
                        if table == "alerts" and disk.execute(later, (row["alert_id"], row["last_seq"])).fetchone():
                            continue
                        disk.execute(f"{verb} INTO {table} VALUES ({marks})", tuple(row))
        finally:
            with contextlib.suppress(sqlite3.Error):
                disk.execute(f"PRAGMA busy_timeout = {int(outbox_file.BUSY_TIMEOUT_S * 1000)}")
        self.database.close()

    def _copy(self, disk: sqlite3.Connection) -> None:
        """Whatever can still be read, as far as there is room: events that go on, what waits in the order in which it
        is sent, and of the ledger the newest. What is left out stays on the disk, and is known again with it."""
        open_phase = "phase IN ('new', 'update')"
        self._take(disk, "alerts", f"WHERE {open_phase}", ROOM_FOR_MESSAGES)
        self._take(disk, "messages", "ORDER BY rank, id", ROOM_FOR_MESSAGES)
        for table in ("clips", "commands", "budgets"):
            self._take(disk, table, "ORDER BY rowid DESC", ROOM_FOR_LEDGER)
        self._take(disk, "alerts", f"WHERE NOT {open_phase} ORDER BY rowid DESC", ROOM_FOR_LEDGER)
        self._copied = {row["id"] for row in self.database.execute("SELECT id FROM messages")}
        with contextlib.suppress(sqlite3.Error):
            row = disk.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'messages'").fetchone()
            self._last_id_on_disk = row[0] or 0

    def _take(self, disk: sqlite3.Connection, table: str, which: str, share: float) -> None:
        """Rows of a table, while no more than ``share`` of the memory is used; each under its own rowid."""
        self.database.execute("BEGIN")
        with outbox_file.transaction_end(self.database), contextlib.suppress(sqlite3.Error):
            for number, row in enumerate(disk.execute(f"SELECT rowid AS at, * FROM {table} {which}")):  # noqa: S608
                if number % LOOK_EVERY == 0 and self._pages() > share * MEMORY_PAGES:
                    log.warning("memory has no room for all of the outbox's %s: the rest stays on the disk", table)
                    return
                names = ", ".join(row.keys()[1:])
                marks = ", ".join("?" * len(row))
                self.database.execute(f"INSERT INTO {table} (rowid, {names}) VALUES ({marks})", tuple(row))  # noqa: S608

    def _pages(self) -> int:
        return int(self.database.execute("PRAGMA page_count").fetchone()[0])

    def _forget_delivered(self, disk: sqlite3.Connection, waiting: set[int]) -> None:
        """What was copied and is no longer there has arrived; what could not be copied has not."""
        for row_id in self._copied - waiting:
            disk.execute("DELETE FROM messages WHERE id = ?", (row_id,))
