"""From events on the sample clock to alerts that survive a power cut.

The desk gives every event its ``alert_id``, writes it in the wire contract, commits it to the outbox and asks
for its clip. It holds nothing that must not be lost: when ``on_event`` returns, the alert is on disk.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.delivery.clips import ClipKeeper, ClipRequest
from edge.delivery.messages import Alert, Collapsed, ModelName, Place, Veto
from edge.delivery.outbox import Outbox
from edge.detection.events import Event
from edge.settings import EdgeSettings

log = logging.getLogger(__name__)

DRILL_LABEL = "gun_shot"

Keep = Callable[[str, str, float, str, NDArray[np.floating] | None], None]
"""``keep(alert_id, label, score, at, embedding)``; ``at`` is UTC, ISO 8601."""


def forget(alert_id: str, label: str, score: float, at: str, embedding: NDArray[np.floating] | None) -> None:
    """For a device that nobody marks alerts on."""


@dataclass(frozen=True)
class Sender:
    """Who speaks: the parts of an alert that are the same in all of them."""

    site: str
    device: str
    model: ModelName
    place: Place | None

    @staticmethod
    def of(settings: EdgeSettings, model: ModelName) -> "Sender":
        place = Place(**settings.place.model_dump()) if settings.place else None
        return Sender(settings.site, settings.device, model, place)


class AlertDesk:
    """Turns the detector's events into committed alerts and clip requests. Used by one thread."""

    def __init__(
        self,
        sender: Sender,
        clock: Clock,
        outbox: Outbox,
        clips: ClipKeeper,
        wake: Callable[[], None],
        keep: Keep = forget,
        muted: Callable[[], bool] = lambda: False,
    ) -> None:
        """``wake`` is called after a commit, so that the message leaves at once; ``keep`` is told the embedding of each
        new alert, so that a ranger may mark it. ``muted`` is asked when an event begins: its alert is kept then, with
        its clip, and never sent."""
        self.sender = sender
        """Another one from the moment on at which another model listens."""
        self._clock = clock
        self._outbox = outbox
        self._clips = clips
        self._wake = wake
        self.keep = keep
        self._muted = muted
        self._open: dict[int, str] = {}
        self._muted_ids: set[str] = set()
        self.alerts = 0
        self.alerts_muted = 0
        self.vetoed = 0
        """Events that were near a sound marked as false, and so no alert."""
        self.newest_veto: Veto | None = None

    def on_events(self, events: Sequence[Event]) -> None:
        """Commit each event as an alert message and see to its clip."""
        for event in events:
            self._on_event(event)

    def correct_times(self, limit: int = -1) -> int:
        """Say again, with the time now known, what was said before the clock was synchronised: the oldest ``limit``, or
        all. Returns how many."""
        alerts = self._outbox.uncorrected(self._clock.now().boot_id, limit)
        for alert in alerts:
            corrected = {"onset": self._clock.correct(alert.onset), "clock_corrected": True}
            if alert.collapsed is not None:
                corrected["collapsed"] = alert.collapsed.model_copy(
                    update={
                        "first": self._clock.correct(alert.collapsed.first),
                        "last": self._clock.correct(alert.collapsed.last),
                    }
                )
            self._outbox.put_alert(alert.model_copy(update=corrected))
        if alerts:
            self._wake()
        return len(alerts)

    def _on_event(self, event: Event) -> None:
        if event.phase == "vetoed":
            self._on_veto(event)
            return
        alert_id = self._open.get(event.number) or uuid.uuid4().hex
        rate = self._clock.sample_rate_hz
        collapsed = None
        if event.collapsed is not None:
            count, first, last = event.collapsed
            collapsed = Collapsed(count=count, first=self._clock.moment(first), last=self._clock.moment(last))
        if event.number not in self._open and self._muted():
            self._muted_ids.add(alert_id)
        muted = alert_id in self._muted_ids
        alert = Alert(
            alert_id=alert_id,
            seq=0,
            phase=event.phase,
            muted=muted,
            site=self.sender.site,
            device=self.sender.device,
            label=event.label,
            score=round(float(event.score), 4),
            threshold=round(float(event.threshold), 4),
            onset=self._clock.moment(event.first_onset),
            duration_s=round(max(0, event.end - event.first_onset) / rate, 3),
            shots=event.shots,
            level_dbfs=round(float(event.level_dbfs), 1),
            model=self.sender.model,
            place=self.sender.place,
            collapsed=collapsed,
        )
        alert = self._outbox.put_alert(alert)
        self._wake()
        if event.phase == "new":
            self.alerts += 1
            self.alerts_muted += muted
            self._open[event.number] = alert_id
            self.keep(alert_id, event.label, alert.score, alert.onset.utc.isoformat(), event.embedding)
            log.info("%s at sample %d, score %.3f, alert %s", event.label, event.first_onset, event.score, alert_id)
            self._clips.request(
                ClipRequest(alert=alert, first_onset=event.first_onset, last_onset=event.last_onset, test=False)
            )
        else:
            final = alert if event.phase == "end" else None
            self._clips.extend(alert_id, event.last_onset, final)
        if event.phase == "end":
            self._open.pop(event.number, None)
            self._muted_ids.discard(alert_id)
            log.info("alert %s ended: %d shots", alert_id, event.shots)

    def _on_veto(self, event: Event) -> None:
        assert event.veto is not None
        near = event.veto
        self.vetoed += 1
        at = self._clock.moment(event.first_onset)
        score = round(float(event.score), 4)
        self.newest_veto = Veto(
            at=at, label=event.label, score=score, marked=near.alert_id, distance=round(near.distance, 4)
        )
        log.info("%s at sample %d is no alert: near the one marked as false, %s", event.label, at.sample, near.alert_id)


def put_drill(sender: Sender, clock: Clock, outbox: Outbox, sample: int = 0) -> Alert:
    """Commit a complete test alert (``new``, then ``end``) at the present moment; returns the first message.

    It takes the path of a real one from the outbox on, and is marked ``test`` all the way.
    """
    onset = clock.now().model_copy(update={"sample": sample})
    drill = Alert(
        alert_id=f"drill-{uuid.uuid4().hex}",
        seq=0,
        phase="new",
        test=True,
        site=sender.site,
        device=sender.device,
        label=DRILL_LABEL,
        score=1.0,
        threshold=1.0,
        onset=onset,
        duration_s=0.0,
        shots=1,
        model=sender.model,
        place=sender.place,
    )
    first = outbox.put_alert(drill)
    outbox.put_alert(drill.model_copy(update={"phase": "end"}))
    return first
