"""The sender under test, with settings for a private broker."""

import contextlib
from collections.abc import Iterator
from typing import Any

from edge.delivery.messages import Response
from edge.delivery.mqtt import Mqtt, OnCommand
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings


def settings(port: int, **mqtt: Any) -> EdgeSettings:
    """Settings of the device ``forest:oak``."""
    fields = {"host": "127.0.0.1", "port": port, "reconnect_max_s": 1.0, "keepalive_s": 5} | mqtt
    return EdgeSettings.model_validate({"site": "forest", "device": "oak", "mqtt": fields})


def refuse(payload: bytes, retained: bool, expiry_s: int | None) -> Response:
    return Response(id="", ok=False)


@contextlib.contextmanager
def sending(outbox: Outbox, configuration: EdgeSettings, on_command: OnCommand = refuse) -> Iterator[Mqtt]:
    """A running sender, stopped at the end."""
    mqtt = Mqtt(configuration, outbox, on_command)
    mqtt.start()
    try:
        yield mqtt
    finally:
        assert mqtt.stop(5.0), "the sender hung"
