"""The sender against a real Mosquitto: what it promises while the broker comes, goes, refuses and forgets."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.delivery.messages import Response
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings
from tests.edge.delivery.examples import alert, clip
from tests.integration.receiver import Receiver, wait_until
from tests.servers.mosquitto import PASSWORD, Certificates, Mosquitto

pytestmark = pytest.mark.server


def settings(port: int, **mqtt: Any) -> EdgeSettings:
    fields = {"host": "127.0.0.1", "port": port, "reconnect_max_s": 1.0, "keepalive_s": 5} | mqtt
    return EdgeSettings.model_validate({"site": "forest", "device": "oak", "mqtt": fields})


@contextlib.contextmanager
def sending(outbox: Outbox, configuration: EdgeSettings, **more: Any) -> Iterator[Mqtt]:
    def refuse(payload: bytes, retained: bool, expiry_s: int | None) -> Response:
        return Response(id="", ok=False)

    mqtt = Mqtt(configuration, outbox, more.get("on_command", refuse))
    mqtt.start()
    try:
        yield mqtt
    finally:
        assert mqtt.stop(5.0), "the sender hung"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox.open(tmp_path / "outbox.sqlite3")
    yield box
    box.close()


def test_an_alert_arrives_and_its_row_goes(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, settings(mosquitto.port)) as mqtt:
        wait_until(lambda: mqtt.connected, "connected")
        started_s = time.monotonic()
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: hub.committed() == {("a1", 0)}, "the alert")
        assert time.monotonic() - started_s < 0.5
        wait_until(lambda: outbox.depth == 0, "the row goes")
        assert mqtt.bytes_sent_today > 300
        assert hub.payloads("alert")[0]["label"] == "gun_shot"


def test_alerts_go_before_clips(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    for number in range(30):
        outbox.put_alert(alert(f"a{number}"))
        outbox.put_clip(clip(f"a{number}"))
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, settings(mosquitto.port)):
        wait_until(lambda: len(hub.committed("clip")) == 30, "all clips")
    order = [topic.rpartition("/")[2] for topic, _ in hub.arrived if topic.endswith(("/alert", "/clip"))]
    assert order == ["alert"] * 30 + ["clip"] * 30
    assert [body["alert_id"] for body in hub.payloads("alert")] == [f"a{number}" for number in range(30)]
