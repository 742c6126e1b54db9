"""Clips: the evidence of an alert, cut from the ring by sample index.

A clip is cut only when its post-roll exists. Then it is judged (``privacy``), made room for (``retention``), written
(``flac``, ``evidence``), and only then told to the outbox. One thread; the alert itself never waits for any of this.

    keeper.start()
    keeper.request(ClipRequest(alert, first_onset, last_onset))     # at ``new``
    keeper.extend(alert_id, last_onset, final=None)                 # at ``update``
    keeper.extend(alert_id, last_onset, final=alert)                # at ``end``

Sound is copied out of the ring as soon as it is all there, by whichever thread notices first: at recording pace
the ring moves on far faster than clips are written.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.audio.ring import Overwritten, Ring
from edge.delivery import evidence
from edge.delivery.clip_writing import ClipWriter, Cut
from edge.delivery.messages import Alert
from edge.delivery.outbox import Outbox
from edge.delivery.privacy import Hearing
from edge.delivery.retention import Retention
from edge.durable import make_folder
from edge.settings import EdgeSettings
from edge.threads import joined

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""Between two beats of an idle keeper."""
LOOK_S = 0.5
"""While a clip waits for its sound: longest sleep."""
FLOOR_EVERY_S = 60.0
"""Others fill the disk too: between two looks at the free space."""
STALE_S = 3.0
"""Without new sound for this long, a waiting clip is cut short: the gap that follows may overwrite it."""
SLACK_S = 2.0
"""A clip is cut when its beginning is this near to being overwritten."""
SHOT_S = 0.1
"""Shortest post-roll: even with rolls of 0 s a clip holds the shot."""
CUTS_WAITING = 4
"""Copies held in memory at most; then `extend` waits (a recording can; live sound never comes to it)."""
PATIENCE_S = 2.0


@dataclass(frozen=True)
class ClipRequest:
    """What to cut. For a ``recording`` the onsets are the first frame and the one after the last, without rolls."""

    alert: Alert
    first_onset: int
    last_onset: int
    test: bool = False
    kind: Literal["alert", "recording"] = "alert"


@dataclass
class _Pending:
    request: ClipRequest
    start: int
    last_onset: int
    cap: int
    """Index that the clip never goes beyond."""
    alert: Alert
    final: bool


class ClipKeeper:
    """See the module. ``request`` and ``extend`` may be called from any thread."""

    def __init__(
        self,
        settings: EdgeSettings,
        ring: Ring,
        clock: Clock,
        model: Hearing,
        outbox: Outbox,
        on_message: Callable[[], None],
    ) -> None:
        """``on_message`` is called after a clip message was put into the outbox."""
        self._settings = settings
        self._ring = ring
        self._outbox = outbox
        self._on_message = on_message
        self.spool = settings.state_dir / "clips"
        self._retention = Retention(settings.clips, self.spool, outbox)
        self._writer = ClipWriter(settings, self.spool, clock, model, outbox, self._retention)
        self._pending: dict[str, _Pending] = {}
        self._cuts: deque[Cut] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._writing = False
        self._floor_at_s = 0.0
        self._lost: list[Alert] = []
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)
        self.beat = 0
        """Advances at least every five seconds."""

    @property
    def busy(self) -> bool:
        """Whether a clip is waited for or written."""
        return bool(self._pending or self._cuts or self._writing)

    @property
    def evicted(self) -> int:
        """Clips lost to space since the start."""
        return self._retention.evicted

    @property
    def problems(self) -> list[str]:
        """``clips:failed`` from a clip that could not be cut or written until one that could; ``clips:no_room`` while
        others fill the disk so far that evicting clips does not help."""
        found = ["clips:failed"] if self._writer.failing else []
        return found + (["clips:no_room"] if self._retention.out_of_reach else [])

    def hear_with(self, model: Hearing) -> None:
        """From the next clip on the privacy gate asks this model."""
        self._writer.model = model

    def start(self) -> None:
        """Begin; the thread first brings spool and outbox in agreement after the last run."""
        self._lost = self._writer.lost()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Cut what is pending with the sound that exists, write it, end. True if all of it was written."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        return joined(self._thread, timeout_s)

    def request(self, request: ClipRequest) -> None:
        """Ask for a clip. Comes back at once."""
        rate = self._ring.sample_rate_hz
        settings = self._settings
        if request.kind == "recording":
            start = request.first_onset
            cap = min(request.last_onset, start + round(settings.recording.max_s * rate))
        else:
            start = max(0, request.first_onset - round(settings.clips.pre_roll_s * rate))
            cap = start + round(settings.clips.max_s * rate)
        # Nothing more will be said of a drill or a recording than what is known now.
        final = request.test or request.kind == "recording" or request.alert.phase in ("end", "interrupted")
        pending = _Pending(request, start, request.last_onset, cap, request.alert, final)
        with self._changed:
            self._pending.setdefault(request.alert.alert_id, pending)
            self._changed.notify_all()

    def extend(self, alert_id: str, last_onset: int, final: Alert | None) -> None:
        """The event went on until ``last_onset``; ``final`` is the alert of its end. Of an unknown clip: ignored."""
        with self._changed:
            pending = self._pending.get(alert_id)
            if pending is None:
                return
            pending.last_onset = max(pending.last_onset, last_onset)
            if final is not None:
                pending.alert, pending.final = final, True
                # Only a recording faster than real time can fill this; it is asked to wait.
                self._changed.wait_for(lambda: len(self._cuts) < CUTS_WAITING or self._stopping, PATIENCE_S)
            self._take_ready()
            self._changed.notify_all()

    def look(self) -> None:
        """Copy what is ready now. For the thread that hears the sound: a recording played fast leaves the ring sooner
        than the keeper looks by itself."""
        with self._changed:
            self._take_ready()
            if self._cuts:
                self._changed.notify_all()

    # Under the lock --------------------------------------------------------------------------------------------

    def _take_ready(self) -> None:
        """Copy every clip whose sound is all there out of the ring."""
        for alert_id, pending in list(self._pending.items()):
            note = self._ready(pending)
            if note is not None:
                del self._pending[alert_id]
                self._cuts.append(self._cut(pending, note))

    def _ready(self, pending: _Pending) -> str | None:
        """None: not yet. Otherwise a note on why the clip ends early, or an empty one."""
        ring = self._ring
        if pending.final and ring.end >= self._stop_of(pending):
            return ""
        if self._stopping:
            return "ends early: the device was stopped"
        if ring.closed:
            return "ends early: the recording ended" if pending.final else None
        if time.monotonic() - ring.newest_at_s > STALE_S:
            return "ends early: the sound stopped"
        # The ring's end says nothing about an open event: at recording pace it is far ahead of the detector.
        if ring.end - pending.start > ring.capacity - SLACK_S * ring.sample_rate_hz:
            return "" if ring.end >= pending.cap else "ends early: the ring was full"
        return None

    def _stop_of(self, pending: _Pending) -> int:
        """Index after the clip's last frame, as far as the event is known."""
        if pending.request.kind == "recording":
            return pending.cap
        post_roll = round(max(SHOT_S, self._settings.clips.post_roll_s) * self._ring.sample_rate_hz)
        return min(pending.cap, pending.last_onset + post_roll)

    def _cut(self, pending: _Pending, note: str) -> Cut:
        ring = self._ring
        notes = [note] if note else []
        # An event that still goes on at its cap is cut there, not at its last known shot.
        stop = min(ring.end, self._stop_of(pending) if pending.final else pending.cap)
        start, frames = self._read(pending.start, stop)
        if start != pending.start and len(frames):
            late_s = (start - pending.start) / ring.sample_rate_hz
            notes.append(f"starts {late_s:.3f} s late: the ring had moved on")
        return Cut(
            request_kind=pending.request.kind,
            alert=pending.alert,
            test=pending.request.test or pending.alert.test,
            first_onset=pending.request.first_onset,
            start=start,
            frames=frames,
            gaps=ring.gaps(start, start + len(frames)),
            sample_rate_hz=ring.sample_rate_hz,
            notes=notes,
        )

    def _read(self, start: int, stop: int) -> tuple[int, NDArray[np.float32]]:
        """The frames from ``start``, or from the oldest that is left; none if the ring has passed ``stop``."""
        for _ in range(5):
            if start >= stop:
                break
            try:
                return start, self._ring.read(start, stop)
            except Overwritten:
                # The writer goes on meanwhile, so a little is left to it.
                start = self._ring.oldest + self._ring.sample_rate_hz // 20
        return start, np.zeros(0, np.float32)

    # The thread ------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        try:
            make_folder(self.spool)
            evidence.recover(self.spool, self._outbox)
            evidence.adopt_stored(self._settings.storage_folder, self.spool, self._outbox)
        except OSError:
            log.exception("%s cannot be used: no clips until it can; alerts go on", self.spool)
        self._writer.tell_lost(self._lost)
        self._lost = []
        self._on_message()

    def _run(self) -> None:
        self._recover()
        while True:
            self.beat += 1
            with self._changed:
                self._take_ready()
                cut = self._cuts.popleft() if self._cuts else None
                self._writing = cut is not None
                self._changed.notify_all()
                if cut is None and self._stopping:
                    return
            if cut is not None:
                self._write(cut)
                continue
            self._keep_floor()
            self._sleep()

    def _write(self, cut: Cut) -> None:
        try:
            if self._writer.write(cut):
                self._on_message()
        except Exception:
            log.exception("clip %s could not be dealt with", cut.alert.alert_id)
        finally:
            self._writing = False

    def _keep_floor(self) -> None:
        if time.monotonic() < self._floor_at_s:
            return
        self._floor_at_s = time.monotonic() + FLOOR_EVERY_S
        before = self._retention.evicted + self._retention.local_copies_removed
        try:
            self._retention.make_room()
        except OSError:
            log.exception("the free space of %s cannot be read", self.spool)
        if self._retention.evicted + self._retention.local_copies_removed != before:
            self._on_message()

    def _sleep(self) -> None:
        with self._changed:
            if self._stopping or self._cuts:
                return
            due = [self._stop_of(p) for p in self._pending.values() if p.final]
            if not due or self._ring.closed:
                self._changed.wait(LOOK_S if self._pending else IDLE_S)
                return
        self._ring.wait(min(due), LOOK_S)
