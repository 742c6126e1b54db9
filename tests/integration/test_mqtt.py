"""The sender against a real Mosquitto: what it promises while the broker comes, goes, refuses and forgets."""

import json
import time
from pathlib import Path

import paho.mqtt.client as paho
import paho.mqtt.subscribe as subscribe
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.delivery.messages import Health, Response
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from edge.settings import Location
from tests.edge.delivery.examples import alert, clip, moment
from tests.integration.receiver import Receiver, wait_until
from tests.integration.sender import sending, settings
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server


def test_an_alert_arrives_and_its_row_goes(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, settings(mosquitto.port)) as mqtt:
        wait_until(lambda: mqtt.connected, "connected")
        started_s = time.monotonic()
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: hub.committed() == {("a1", 0)}, "the alert")
        assert time.monotonic() - started_s < 2.0
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


def test_a_broker_that_is_down_at_boot_gets_everything_once_it_is_up(outbox: Outbox, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "mosquitto", open=True)
    outbox.put_alert(alert())
    with sending(outbox, settings(broker.port)) as mqtt:
        wait_until(lambda: mqtt.problems == ["mqtt:unreachable"], "the problem")
        broker.start()
        try:
            with Receiver(broker.port, tmp_path / "hub") as hub:
                outbox.put_alert(alert("a2"))
                wait_until(lambda: mqtt.connected, "connected")
                assert mqtt.problems == []
                mqtt.wake()
                wait_until(lambda: ("a2", 0) in hub.committed(), "the alert")
        finally:
            mqtt.stop(2)
            broker.kill()


def test_a_restarted_broker_passes_on_what_it_kept_for_an_absent_receiver(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    Receiver(mosquitto.port, tmp_path / "hub").start().stop()  # known to the broker, and away
    with sending(outbox, settings(mosquitto.port)) as mqtt:
        for number in range(1001):  # more than Mosquitto's own limit of 1,000
            outbox.put_alert(alert(f"a{number}"))
        mqtt.wake()
        wait_until(lambda: outbox.depth == 0, "the broker took all")
        mosquitto.restart()
        wait_until(lambda: mqtt.connected, "connected again")
        outbox.put_alert(alert("last"))
        mqtt.wake()
        with Receiver(mosquitto.port, tmp_path / "hub") as hub:
            wait_until(lambda: len(hub.committed()) == 1002, "all alerts")


def test_a_killed_broker_loses_nothing_with_receipts(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    configuration = settings(mosquitto.port, confirm="receipt", receipt_timeout_s=1.0)
    Receiver(mosquitto.port, tmp_path / "hub").start().stop()
    with sending(outbox, configuration) as mqtt:
        for number in range(50):
            outbox.put_alert(alert(f"a{number}"))
        outbox.put_clip(clip("a7"))
        mqtt.wake()
        wait_until(lambda: mqtt.bytes_sent_today > 51 * 300, "the broker took all")
        assert outbox.depth == 51
        mosquitto.kill()  # before its autosave: what it acknowledged is gone
        mosquitto.start()
        with Receiver(mosquitto.port, tmp_path / "hub", receipts=True) as hub:
            wait_until(lambda: outbox.depth == 0, "all receipts")
            assert len(hub.committed()) == 50
            assert hub.committed("clip") == {("a7", 1)}


def test_without_a_receipt_a_message_is_repeated_under_the_same_number(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    configuration = settings(mosquitto.port, confirm="receipt", receipt_timeout_s=1.0)
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, configuration) as mqtt:
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: hub.repeats == 1, "a repeat")
        assert hub.committed() == {("a1", 0)}
        hub.client.publish("ecosight/v1/forest/oak/receipt", b'{"alert_id":"a1","seq":0}', qos=1)
        wait_until(lambda: outbox.depth == 0, "the receipt")


def test_nonsense_on_the_receipt_topic_does_no_harm(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    configuration = settings(mosquitto.port, confirm="receipt")
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, configuration) as mqtt:
        wait_until(lambda: mqtt.connected, "connected")
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: hub.committed(), "the alert")
        for payload in (b"", b"{", b"[]", b'{"alert_id":"a1","seq":-1}', b'{"alert_id":"a1","seq":7}', b"\xff" * 5000):
            hub.client.publish("ecosight/v1/forest/oak/receipt", payload, qos=1)
        hub.client.publish("ecosight/v1/forest/oak/receipt", b'{"alert_id":"none","seq":0}', qos=1).wait_for_publish(5)
        time.sleep(0.2)
        assert outbox.depth == 1
        assert mqtt.connected


def test_the_broker_is_told_when_nobody_listens(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with sending(outbox, settings(mosquitto.port)) as mqtt:
        outbox.put_alert(alert())
        mqtt.wake()
        wait_until(lambda: mqtt.problems == ["mqtt:nobody_listens"], "the problem")


def test_a_row_of_another_process_is_sent_within_seconds(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    with Receiver(mosquitto.port, tmp_path / "hub") as hub, sending(outbox, settings(mosquitto.port)) as mqtt:
        wait_until(lambda: mqtt.connected, "connected")
        drill = Outbox.open(tmp_path / "outbox.sqlite3")
        drill.put_alert(alert("drill", test=True))
        drill.close()
        wait_until(lambda: hub.committed() == {("drill", 0)}, "the drill", timeout_s=3.0)


def test_availability_is_retained_and_the_last_will_says_offline(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    with Receiver(mosquitto.port, tmp_path / "hub") as hub:
        with sending(outbox, settings(mosquitto.port)):
            wait_until(lambda: hub.payloads("availability")[-1:], "online")
            assert hub.payloads("availability")[-1]["state"] == "online"
        wait_until(lambda: hub.payloads("availability")[-1]["state"] == "offline", "offline on a clean stop")
        mqtt = Mqtt(settings(mosquitto.port), outbox, lambda *_: Response(id="", ok=False))
        mqtt.start()
        wait_until(lambda: hub.payloads("availability")[-1]["state"] == "online", "online")
        assert mqtt._link is not None
        mqtt._stopping.set()  # the thread ends; the socket is cut without a DISCONNECT
        mqtt._link.hang_up = mqtt._link.close  # type: ignore[method-assign]
        mqtt.stop(0.2)
        wait_until(lambda: hub.payloads("availability")[-1]["state"] == "offline", "the last will")


def test_health_is_latest_only_and_retained_topics_return_after_a_reconnection(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    with sending(outbox, settings(mosquitto.port)) as mqtt:
        mqtt.publish_retained("model", b'{"schema_version":1}')
        wait_until(lambda: mqtt.connected, "connected")
        mosquitto.kill()  # its retained messages are not on disk yet
        wait_until(lambda: not mqtt.connected, "lost")
        for depth in (1, 2, 3):
            mqtt.publish_health(_health(depth))
        mosquitto.start()
        with Receiver(mosquitto.port, tmp_path / "hub") as hub:
            wait_until(lambda: hub.payloads("model"), "the model")
            wait_until(lambda: mqtt.connected, "connected")
            mqtt.publish_health(_health(4))
            wait_until(lambda: [body["outbox_depth"] for body in hub.payloads("health")][-1:] == [4], "health")
            assert len(hub.payloads("health")) <= 2
            assert all(body["outbox_depth"] > 2 for body in hub.payloads("health"))


def test_home_assistant_is_told_how_to_show_the_device(mosquitto: Mosquitto, outbox: Outbox) -> None:
    with sending(outbox, settings(mosquitto.port, home_assistant=True)):
        message = subscribe.simple("homeassistant/#", hostname="127.0.0.1", port=mosquitto.port, retained=True)
    assert message.topic == "homeassistant/device/ecosight_forest_oak/config"
    payload = json.loads(message.payload)
    assert payload["components"]["alert"]["state_topic"] == "ecosight/v1/forest/oak/alert"
    assert len({part["unique_id"] for part in payload["components"].values()}) == len(payload["components"])


def test_a_removed_place_and_home_assistant_switched_off_are_taken_back_from_the_broker(
    mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path
) -> None:
    shown = settings(mosquitto.port, home_assistant=True).model_copy(
        update={"state_dir": tmp_path, "place": Location(latitude_deg=46.5, longitude_deg=7.5)}
    )
    topics = ["ecosight/v1/forest/oak/location", "homeassistant/device/ecosight_forest_oak/config"]
    with sending(outbox, shown) as mqtt:
        mqtt.publish_retained("location", b'{"schema_version":1}')
        for topic in topics:
            assert subscribe.simple(topic, hostname="127.0.0.1", port=mosquitto.port, retained=True).payload
    hidden = settings(mosquitto.port).model_copy(update={"state_dir": tmp_path})
    with sending(outbox, hidden) as mqtt:
        mqtt.publish_retained("model", b'{"schema_version":1}')
        model = "ecosight/v1/forest/oak/model"
        assert subscribe.simple(model, hostname="127.0.0.1", port=mosquitto.port, retained=True).payload
        assert mqtt.problems == []
    found: list[str] = []
    reader = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    reader.on_message = lambda _client, _data, message: found.append(message.topic)
    reader.on_connect = lambda client, *_: client.subscribe("#")
    reader.connect("127.0.0.1", mosquitto.port)
    reader.loop_start()
    wait_until(lambda: model in found, "the retained topics")
    time.sleep(0.2)
    reader.disconnect()
    reader.loop_stop()
    assert set(found) == {model, "ecosight/v1/forest/oak/availability"}


def _health(depth: int) -> Health:
    return Health(site="forest", device="oak", at=moment(), uptime_s=1, state="ok", outbox_depth=depth)
