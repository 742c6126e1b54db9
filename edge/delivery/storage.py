"""Where clips go once the privacy gate has let them pass: a folder, or S3.

One thread, which sleeps until there is something to do. It takes its work from the outbox's clip rows, so what is
on disk is all that it knows, and a restart changes nothing. Alerts before clips: while alerts wait for a connected
broker, no clip is begun. Failures are backed off from, with jitter, and named in ``problems``.
"""

import logging
import random
import threading
import time
from collections.abc import Callable

from edge.audio.clock import Clock
from edge.delivery import folder
from edge.delivery.budget import DailyBytes
from edge.delivery.evidence import description_path
from edge.delivery.faults import Fault
from edge.delivery.outbox import ClipRow, Outbox
from edge.delivery.s3 import StoppedError, UploaderProcess, connection_of, job_of
from edge.delivery.upload_queue import BATCH, UploadQueue
from edge.settings import EdgeSettings, SettingsError
from edge.threads import joined

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""Between two beats of an idle thread."""
ALERTS_FIRST_S = 1.0
"""While alerts wait: until the next look."""
HOLD_S = 60.0
"""Alerts that still wait then are refused, or not receipted: that must not cost the clips as well."""
FIRST_RETRY_S = 5.0
BUDGET_LOOK_S = 300.0
SENT_MAYBE = frozenset({"timeout", "connection", "server", "uploader", "checksum", "error"})
"""Faults after which a clip's bytes may have gone over the link."""


class Storage:
    """See the module."""

    def __init__(
        self,
        settings: EdgeSettings,
        outbox: Outbox,
        clock: Clock,
        on_message: Callable[[], None],
        alerts_first: Callable[[], bool],
    ) -> None:
        """``on_message`` is called after a clip message was put into the outbox; ``alerts_first`` says whether
        alerts wait for a broker that is there."""
        self._settings = settings
        self._outbox = outbox
        self._on_message = on_message
        self._alerts_first = alerts_first
        self._spool = settings.state_dir / "clips"
        budget = settings.storage.metered.bytes_per_day
        self._sent = DailyBytes(settings.state_dir / "sent-today.json", clock, budget)
        self._queue = UploadQueue(settings.storage, outbox, self._sent)
        self._made_before_s = time.time()
        self._tried: set[str] = set()
        self._failures = 0
        self._problem = ""
        self._not_before_s = 0.0
        self._held_since_s: float | None = None
        self._at_folder_since_s: float | None = None
        self._wanted = True
        self._working = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self.beat = 0
        """Advances at least every five seconds, but where it ``may_stand_still``."""

    @property
    def busy(self) -> bool:
        """Whether clips are on their way or about to be; not while a failure is backed off from."""
        return self._working or (self._wanted and not self._problem)

    @property
    def problems(self) -> list[str]:
        """``storage:CODE`` of the last failure (codes in ``faults.py``), gone after a success; ``storage:over_budget``
        while a clip waits that is larger than the budget of a day."""
        since_s = self._at_folder_since_s
        hangs = since_s is not None and time.monotonic() - since_s > self._settings.storage.timeout_s
        problem = "storage:timeout" if hangs else self._problem
        return ([problem] if problem else []) + self._queue.problems

    @property
    def may_stand_still(self) -> bool:
        """Whether a clip is on its way to a folder: a slow stick, or a share that hangs, must not end detection."""
        return self._at_folder_since_s is not None

    @property
    def bytes_sent_today(self) -> int:
        """Clip bytes sent over the network on this UTC day, across restarts."""
        return self._sent.spent

    @property
    def waiting(self) -> int:
        """Clips that may leave and have not left."""
        return 0 if self._settings.storage.kind == "none" else self._outbox.clips_waiting

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End; an upload that is under way is killed and repeated at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        return joined(self._thread, timeout_s)

    def wake(self) -> None:
        """There may be something to do."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def request(self, alert_id: str) -> str:
        """Somebody asks for this clip: see to it at once. Returns why it will not be uploaded; empty: it will."""
        refusal = self._queue.request(alert_id)
        if not refusal:
            self.wake()
        return refusal

    def _run(self) -> None:
        look_at_s = 0.0
        while not self._stopping:
            self.beat += 1
            now_s = time.monotonic()
            if now_s >= self._not_before_s and (self._wanted or now_s >= look_at_s):
                self._working, self._wanted = True, False
                try:
                    look_at_s = time.monotonic() + self._work()
                except Exception:
                    log.exception("storage failed; it is tried again")
                    self._back_off(Fault("error", "see the log"))
                finally:
                    self._working = False
            with self._changed:
                if not self._stopping and not (self._wanted and time.monotonic() >= self._not_before_s):
                    until_s = max(self._not_before_s, 0.0 if self._wanted else look_at_s)
                    self._changed.wait(min(IDLE_S, max(0.05, until_s - time.monotonic())))

    def _work(self) -> float:
        """Do what can be done now; returns the seconds until it looks again unasked (a new day's budget)."""
        kind = self._settings.storage.kind
        if kind == "none":
            return BUDGET_LOOK_S
        if kind == "folder":
            return self._work_on_folder()
        if self._alerts_go_first():
            self._wanted = True
            self._not_before_s = time.monotonic() + ALERTS_FIRST_S
            return BUDGET_LOOK_S
        rows = self._queue.due()
        if rows:
            self._upload(rows)
            # Whatever came meanwhile, and what the run had no time for.
            self._wanted = self._wanted or bool(self._queue.due())
        return BUDGET_LOOK_S

    # Folder ----------------------------------------------------------------------------------------------------

    def _work_on_folder(self) -> float:
        while rows := self._outbox.clips(["kept"], may_leave=True, limit=BATCH):
            for row in rows:
                if self._stopping:
                    return BUDGET_LOOK_S
                self.beat += 1
                fault = self._keep_in_folder(row)
                if fault is not None:
                    self._back_off(fault)
                    return BUDGET_LOOK_S
                self._succeeded()
        return BUDGET_LOOK_S

    def _keep_in_folder(self, row: ClipRow) -> Fault | None:
        self._at_folder_since_s = time.monotonic()
        try:
            fault = folder.keep(row, self._settings.storage_folder, self._spool, self._outbox)
        finally:
            self._at_folder_since_s = None
        if fault is None:
            self._on_message()
        elif fault.scope == "clip":
            self._give_up(row, fault)
            fault = None
        return fault

    # S3 --------------------------------------------------------------------------------------------------------

    def _alerts_go_first(self) -> bool:
        """Alerts wait, and not for so long that something else must be the matter."""
        if not self._alerts_first():
            self._held_since_s = None
            return False
        if self._held_since_s is None:
            self._held_since_s = time.monotonic()
        return time.monotonic() - self._held_since_s < HOLD_S

    def _upload(self, rows: list[ClipRow]) -> None:
        try:
            connection = connection_of(self._settings.storage.s3)
        except SettingsError as error:
            self._back_off(Fault("bad_credentials", str(error)))
            return
        try:
            with UploaderProcess(connection, self._settings.storage.timeout_s, self._go_on) as uploader:
                for row in rows:
                    if not uploader.takes_more or self._alerts_go_first() or not self._upload_one(uploader, row):
                        return
        except StoppedError:
            log.info("an upload was broken off; it is repeated at the next start")
        except OSError as error:
            self._back_off(Fault("uploader", f"cannot be started: {error}"))

    def _upload_one(self, uploader: UploaderProcess, seen: ClipRow) -> bool:
        """One clip; False where the storage cannot take more now."""
        alert_id = seen.clip.alert_id
        # Looked at again: since the list was made it may have been evicted. And only here is a clip handed
        # over, so here is where the gate's verdict is read.
        row = self._outbox.clip(alert_id)
        if row is None or not row.may_leave or row.clip.state != "kept" or not self._sent.allows(row.clip.size_bytes):
            return True
        if row.path is None or not row.path.exists():
            self._give_up(row, Fault("file_missing", f"{row.path} is gone", "clip"))
            return True
        beside = description_path(row.path)
        job = job_of(
            alert_id,
            str(row.path),
            str(beside) if beside.exists() else None,
            row.clip.key,
            row.clip.sha256,
            perhaps_there=row.attempts > 0 or alert_id in self._tried or row.utc_s < self._made_before_s,
        )
        self._tried.add(alert_id)
        answer = uploader.put(job)
        if answer.ok:
            self._sent.charge(answer.sent_bytes)
            self._tried.discard(alert_id)
            self._outbox.put_clip(row.clip.model_copy(update={"state": "uploaded"}))
            log.info("clip %s uploaded to %s", alert_id, row.clip.key)
            self._succeeded()
            self._on_message()
            return True
        fault = answer.fault or Fault("uploader", "it did not say what failed")
        self._sent.charge(row.clip.size_bytes if fault.code in SENT_MAYBE else answer.sent_bytes)
        self._outbox.attempted(alert_id)
        if fault.scope == "clip":
            self._give_up(row, fault)
            return True
        self._back_off(fault)
        return False

    def _go_on(self) -> bool:
        self.beat += 1
        return not self._stopping

    # What comes of it ------------------------------------------------------------------------------------------

    def _give_up(self, row: ClipRow, fault: Fault) -> None:
        """This clip will not arrive, or not soon; the others go on."""
        alert_id = row.clip.alert_id
        if fault.code in ("file_missing", "damaged"):
            now = self._outbox.clip(alert_id)
            if now is None or now.clip.state != "kept":
                return  # evicted meanwhile, and said so
            log.error("clip %s cannot be stored: %s", alert_id, fault.detail)
            reason = f"{fault.code}: {fault.detail}"
            self._outbox.put_clip(row.clip.model_copy(update={"state": "failed", "reason": reason}), may_leave=False)
            self._on_message()
            return
        log.warning("clip %s is not taken: %s", alert_id, fault.detail)
        self._queue.put_off(alert_id)

    def _succeeded(self) -> None:
        if self._problem:
            log.info("the storage works again")
        self._problem, self._failures, self._not_before_s = "", 0, 0.0

    def _back_off(self, fault: Fault) -> None:
        """Wait longer after each failure in a row, up to ``retry_max_s``, with jitter; said once, not each time."""
        self._failures += 1
        longest_s = min(self._settings.storage.retry_max_s, FIRST_RETRY_S * 2 ** min(self._failures - 1, 20))
        self._not_before_s = time.monotonic() + random.uniform(0.5, 1.0) * longest_s  # noqa: S311 -- jitter
        self._wanted = True
        problem = f"storage:{fault.code}"
        level = logging.DEBUG if problem == self._problem else logging.WARNING
        log.log(level, "storage: %s: %s; next attempt within %.0f s", fault.code, fault.detail, longest_s)
        self._problem = problem
