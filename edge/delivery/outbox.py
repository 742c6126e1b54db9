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
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from edge.delivery.clip_ledger import CLIP_RANK, ClipFile, ClipLedger, ClipRow, read_alerts
from edge.delivery.messages import Alert, Moment, Response
from edge.delivery.outbox_store import enqueue, next_seq

log = logging.getLogger(__name__)

__all__ = ["ClipFile", "ClipRow", "Outbox", "Row"]

LEDGER_DAYS = 90
LEDGER_ROWS = 50_000
COMMAND_ROWS = 1_000
CLIP_MESSAGES = 5_000
"""Clip messages that may wait: some 3 MB. Alerts have no such bound, see ADR 0002."""
PHASE_ORDER = {"": -1, "new": 0, "update": 1, "end": 2, "interrupted": 2}
ALERT_RANK = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One message in the queue."""

    id: int
    leaf: str
    """Last part of the topic: ``alert`` or ``clip``."""
    alert_id: str
    seq: int
    payload: bytes


class Outbox(ClipLedger):
    """See the module. ``open`` never raises: without a usable disk it works from memory and says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.clip_messages_dropped = 0
        """Since the start, because more than CLIP_MESSAGES waited."""
        self._overcrowded = False

    @property
    def problems(self) -> list[str]:
        """Those of the file, and ``outbox:backlog`` for the hour after clip messages had to be dropped."""
        return super().problems + (["outbox:backlog"] if self._overcrowded else [])

    # Alerts ----------------------------------------------------------------------------------------------------

    def put_alert(self, alert: Alert) -> Alert:
        """Commit an alert; return it with its ``seq``.

        One that is ``muted`` stands in the ledger like any other, and is never sent.
        A correction (``clock_corrected``) of a state that has been overtaken meanwhile is not put: the later
        state is returned.

        Raises:
            ValueError: the phase goes backwards (an ended alert cannot go on).
        """

        def act(db: sqlite3.Connection) -> Alert:
            known = db.execute("SELECT phase, payload FROM alerts WHERE alert_id = ?", (alert.alert_id,)).fetchone()
            phase = known["phase"] if known else ""
            if phase and alert.clock_corrected:
                newest = Alert.model_validate_json(known["payload"])
                if newest.seq > alert.seq:
                    return newest
            backwards = PHASE_ORDER[alert.phase] < PHASE_ORDER[phase]
            over = phase in ("end", "interrupted") and alert.phase != phase
            if backwards or over:
                raise ValueError(f"alert {alert.alert_id} is {phase!r} already and cannot become {alert.phase!r}")
            numbered = alert.model_copy(update={"seq": next_seq(db, alert.alert_id, time.time())})
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
            if not alert.muted:
                enqueue(db, ALERT_RANK, "alert", alert.alert_id, numbered.seq, payload)
            return numbered

        return self._write(act)

    def interrupt_orphans(self, now: Moment, reason: str) -> list[Alert]:
        """Close what an earlier run left open. At the start, before the first alert of this run."""
        reason = f"{reason}; closed at {now.utc:%Y-%m-%dT%H:%M:%SZ}"
        rows = self._read("SELECT payload FROM alerts WHERE phase IN ('new', 'update') ORDER BY rowid")
        still_open = read_alerts(rows)
        return [self.put_alert(a.model_copy(update={"phase": "interrupted", "reason": reason})) for a in still_open]

    def uncorrected(self, boot_id: str, limit: int = -1) -> list[Alert]:
        """The last states of this boot's alerts from before its first synchronisation, oldest first, up to
        ``limit``."""
        rows = self._read(
            "SELECT payload FROM alerts WHERE boot_id = ? AND synchronised = 0 AND phase != '' ORDER BY rowid LIMIT ?",
            (boot_id, limit),
        )
        return read_alerts(rows)

    def last_alert(self, alert_id: str) -> Alert | None:
        """The newest state of an alert in the ledger."""
        rows = self._read("SELECT payload FROM alerts WHERE alert_id = ? AND phase != ''", (alert_id,))
        return next(iter(read_alerts(rows)), None)

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

    def waits(self, alert_id: str) -> bool:
        """Whether any message about this alert waits for delivery."""
        return bool(self._read("SELECT 1 FROM messages WHERE alert_id = ? LIMIT 1", (alert_id,)))

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

    def prune(self, now: Moment) -> int:
        """Forget delivered alerts of more than 90 days ago and give the space back; return how many. Clip messages that
        wait in too great a number are dropped, alerts never.

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
        self._thin_out()
        self._give_space_back()
        return gone

    def _thin_out(self) -> None:
        """Drop clip messages over the bound: first those that a later one of their clip replaces, then the oldest."""

        def act(db: sqlite3.Connection) -> int:
            count: int = db.execute("SELECT count(*) FROM messages WHERE rank = ?", (CLIP_RANK,)).fetchone()[0]
            if count <= CLIP_MESSAGES:
                return 0
            replaced = (
                "EXISTS (SELECT 1 FROM messages AS later"
                " WHERE later.alert_id = one.alert_id AND later.rank = one.rank AND later.seq > one.seq)"
            )
            which = f"SELECT id FROM messages AS one WHERE rank = ? ORDER BY {replaced} DESC, id LIMIT ?"  # noqa: S608
            return db.execute(
                f"DELETE FROM messages WHERE id IN ({which})",  # noqa: S608
                (CLIP_RANK, count - CLIP_MESSAGES),
            ).rowcount

        dropped = self._write(act, durable=False)
        self._overcrowded = dropped > 0
        self.clip_messages_dropped += dropped
        if dropped:
            log.warning("%d clip messages were dropped: more than %d wait", dropped, CLIP_MESSAGES)
