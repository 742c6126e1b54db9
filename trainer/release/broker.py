"""Over MQTT: hints to devices that there is something new, and what devices say that they run.

A hint is worth nothing to an attacker, and its loss nothing to us: devices look by themselves, every few hours.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from edge.delivery.messages import ROOT, Availability, ModelHint, ModelReport, Topics
from edge.delivery.mqtt_session import tls_context
from edge.settings_file import SettingsError, secret
from edge.updates.release import Channel
from trainer.release import ReleaseError
from trainer.release.settings import Broker

TIMEOUT_S = 10.0
MODEL, AVAILABILITY = f"{ROOT}/+/+/model", f"{ROOT}/+/+/availability"


@dataclass(frozen=True)
class Device:
    """What one device said last."""

    site: str
    device: str
    report: ModelReport
    online: bool | None
    """None: it never said."""


def hint(broker: Broker, sites: Iterable[str], channels: Iterable[Channel]) -> int:
    """Tell every site, per channel, that there is something new; returns how many messages the broker took.

    Raises:
        ReleaseError: the broker cannot be reached or does not want them.
    """
    with _connected(broker) as client:
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        client.on_publish = lambda _client, _data, _mid, reason, _properties: answers.put(reason)
        sent = 0
        for site in sites:
            for channel in channels:
                payload = ModelHint(channel=channel, at=datetime.now(UTC)).to_json()
                client.publish(Topics(site, "any").hint(channel), payload, qos=1, retain=True)
                sent += 1
        for _ in range(sent):
            try:
                reason = answers.get(timeout=TIMEOUT_S)
            except queue.Empty:
                raise ReleaseError(f"{_name(broker)} did not acknowledge the hint within {TIMEOUT_S:g} s") from None
            if reason.is_failure:
                raise ReleaseError(f"{_name(broker)} refused the hint: {reason}; allow this user to publish it")
    return sent


def listen(broker: Broker, seconds: float) -> list[Device]:
    """What the devices of all sites say they run: their last words are retained, so they come at once.

    Raises:
        ReleaseError: the broker cannot be reached or does not let us listen.
    """
    reports: dict[tuple[str, str], ModelReport] = {}
    online: dict[tuple[str, str], bool] = {}
    refused: list[str] = []

    def take(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        _, _, site, device, leaf = message.topic.split("/")
        # Somebody else's message is no reason to show none.
        with contextlib.suppress(ValidationError):
            if leaf == "model":
                reports[site, device] = ModelReport.model_validate_json(message.payload)
            else:
                online[site, device] = Availability.model_validate_json(message.payload).state == "online"

    def subscribed(_client: object, _data: object, _mid: int, reasons: list[Any], _properties: object) -> None:
        refused.extend(str(reason) for reason in reasons[:1] if reason.is_failure)

    with _connected(broker) as client:
        client.on_message, client.on_subscribe = take, subscribed
        client.subscribe([(MODEL, 1), (AVAILABILITY, 1)])
        time.sleep(seconds)
    if refused:
        raise ReleaseError(f"{_name(broker)} does not let this user read {MODEL}: {refused[0]}")
    return [Device(*where, report, online.get(where)) for where, report in sorted(reports.items())]


@contextlib.contextmanager
def _connected(broker: Broker) -> Iterator[paho.Client]:
    try:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        client.connect_timeout = TIMEOUT_S
        password = secret("mqtt_password", broker.password_file, {})
        if broker.username:
            client.username_pw_set(broker.username, password)
        if broker.tls:
            client.tls_set_context(tls_context(broker, "broker"))
        answered, answer = threading.Event(), []

        def connected(_client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
            answer.append(reason)
            answered.set()

        client.on_connect = connected
        client.connect(broker.host, broker.port)
    except (OSError, ValueError, SettingsError) as error:
        raise ReleaseError(f"{_name(broker)}: {error}") from error
    client.loop_start()
    try:
        if not answered.wait(TIMEOUT_S):
            raise ReleaseError(f"{_name(broker)} did not answer within {TIMEOUT_S:g} s")
        if answer[0].is_failure:
            raise ReleaseError(f"{_name(broker)} refused the connection: {answer[0]}")
        yield client
        client.disconnect()
    finally:
        client.loop_stop()


def _name(broker: Broker) -> str:
    return f"the broker {broker.host}:{broker.port}"
