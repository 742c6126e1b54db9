"""Alerts and clip messages on disk until they are delivered. Nothing is sent that is not committed here.

    outbox = Outbox.open(state_dir / "outbox.sqlite3")
    alert = outbox.put_alert(alert)          # committed and fsynced; carries its seq now
    for row in outbox.pending(20):
        ...                                  # publish row.payload on row.leaf
        outbox.delivered(row.id)

A message is known by ``(alert_id, seq)``: one counter per alert runs over its alert and clip messages. Alerts
go before clips, so a receiver may see seq 2 (``end``) before seq 1 (a clip): it drops *repeats*, not lower numbers.

Thread-safe; a second process (a drill) may put rows into the same file. When the disk fails (full, read-only,
broken card), the outbox goes on from a copy in memory, says so in ``problems``, and writes everything back
when the disk returns: a ranger is better served by an alert that a power cut could have lost than by none.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from edge.delivery import outbox_file
from edge.delivery.messages import Alert, Clip, ClipState, Moment, Response
from edge.delivery.standin import Standin, code_of

T = TypeVar("T")
log = logging.getLogger(__name__)

LEDGER_DAYS = 90
LEDGER_ROWS = 50_000
COMMAND_ROWS = 1_000
PHASE_ORDER = {"": -1, "new": 0, "update": 1, "end": 2, "interrupted": 2}
ALERT_RANK, CLIP_RANK = 0, 1


@dataclass(frozen=True, slots=True)
class Row:
    """One message in the queue."""

    id: int
    leaf: str
    """Last part of the topic: ``alert`` or ``clip``."""
    alert_id: str
    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class ClipRow:
    """What is known about one clip."""

    clip: Clip
    """The last message about it (state, key, size, hash)."""
    path: Path | None
    """The file, or None once there is none."""
    may_leave: bool
    """The privacy gate has let it pass."""
    requested: bool
    """It was asked for by command."""
    attempts: int
    next_attempt_s: float
    """Not to be tried before this time, on whatever clock the uploader uses."""
    utc_s: float
    """Unix time at which the row was made."""


class ClipFile(NamedTuple):
    """What retention must know of a clip that takes room."""

    alert_id: str
    path: str
    state: ClipState
    may_leave: bool
    size_bytes: int
    test: bool


class Outbox:
    """See the module. ``open`` never raises: without a usable disk it works from memory and says so."""

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
            if self._standin is not None:
                self._mend()
            if self._disk is not None:
                self._disk.close()
                self._disk = None

    # Alerts and clips ------------------------------------------------------------------------------------------

    def put_alert(self, alert: Alert) -> Alert:
        """Commit an alert; return it with its ``seq``.

        A correction (``clock_corrected``) of a state that has been overtaken meanwhile is not put: the later
        state is returned.

        Raises:
            ValueError: the phase goes backwards (an ended alert cannot go on).
        """

        def act(db: sqlite3.Connection) -> Alert:
            known = db.execute("SELECT phase, payload FROM alerts WHERE alert_id = ?", (alert.alert_id,)).fetchone()
            phase = known["phase"] if known else ""
            backwards = PHASE_ORDER[alert.phase] < PHASE_ORDER[phase]
            over = phase in ("end", "interrupted") and alert.phase != phase
            if backwards or over:
                if alert.clock_corrected:
                    return Alert.model_validate_json(known["payload"])
                raise ValueError(f"alert {alert.alert_id} is {phase!r} already and cannot become {alert.phase!r}")
            numbered = alert.model_copy(update={"seq": _next_seq(db, alert.alert_id, time.time())})
            payload = numbered.to_json()
            db.execute(
                "UPDATE alerts SET phase = ?, payload = ?, boot_id = ?, synchronised = ?, utc_s = ? WHERE alert_id = ?",
                (
                    alert.phase,
                    payload,
                    alert.onset.boot_id,
                    alert.onset.clock_synchronised,
                    alert.onset.utc.timestamp(),
                    alert.alert_id,
                ),
            )
            _enqueue(db, ALERT_RANK, "alert", alert.alert_id, numbered.seq, payload)
            return numbered

        return self._write(act)

    def put_clip(self, clip: Clip, path: Path | None = None, may_leave: bool | None = None) -> Clip:
        """Commit what became of a clip; return the message with its ``seq``.

        ``path`` and ``may_leave`` replace what the row says where they are given. ``evicted`` forgets the path.
        """

        def act(db: sqlite3.Connection) -> Clip:
            now_s = time.time()
            numbered = clip.model_copy(update={"seq": _next_seq(db, clip.alert_id, now_s)})
            payload = numbered.to_json()
            db.execute(
                "INSERT INTO clips (alert_id, payload, path, state, may_leave, size_bytes, utc_s, position)"
                " VALUES (?, ?, ?, ?, coalesce(?, 0), ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM clips))"
                " ON CONFLICT (alert_id) DO UPDATE SET payload = excluded.payload, state = excluded.state,"
                " path = coalesce(excluded.path, path), may_leave = coalesce(?, may_leave),"
                " size_bytes = excluded.size_bytes",
                (
                    clip.alert_id,
                    payload,
                    None if path is None else str(path),
                    clip.state,
                    may_leave,
                    clip.size_bytes,
                    now_s,
                    may_leave,
                ),
            )
            if clip.state == "evicted":
                db.execute("UPDATE clips SET path = NULL WHERE alert_id = ?", (clip.alert_id,))
            _enqueue(db, CLIP_RANK, "clip", clip.alert_id, numbered.seq, payload)
            return numbered

        return self._write(act)

    def interrupt_orphans(self, now: Moment, reason: str) -> list[Alert]:
        """Close what an earlier run left open. At the start, before the first alert of this run."""
        reason = f"{reason}; closed at {now.utc:%Y-%m-%dT%H:%M:%SZ}"
        rows = self._read("SELECT payload FROM alerts WHERE phase IN ('new', 'update') ORDER BY rowid")
        still_open = [Alert.model_validate_json(row["payload"]) for row in rows]
        return [self.put_alert(a.model_copy(update={"phase": "interrupted", "reason": reason})) for a in still_open]

    def uncorrected(self, boot_id: str) -> list[Alert]:
        """The last states of this boot's alerts from before its first synchronisation, oldest first."""
        rows = self._read(
            "SELECT payload FROM alerts WHERE boot_id = ? AND synchronised = 0 AND phase != '' ORDER BY rowid",
            (boot_id,),
        )
        return [Alert.model_validate_json(row["payload"]) for row in rows]

    def last_alert(self, alert_id: str) -> Alert | None:
        """The newest state of an alert in the ledger."""
        rows = self._read("SELECT payload FROM alerts WHERE alert_id = ? AND phase != ''", (alert_id,))
        return Alert.model_validate_json(rows[0]["payload"]) if rows else None

    # The queue -------------------------------------------------------------------------------------------------

    def pending(self, limit: int, skip: Iterable[int] = (), leaves: Iterable[str] = ("alert", "clip")) -> list[Row]:
        """Up to ``limit`` undelivered messages of ``leaves``, alerts first, oldest first; not the ids in ``skip``."""
        rows = self._read(
            "SELECT id, leaf, alert_id, seq, payload FROM messages"
            " WHERE id NOT IN (SELECT value FROM json_each(?)) AND leaf IN (SELECT value FROM json_each(?))"
            " ORDER BY rank, id LIMIT ?",
            (json.dumps(list(skip)), json.dumps(list(leaves)), limit),
        )
        return [Row(*row) for row in rows]

    def delivered(self, row_id: int) -> None:
        """The message has arrived: its row goes. (Not fsynced: a power cut costs a repeat, not an alert.)"""
        self._write(lambda db: db.execute("DELETE FROM messages WHERE id = ?", (row_id,)).rowcount, durable=False)

    def receipt(self, alert_id: str, seq: int) -> int | None:
        """A receiver has committed this message. Returns the id of the row that went, None if there was none."""
        rows = self._read("SELECT id FROM messages WHERE alert_id = ? AND seq = ?", (alert_id, seq))
        if not rows:
            return None
        self.delivered(rows[0]["id"])
        return int(rows[0]["id"])

    @property
    def depth(self) -> int:
        """Messages that wait for delivery."""
        if self._depth is None:
            self._depth = int(self._read("SELECT count(*) FROM messages")[0][0])
        return self._depth

    @property
    def alerts_waiting(self) -> int:
        """Alert messages that wait for delivery."""
        return int(self._read("SELECT count(*) FROM messages WHERE rank = ?", (ALERT_RANK,))[0][0])

    # Clips -----------------------------------------------------------------------------------------------------

    def clips(
        self,
        states: Iterable[ClipState],
        may_leave: bool | None = None,
        requested: bool | None = None,
        limit: int = -1,
    ) -> list[ClipRow]:
        """Clips in any of ``states``, oldest first; all of them without a ``limit``."""
        wanted = list(states)
        rows = self._read(
            f"SELECT * FROM clips WHERE state IN ({', '.join('?' * len(wanted))})"  # noqa: S608 -- only marks
            " AND may_leave = coalesce(?, may_leave) AND requested = coalesce(?, requested) ORDER BY position LIMIT ?",
            (*wanted, may_leave, requested, limit),
        )
        return [_clip_row(row) for row in rows]

    @property
    def clips_waiting(self) -> int:
        """Clips that may leave the device and have not left."""
        return int(self._read("SELECT count(*) FROM clips WHERE state = 'kept' AND may_leave")[0][0])

    def clip_files(self) -> list[ClipFile]:
        """Every clip whose file is on the device, oldest first, without its message (there may be thousands)."""
        rows = self._read(
            "SELECT alert_id, path, state, may_leave, size_bytes, json_extract(CAST(payload AS TEXT), '$.test')"
            " FROM clips WHERE path IS NOT NULL ORDER BY position"
        )
        return [ClipFile(row[0], row[1], row[2], bool(row[3]), row[4], bool(row[5])) for row in rows]

    def alerts_without_clip(self, limit: int = 100) -> list[Alert]:
        """Alerts that are over and of which no clip was ever heard of, newest first (cut off by a crash)."""
        rows = self._read(
            "SELECT payload FROM alerts WHERE phase IN ('end', 'interrupted')"
            " AND alert_id NOT IN (SELECT alert_id FROM clips) ORDER BY rowid DESC LIMIT ?",
            (limit,),
        )
        return [Alert.model_validate_json(row["payload"]) for row in rows]

    def clip(self, alert_id: str) -> ClipRow | None:
        """What is known about one clip."""
        rows = self._read("SELECT * FROM clips WHERE alert_id = ?", (alert_id,))
        return _clip_row(rows[0]) if rows else None

    def request_upload(self, alert_id: str) -> bool:
        """Mark a clip as asked for, to be tried at once. False: no such clip."""
        statement = "UPDATE clips SET requested = 1, next_attempt_s = 0 WHERE alert_id = ?"
        return self._write(lambda db: db.execute(statement, (alert_id,)).rowcount) > 0

    def attempted(self, alert_id: str, next_attempt_s: float) -> None:
        """An upload has failed; note it and when to try again."""
        statement = "UPDATE clips SET attempts = attempts + 1, next_attempt_s = ? WHERE alert_id = ?"
        self._write(lambda db: db.execute(statement, (next_attempt_s, alert_id)).rowcount, durable=False)

    def forget_clip_file(self, alert_id: str) -> None:
        """The file is gone on purpose (uploaded and no longer needed, or withheld and deleted)."""
        statement = "UPDATE clips SET path = NULL WHERE alert_id = ?"
        self._write(lambda db: db.execute(statement, (alert_id,)).rowcount)

    def clip_bytes(self) -> int:
        """Bytes of all clips whose file is still on the device."""
        return int(self._read("SELECT coalesce(sum(size_bytes), 0) FROM clips WHERE path IS NOT NULL")[0][0])

    # Commands --------------------------------------------------------------------------------------------------

    def begin_command(self, command_id: str) -> bool:
        """Note that a command is about to be carried out. False: it was seen before, see ``answer``."""

        def act(db: sqlite3.Connection) -> bool:
            new = db.execute("INSERT OR IGNORE INTO commands (id) VALUES (?)", (command_id,)).rowcount > 0
            oldest = "position <= (SELECT max(position) FROM commands) - ?"
            db.execute(f"DELETE FROM commands WHERE {oldest}", (COMMAND_ROWS,))  # noqa: S608
            return new

        return self._write(act)

    def answer(self, command_id: str) -> Response | None:
        """The answer that was given to a command; None where it never came to one."""
        rows = self._read("SELECT response FROM commands WHERE id = ? AND response != ''", (command_id,))
        return Response.model_validate_json(rows[0]["response"]) if rows else None

    def end_command(self, response: Response) -> None:
        """Keep the answer, for repeats of the command."""
        statement = "UPDATE commands SET response = ? WHERE id = ?"
        self._write(lambda db: db.execute(statement, (response.to_json(), response.id)).rowcount)

    # Daily budgets ---------------------------------------------------------------------------------------------

    def spend(self, budget: str, day: date, amount: float, limit: float) -> bool:
        """Take ``amount`` from the day's ``budget`` if no more than ``limit`` is spent then. False: not taken."""

        def act(db: sqlite3.Connection) -> bool:
            db.execute("DELETE FROM budgets WHERE name = ? AND day != ?", (budget, day.isoformat()))
            db.execute("INSERT OR IGNORE INTO budgets VALUES (?, ?, 0)", (budget, day.isoformat()))
            statement = "UPDATE budgets SET spent = spent + ? WHERE name = ? AND spent + ? <= ?"
            return db.execute(statement, (amount, budget, amount, limit)).rowcount > 0

        return self._write(act)

    def spent(self, budget: str, day: date) -> float:
        """What was taken from a budget on a day."""
        rows = self._read("SELECT spent FROM budgets WHERE name = ? AND day = ?", (budget, day.isoformat()))
        return float(rows[0]["spent"]) if rows else 0.0

    # Upkeep ----------------------------------------------------------------------------------------------------

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

    def prune(self, now: Moment) -> int:
        """Forget delivered alerts of more than 90 days ago and give the space back; return how many.

        Only on a synchronised clock, and only alerts that were dated by one: before its first synchronisation
        a Pi may think that it is 1970.
        """
        oldest_s = now.utc.timestamp() - LEDGER_DAYS * 86_400

        def act(db: sqlite3.Connection) -> int:
            waiting = "alert_id NOT IN (SELECT alert_id FROM messages) AND phase NOT IN ('new', 'update')"
            with_file = "alert_id NOT IN (SELECT alert_id FROM clips WHERE path IS NOT NULL)"
            gone = 0
            if now.clock_synchronised:
                gone += db.execute(
                    f"DELETE FROM alerts WHERE synchronised AND utc_s < ? AND {waiting} AND {with_file}",  # noqa: S608
                    (oldest_s,),
                ).rowcount
            gone += db.execute(
                f"DELETE FROM alerts WHERE rowid <= (SELECT max(rowid) FROM alerts) - ? AND {waiting} AND {with_file}",  # noqa: S608
                (LEDGER_ROWS,),
            ).rowcount
            db.execute("DELETE FROM clips WHERE path IS NULL AND alert_id NOT IN (SELECT alert_id FROM alerts)")
            return gone

        gone = self._write(act, durable=False)
        with self._lock:
            if self._disk is not None and self._standin is None:
                self._disk.execute("PRAGMA incremental_vacuum(500)").fetchall()
        return gone

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

    def _database(self) -> sqlite3.Connection:
        if self._standin is not None:
            return self._standin.database
        assert self._disk is not None, "the outbox is closed"
        return self._disk

    def _open_disk(self) -> None:
        self._disk, aside = outbox_file.open_file(self._path)
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
        try:
            if self._disk is None:
                self._open_disk()
            assert self._disk is not None
            self._standin.write_back(self._disk)
        except (sqlite3.Error, OSError) as error:
            self._standin.still(code_of(error))
            return False
        log.warning("the outbox is on disk again")
        self._standin = None
        self._depth = None
        return True


def _next_seq(db: sqlite3.Connection, alert_id: str, utc_s: float) -> int:
    row = db.execute(
        "INSERT INTO alerts (alert_id, last_seq, phase, payload, boot_id, synchronised, utc_s)"
        " VALUES (?, 0, '', '', '', 1, ?) ON CONFLICT (alert_id) DO UPDATE SET last_seq = last_seq + 1"
        " RETURNING last_seq",
        (alert_id, utc_s),
    ).fetchone()
    return int(row["last_seq"])


def _enqueue(db: sqlite3.Connection, rank: int, leaf: str, alert_id: str, seq: int, payload: bytes) -> None:
    db.execute(
        "INSERT INTO messages (rank, leaf, alert_id, seq, payload) VALUES (?, ?, ?, ?, ?)",
        (rank, leaf, alert_id, seq, payload),
    )


def _clip_row(row: sqlite3.Row) -> ClipRow:
    return ClipRow(
        clip=Clip.model_validate_json(row["payload"]),
        path=Path(row["path"]) if row["path"] else None,
        may_leave=bool(row["may_leave"]),
        requested=bool(row["requested"]),
        attempts=row["attempts"],
        next_attempt_s=row["next_attempt_s"],
        utc_s=row["utc_s"],
    )
