"""What commands make the daemon do. They run on the MQTT thread, so they start things and return."""

import threading
import time
import uuid
from typing import TYPE_CHECKING

from edge.delivery.alerts import put_drill
from edge.delivery.clips import ClipRequest
from edge.delivery.messages import Alert
from edge.upkeep.commands import Actions, Result, Verdict

if TYPE_CHECKING:
    from edge.daemon import Daemon


class Orders:
    """The actions of one daemon."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self.restart_wanted = threading.Event()

    def actions(self) -> Actions:
        return Actions(
            status=self._status,
            drill=self._drill,
            record=self._record,
            restart=self._restart,
            upload=self._upload,
            mark=self._mark,
            update=self._update,
        )

    def _status(self) -> Result:
        daemon = self._daemon
        health = daemon.reporting.reporter.look().model_dump(mode="json", exclude_none=True)
        return {
            **health,
            "first_window_s": daemon.first_window_s,
            "process_s": time.monotonic() - daemon.started_s,
            "labels": list(daemon.choice.model.manifest.labels),
        }

    def _drill(self) -> Result:
        daemon = self._daemon
        alert = put_drill(daemon.sender, daemon.clock, daemon.outbox, sample=daemon.ring.end)
        daemon.clips.request(
            ClipRequest(alert=alert, first_onset=alert.onset.sample, last_onset=alert.onset.sample, test=True)
        )
        daemon.mqtt.wake()
        return {"alert_id": alert.alert_id}

    def _record(self, duration_s: float) -> Result:
        daemon = self._daemon
        start = daemon.ring.end
        stop = start + round(duration_s * daemon.ring.sample_rate_hz)
        recording = Alert(
            alert_id=f"recording-{uuid.uuid4().hex}",
            seq=0,
            phase="end",
            site=daemon.sender.site,
            device=daemon.sender.device,
            label="recording",
            score=0.0,
            threshold=0.0,
            onset=daemon.clock.moment(start),
            duration_s=duration_s,
            shots=0,
            model=daemon.sender.model,
            place=daemon.sender.place,
        )
        # Nobody is alerted to a recording: only its clip is spoken of.
        daemon.clips.request(ClipRequest(alert=recording, first_onset=start, last_onset=stop, kind="recording"))
        return {"alert_id": recording.alert_id, "duration_s": duration_s}

    def _restart(self) -> Result:
        self.restart_wanted.set()
        self._daemon.wake()
        return {}

    def _upload(self, alert_id: str) -> str:
        return self._daemon.storage.request(alert_id)

    def _mark(self, alert_id: str, verdict: Verdict) -> Result:
        found = self._daemon.site.marks.mark(alert_id, verdict == "false")
        return {"alert_id": alert_id, "vetoes": found.vetoes, "removed": list(found.removed)}

    def _update(self) -> Result:
        self._daemon.updates.look_now()
        return {}
