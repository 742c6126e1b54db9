"""A test alert through the whole path: outbox, broker, and (with ``confirm: receipt``) the receiver.

A running daemon is made to send it: the drill puts its rows into the daemon's outbox, which is a database that
two processes may share. Where no daemon runs, the drill connects to the broker itself.
"""

import time
from dataclasses import dataclass

from edge import state_lock
from edge.audio.clock import Clock
from edge.delivery.alerts import Sender, put_drill
from edge.delivery.messages import ModelName, Response
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings

_LOOK_S = 0.05


class DrillFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """The test alert was not delivered in time. It stays in the outbox and is still sent when it can be."""


@dataclass(frozen=True)
class Drill:
    alert_id: str
    how: str
    seconds: float


def run_drill(settings: EdgeSettings, timeout_s: float) -> Drill:
    """Commit a test alert and wait until it is delivered in the sense of ``mqtt.confirm``.

    Raises:
        DrillFailed: not within ``timeout_s``; the text says what stood in the way, as far as it is known here.
    """
    path = settings.state_dir / "outbox.sqlite3"
    if not path.exists():
        # Made here, it would belong to whoever drills (with sudo: root), and the daemon could not write to it.
        raise DrillFailed(f"{path} does not exist; start the daemon once, or correct state_dir")
    running = state_lock.held(settings.state_dir)
    outbox = Outbox.open(path)
    started_s = time.monotonic()
    sender = Sender.of(settings, ModelName(name="drill", version="0"))
    alert = put_drill(sender, Clock(settings.audio.sample_rate_hz), outbox)
    try:
        if running:
            _wait(outbox, alert.alert_id, timeout_s, "the daemon runs; see its health and `ecosight-edge doctor`")
            return Drill(alert.alert_id, "by the running daemon", time.monotonic() - started_s)
        return Drill(alert.alert_id, "without a daemon", _send_alone(settings, outbox, alert.alert_id, timeout_s))
    finally:
        outbox.close()


def _send_alone(settings: EdgeSettings, outbox: Outbox, alert_id: str, timeout_s: float) -> float:
    from edge.delivery.mqtt import Mqtt

    started_s = time.monotonic()
    mqtt = Mqtt(settings, outbox, lambda *_: Response(id="", ok=False, error="only a drill runs"))
    mqtt.start()
    try:
        _wait(outbox, alert_id, timeout_s, "")
    except DrillFailed as error:
        problems = ", ".join(mqtt.problems) or "the broker did not answer"
        raise DrillFailed(f"{error}{problems}; try `ecosight-edge doctor`") from None
    finally:
        mqtt.stop(2.0)
    return time.monotonic() - started_s


def _wait(outbox: Outbox, alert_id: str, timeout_s: float, hint: str) -> None:
    until_s = time.monotonic() + timeout_s
    while outbox.waits(alert_id):
        if time.monotonic() >= until_s:
            raise DrillFailed(f"{alert_id} is not delivered after {timeout_s:g} s: {hint}")
        time.sleep(_LOOK_S)
