"""TLS, passwords and rights, on the broker configuration that the how-to shows."""

import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.delivery.messages import Receipt, Topics
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import alert, clip
from tests.integration.receiver import Receiver, wait_until
from tests.integration.sender import sending, settings
from tests.servers.mosquitto import PASSWORD, Certificates, Mosquitto

pytestmark = pytest.mark.server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def hub(broker: Mosquitto, tmp_path: Path, receipts: bool = False) -> Receiver:
    return Receiver(broker.port, tmp_path / "hub", receipts=receipts, username="hub", password=PASSWORD)


def test_a_device_reaches_the_broker_of_the_how_to_by_tls_and_password(
    guarded_mosquitto: Mosquitto, certificates: Certificates, outbox: Outbox, tmp_path: Path, password_file: Path
) -> None:
    configuration = settings(
        guarded_mosquitto.tls_port,
        tls=True,
        ca_file=certificates.ca,
        password_file=password_file,
        confirm="receipt",
        home_assistant=True,
    )
    with hub(guarded_mosquitto, tmp_path, receipts=True) as receiver, sending(outbox, configuration) as mqtt:
        mqtt.publish_retained("model", b"{}")
        mqtt.publish_retained("location", b"{}")
        outbox.put_alert(alert())
        outbox.put_clip(clip())
        mqtt.wake()
        wait_until(lambda: receiver.committed() == {("a1", 0)}, "the alert")
        wait_until(lambda: outbox.depth == 0, "the receipts")
        wait_until(lambda: receiver.payloads("location"), "the location")
        time.sleep(0.2)
        assert mqtt.problems == []


def test_a_device_with_a_certificate_needs_no_password(
    guarded_mosquitto: Mosquitto, certificates: Certificates, outbox: Outbox, tmp_path: Path
) -> None:
    certificate, key = certificates.issue("device", "forest:oak")
    configuration = settings(
        guarded_mosquitto.certificate_port,
        tls=True,
        ca_file=certificates.ca,
        client_certificate_file=certificate,
        client_key_file=key,
    )
    with hub(guarded_mosquitto, tmp_path) as receiver, sending(outbox, configuration) as mqtt:
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: receiver.committed() == {("a1", 0)}, "the alert")


@pytest.mark.parametrize("trusted", ["other-ca", "system"])
def test_a_broker_with_a_foreign_certificate_gets_nothing(
    trusted: str,
    guarded_mosquitto: Mosquitto,
    certificates: Certificates,
    outbox: Outbox,
    tmp_path: Path,
    password_file: Path,
) -> None:
    ca_file = certificates.other_ca if trusted == "other-ca" else None
    configuration = settings(guarded_mosquitto.tls_port, tls=True, ca_file=ca_file, password_file=password_file)
    outbox.put_alert(alert())
    with hub(guarded_mosquitto, tmp_path) as receiver, sending(outbox, configuration) as mqtt:
        wait_until(lambda: mqtt.problems == ["mqtt:tls:untrusted"], "the problem")
        time.sleep(0.5)
        assert not receiver.committed()
        assert outbox.depth == 1


def test_an_expired_certificate_is_named_as_such(certificates: Certificates, outbox: Outbox, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "mosquitto", certificates)
    text = broker.configuration.read_text()
    broker.configuration.write_text(
        text.replace(str(certificates.server), str(certificates.expired)).replace(
            str(certificates.server_key), str(certificates.expired_key)
        )
    )
    broker.start()
    try:
        with sending(outbox, settings(broker.tls_port, tls=True, ca_file=certificates.ca)) as mqtt:
            wait_until(lambda: mqtt.problems == ["mqtt:tls:expired"], "the problem")
    finally:
        broker.kill()


def test_a_wrong_password_is_reported_and_mended_without_a_restart(
    guarded_mosquitto: Mosquitto, certificates: Certificates, outbox: Outbox, tmp_path: Path, password_file: Path
) -> None:
    password_file.write_text("wrong")
    configuration = settings(guarded_mosquitto.port, password_file=password_file)
    outbox.put_alert(alert())
    with hub(guarded_mosquitto, tmp_path) as receiver, sending(outbox, configuration) as mqtt:
        wait_until(lambda: mqtt.problems in (["mqtt:connect_refused:134"], ["mqtt:connect_refused:135"]), "the problem")
        password_file.unlink()
        wait_until(lambda: mqtt.problems == ["mqtt:credentials"], "the other problem")
        password_file.write_text(PASSWORD)
        wait_until(lambda: receiver.committed() == {("a1", 0)}, "the alert")
        assert mqtt.problems == []


def test_a_refused_topic_keeps_the_row_until_the_right_is_given(
    guarded_mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path, password_file: Path
) -> None:
    right = ("device forest:oak", "publishClientSend", "ecosight/v1/forest/oak/alert")
    guarded_mosquitto.dynsec("removeRoleACL", *right)
    configuration = settings(guarded_mosquitto.port, password_file=password_file)
    for number in range(30):
        outbox.put_alert(alert(f"a{number}"))
    outbox.put_clip(clip("a0"))
    with hub(guarded_mosquitto, tmp_path) as receiver, sending(outbox, configuration) as mqtt:
        wait_until(lambda: mqtt.problems == ["mqtt:refused:135"], "the problem")
        wait_until(lambda: receiver.committed("clip"), "another topic is not held up")
        wait_until(lambda: outbox.depth == 30, "the alerts stay")
        assert mqtt.connected
        guarded_mosquitto.dynsec("addRoleACL", *right, "allow")
        # This broker ends the connections of those whose rights change; the device returns by itself.
        wait_until(lambda: len(receiver.committed()) == 30, "all alerts")
        wait_until(lambda: outbox.depth == 0, "all rows")
        assert mqtt.problems == []


def test_a_refused_topic_is_probed_without_a_new_connection(outbox: Outbox, tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write ecosight/v1/forest/oak/availability\n")
    broker = Mosquitto(tmp_path / "mosquitto", open=True, more=f"acl_file {acl}")
    broker.start()
    for number in range(30):
        outbox.put_alert(alert(f"a{number}"))
    try:
        with Receiver(broker.port, tmp_path / "hub") as receiver, sending(outbox, settings(broker.port)) as mqtt:
            wait_until(lambda: mqtt.problems == ["mqtt:refused:135"], "the problem")
            time.sleep(0.5)
            assert [body["state"] for body in receiver.payloads("availability")] == ["online"]
            acl.write_text("topic readwrite #\n")
            broker.reload()
            wait_until(lambda: len(receiver.committed()) == 30, "all alerts")
            wait_until(lambda: outbox.depth == 0, "all rows")
            assert mqtt.problems == []
            assert len(receiver.payloads("availability")) == 1
    finally:
        broker.kill()


def test_a_device_can_write_neither_its_own_command_nor_the_topics_of_another(
    guarded_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    guarded_mosquitto.add_device("forest", "elm")
    own, other = Topics("forest", "oak"), Topics("forest", "elm")
    codes = publish_codes(
        guarded_mosquitto,
        "forest:oak",
        [own.command, own.receipt, other.alert, other.command, other.availability, "ecosight/v1/forest/models/stable"],
    )
    assert codes == [135] * 6
    assert publish_codes(guarded_mosquitto, "forest:oak", [own.alert, own.health, own.response]) in (
        [0, 0, 0],
        [16, 16, 16],
    )
    assert (
        subscribe_codes(
            guarded_mosquitto, "forest:oak", ["#", "ecosight/v1/forest/#", other.command, other.alert, "$SYS/#"]
        )
        == [135] * 5
    )
    assert subscribe_codes(guarded_mosquitto, "forest:oak", [own.command, own.receipt]) == [1, 1]


def test_a_receiver_without_the_right_cannot_send_commands(guarded_mosquitto: Mosquitto) -> None:
    guarded_mosquitto.add_receiver("forest", "viewer", commands=False)
    topics = Topics("forest", "oak")
    assert publish_codes(guarded_mosquitto, "viewer", [topics.command, topics.alert]) == [135, 135]
    assert publish_codes(guarded_mosquitto, "viewer", [topics.receipt])[0] in (0, 16)
    assert subscribe_codes(guarded_mosquitto, "viewer", ["ecosight/v1/desert/#"]) == [135]


def test_nobody_comes_in_without_a_name(guarded_mosquitto: Mosquitto) -> None:
    with pytest.raises(ConnectionRefusedError):
        publish_codes(guarded_mosquitto, None, ["x"])


def _client(broker: Mosquitto, user: str | None) -> tuple[paho.Client, dict[str, Any]]:
    seen: dict[str, Any] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    if user:
        client.username_pw_set(user, PASSWORD)
    client.on_connect = lambda c, u, flags, code, p: seen.update(connected=code.value)
    client.on_publish = lambda c, u, mid, code, p: seen.update({f"p{mid}": code.value})
    client.on_subscribe = lambda c, u, mid, codes, p: seen.update({f"s{mid}": [code.value for code in codes]})
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    wait_until(lambda: "connected" in seen, "CONNACK")
    if seen["connected"]:
        client.loop_stop()
        raise ConnectionRefusedError(seen["connected"])
    return client, seen


def publish_codes(broker: Mosquitto, user: str | None, topics: list[str]) -> list[int]:
    client, seen = _client(broker, user)
    mids = [client.publish(topic, Receipt(alert_id="a", seq=0).to_json(), qos=1).mid for topic in topics]
    wait_until(lambda: all(f"p{mid}" in seen for mid in mids), "PUBACKs")
    client.disconnect()
    client.loop_stop()
    return [seen[f"p{mid}"] for mid in mids]


def subscribe_codes(broker: Mosquitto, user: str, topics: list[str]) -> list[int]:
    client, seen = _client(broker, user)
    _, mid = client.subscribe([(topic, 1) for topic in topics])
    wait_until(lambda: f"s{mid}" in seen, "SUBACK")
    client.disconnect()
    client.loop_stop()
    return list(seen[f"s{mid}"])
