"""What became of every clip: a table in the outbox's database, changed together with its messages."""

import logging
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from edge.delivery.messages import Alert, Clip, ClipState
from edge.delivery.outbox_store import Store, enqueue, next_seq

log = logging.getLogger(__name__)

CLIP_RANK = 1
"""Clip messages go after alerts, which have rank 0."""


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
    """Uploads that failed."""
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


class ClipLedger(Store):
    """The part of the outbox that clips, storage and retention use."""

    def put_clip(
        self, clip: Clip, path: Path | None = None, may_leave: bool | None = None, requested: bool = False
    ) -> Clip:
        """Commit what became of a clip; return the message with its ``seq``.

        ``path`` and ``may_leave`` replace what the row says where they are given; what was ``requested`` stays so.
        ``evicted`` forgets the path.
        """

        def act(db: sqlite3.Connection) -> Clip:
            now_s = time.time()
            numbered = clip.model_copy(update={"seq": next_seq(db, clip.alert_id, now_s)})
            payload = numbered.to_json()
            db.execute(
                "INSERT INTO clips (alert_id, payload, path, state, may_leave, requested, size_bytes, utc_s, position)"
                " VALUES (?, ?, ?, ?, coalesce(?, 0), ?, ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM clips))"
                " ON CONFLICT (alert_id) DO UPDATE SET payload = excluded.payload, state = excluded.state,"
                " path = coalesce(excluded.path, path), may_leave = coalesce(?, may_leave),"
                " requested = max(requested, excluded.requested), size_bytes = excluded.size_bytes",
                (
                    clip.alert_id,
                    payload,
                    None if path is None else str(path),
                    clip.state,
                    may_leave,
                    requested,
                    clip.size_bytes,
                    now_s,
                    may_leave,
                ),
            )
            if clip.state == "evicted":
                db.execute("UPDATE clips SET path = NULL WHERE alert_id = ?", (clip.alert_id,))
            if not _muted(db, clip.alert_id):
                enqueue(db, CLIP_RANK, "clip", clip.alert_id, numbered.seq, payload)
            return numbered

        return self._write(act)

    def resume_numbers(self, alert_id: str, last_seq: int) -> None:
        """Of an alert that the ledger does not know (its file was damaged): number its next message after this."""
        statement = (
            "INSERT INTO alerts (alert_id, last_seq, phase, payload, boot_id, synchronised, utc_s)"
            " VALUES (?, ?, '', '', '', 1, ?) ON CONFLICT (alert_id) DO NOTHING"
        )
        self._write(lambda db: db.execute(statement, (alert_id, last_seq, time.time())).rowcount)

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
        return _clip_rows(rows)

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
        return read_alerts(rows)

    def clip(self, alert_id: str) -> ClipRow | None:
        """What is known about one clip."""
        rows = self._read("SELECT * FROM clips WHERE alert_id = ?", (alert_id,))
        return next(iter(_clip_rows(rows)), None)

    def request_upload(self, alert_id: str) -> bool:
        """Mark a clip as asked for. False: there is none that is here and may leave."""
        statement = "UPDATE clips SET requested = 1 WHERE alert_id = ? AND state = 'kept' AND may_leave"
        return self._write(lambda db: db.execute(statement, (alert_id,)).rowcount) > 0

    def attempted(self, alert_id: str) -> None:
        """An upload has failed; note it."""
        statement = "UPDATE clips SET attempts = attempts + 1 WHERE alert_id = ?"
        self._write(lambda db: db.execute(statement, (alert_id,)).rowcount, durable=False)

    def forget_clip_file(self, alert_id: str) -> None:
        """The file is gone on purpose (uploaded and no longer needed, or withheld and deleted)."""
        statement = "UPDATE clips SET path = NULL WHERE alert_id = ?"
        self._write(lambda db: db.execute(statement, (alert_id,)).rowcount)

    def clip_bytes(self) -> int:
        """Bytes of all clips whose file is still on the device."""
        return int(self._read("SELECT coalesce(sum(size_bytes), 0) FROM clips WHERE path IS NOT NULL")[0][0])


def _muted(db: sqlite3.Connection, alert_id: str) -> bool:
    """Whether the clip's alert is not to be sent: then nobody is told of its clip, which is kept all the same."""
    muted = "SELECT 1 FROM alerts WHERE alert_id = ? AND payload != ''"
    query = f"{muted} AND json_extract(CAST(payload AS TEXT), '$.muted')"
    return db.execute(query, (alert_id,)).fetchone() is not None


def read_alerts(rows: Iterable[sqlite3.Row]) -> list[Alert]:
    """The alerts in the payloads of ledger rows. One that cannot be read is logged and left out: it must not
    stop the daemon at every start."""
    alerts = []
    for row in rows:
        try:
            alerts.append(Alert.model_validate_json(row["payload"]))
        except ValidationError as error:
            log.error("an alert in the ledger cannot be read: %s", error)
    return alerts


def _clip_rows(rows: Iterable[sqlite3.Row]) -> list[ClipRow]:
    found = []
    for row in rows:
        try:
            clip = Clip.model_validate_json(row["payload"])
        except ValidationError as error:
            log.error("the clip row of %s cannot be read: %s", row["alert_id"], error)
            continue
        found.append(
            ClipRow(
                clip=clip,
                path=Path(row["path"]) if row["path"] else None,
                may_leave=bool(row["may_leave"]),
                requested=bool(row["requested"]),
                attempts=row["attempts"],
                utc_s=row["utc_s"],
            )
        )
    return found
