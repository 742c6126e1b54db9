"""The SQLite file under the outbox: schema, opening, setting a damaged one aside.

Upgrades are crash-safe: each step of ``UPGRADES`` and its ``user_version`` are one transaction. Steps only
ever add, so that an older program can still work with a newer file after a rollback.
"""

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 5.0
KEEP_SET_ASIDE = 3
TABLES = ("alerts", "messages", "clips", "commands", "budgets")

UPGRADES = (
    """
    CREATE TABLE alerts (           -- the ledger: every alert ever made, pruned after 90 days
        alert_id TEXT PRIMARY KEY,
        last_seq INTEGER NOT NULL,  -- one counter for its alert and clip messages
        phase TEXT NOT NULL,        -- '' where only a clip is known (a remote recording)
        payload BLOB NOT NULL,      -- its last state, as sent
        boot_id TEXT NOT NULL,
        synchronised INTEGER NOT NULL,
        utc_s REAL NOT NULL
    );
    CREATE INDEX alerts_open ON alerts (phase) WHERE phase IN ('new', 'update');
    CREATE INDEX alerts_uncorrected ON alerts (boot_id) WHERE synchronised = 0;
    CREATE TABLE messages (         -- the queue: a row leaves when it is delivered
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rank INTEGER NOT NULL,      -- 0 alerts, 1 clips: lower ranks go first
        leaf TEXT NOT NULL,
        alert_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (alert_id, seq)
    );
    CREATE INDEX messages_order ON messages (rank, id);
    CREATE TABLE clips (
        alert_id TEXT PRIMARY KEY,
        payload BLOB NOT NULL,      -- the last Clip
        path TEXT,                  -- NULL once no file is left
        state TEXT NOT NULL,
        may_leave INTEGER NOT NULL DEFAULT 0,
        requested INTEGER NOT NULL DEFAULT 0,
        size_bytes INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        utc_s REAL NOT NULL,
        position INTEGER NOT NULL   -- order of creation, whatever the clock did
    );
    CREATE INDEX clips_by_state ON clips (state, position);
    CREATE TABLE commands (         -- ids that were seen, so that a repeat is not carried out twice
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        response BLOB NOT NULL DEFAULT ''
    );
    CREATE TABLE budgets (          -- what was spent today (recorded seconds, bytes)
        name TEXT NOT NULL,
        day TEXT NOT NULL,
        spent REAL NOT NULL,
        PRIMARY KEY (name, day)
    );
    """,
)


def connect(path: Path | str, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """The database at ``path``, upgraded and checked; ``:memory:`` for a stand-in.

    WAL with ``synchronous=FULL``: SQLite fsyncs the WAL at every commit (sqlite.org/pragma.html#pragma_synchronous),
    and the directory when it makes the WAL.

    Raises:
        sqlite3.Error: it cannot be opened, is locked, or is damaged (``is_damage`` tells).
    """
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 250")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        connection.execute("PRAGMA cache_size = -512")
        connection.execute("PRAGMA temp_store = MEMORY")
        _upgrade(connection)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {verdict}")
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(UPGRADES[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        with transaction_end(connection):
            # Another process may have done this step while we waited for the lock.
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
    for table in TABLES:
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 -- our own table names


def _statements(script: str) -> list[str]:
    # executescript() would commit the open transaction first.
    bare = "\n".join(line.split("--")[0] for line in script.splitlines())
    return [statement for statement in bare.split(";") if statement.strip()]


@contextlib.contextmanager
def transaction_end(connection: sqlite3.Connection) -> Iterator[None]:
    """COMMIT at the end of the block, ROLLBACK when it raises. BEGIN has been said."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, as against locked, full or out of reach."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return True
        return code & 0xFF == sqlite3.SQLITE_ERROR and "no such" in str(error)
    return "malformed" in str(error)


def open_file(path: Path, timeout_s: float = BUSY_TIMEOUT_S) -> tuple[sqlite3.Connection, Path | None]:
    """The database at ``path``; a damaged one is set aside first, and its readable rows are taken over.

    Returns the connection and where the damaged file lies now (None: it was sound).

    Raises:
        sqlite3.Error: locked, full, read-only, out of reach. The file is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside: Path | None = None
    try:
        connection = connect(path, timeout_s)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        aside = set_aside(path)
        log.error("the outbox %s is damaged (%s): set aside as %s", path, error, aside.name)
        connection = connect(path)
        saved = salvage(aside, connection)
        log.error("%d rows of the damaged outbox could be read and were taken over", saved)
    _sync_directory(path.parent)
    return connection, aside


def set_aside(path: Path) -> Path:
    """Rename the database, its WAL and its shared memory to ``*.damaged-N``; only the newest few are kept."""
    numbered = {
        int(number): old
        for old in path.parent.glob(f"{path.name}.damaged-*")
        if (number := old.name.rpartition("-")[2]).isdigit()
    }
    for old_number in sorted(numbered)[: 1 - KEEP_SET_ASIDE]:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{numbered[old_number]}{suffix}").unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.damaged-{max(numbered, default=0) + 1}")
    # The WAL first: should the power fail in between, the next start finds no sound file with a foreign WAL.
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    _sync_directory(path.parent)
    return aside


def salvage(damaged: Path, into: sqlite3.Connection) -> int:
    """Copy the rows that can still be read; return their number."""
    saved = 0
    try:
        old = sqlite3.connect(damaged, timeout=0.1)
    except sqlite3.Error:
        return 0
    old.row_factory = sqlite3.Row
    into.execute("BEGIN IMMEDIATE")
    with contextlib.closing(old), transaction_end(into):
        for table in TABLES:
            for order in ("ASC", "DESC"):  # from both ends, up to the damage
                with contextlib.suppress(sqlite3.Error):
                    names: list[str] = []
                    for row in old.execute(f"SELECT * FROM {table} ORDER BY rowid {order}"):  # noqa: S608
                        if "payload" in row.keys() and not _is_object(row["payload"]):  # noqa: SIM118
                            continue  # readable, but garbage
                        if not names:
                            names = [column[1] for column in old.execute(f"PRAGMA table_info({table})")]
                        marks = ", ".join("?" * len(names))
                        statement = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608
                        with contextlib.suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
                            saved += into.execute(statement, tuple(row)).rowcount
    return saved


def _is_object(payload: object) -> bool:
    try:
        return payload == "" or (isinstance(payload, bytes) and isinstance(json.loads(payload), dict))
    except ValueError:
        return False


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
