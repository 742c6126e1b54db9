"""The receiver that the how-to shows, on the broker that the how-to shows."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from edge.delivery.messages import Topics
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import alert, clip
from tests.integration.receiver import Receiver, wait_until
from tests.integration.sender import sending, settings
from tests.servers.mosquitto import PASSWORD, Certificates, Mosquitto

pytestmark = pytest.mark.server

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "receiver.py"


class Example:
    """``receiver.py`` as a process, in a folder of its own."""

    def __init__(self, broker: Mosquitto, certificates: Certificates, folder: Path) -> None:
        self.folder = folder
        password = folder / "password"
        password.write_text(f"{PASSWORD}\n")
        arguments = ["localhost", str(broker.tls_port), "forest", "hub", str(password), str(certificates.ca)]
        self._command = [sys.executable, str(EXAMPLE), *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "said"

    def start(self) -> None:
        connected = self.said().count("connected: Success")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self.folder, stdout=log, stderr=log)
        wait_until(lambda: self.said().count("connected: Success") > connected, "the example's connection")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def stored(self) -> list[tuple[str, str, int, str]]:
        with sqlite3.connect(self.folder / "messages.sqlite3") as db:
            return db.execute("SELECT device, alert_id, seq, leaf FROM messages ORDER BY alert_id, seq").fetchall()


@pytest.fixture
def example(guarded_mosquitto: Mosquitto, certificates: Certificates, tmp_path: Path) -> Iterator[Example]:
    folder = tmp_path / "example"
    folder.mkdir()
    receiver = Example(guarded_mosquitto, certificates, folder)
    receiver.start()
    yield receiver
    receiver.kill()


def test_the_receiver_of_the_how_to_stores_each_message_once_and_sends_receipts(
    example: Example, guarded_mosquitto: Mosquitto, certificates: Certificates, outbox: Outbox, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    configuration = settings(
        guarded_mosquitto.tls_port,
        tls=True,
        host="localhost",
        ca_file=certificates.ca,
        password_file=tmp_path / "password",
        confirm="receipt",
        receipt_timeout_s=1.0,
    )
    with sending(outbox, configuration) as mqtt:
        outbox.put_alert(alert("a1"))
        outbox.put_alert(alert("a1", phase="end", shots=3))
        outbox.put_clip(clip("a1"))
        mqtt.wake()
        wait_until(lambda: outbox.depth == 0, "the receipts")
        example.kill()
        outbox.put_alert(alert("a2"))
        mqtt.wake()
        example.start()
        wait_until(lambda: outbox.depth == 0, "the receipt of what came meanwhile")
    assert example.stored() == [
        ("oak", "a1", 0, "alert"),
        ("oak", "a1", 1, "alert"),
        ("oak", "a1", 2, "clip"),
        ("oak", "a2", 0, "alert"),
    ]
    said = example.said()
    assert said.count("oak: gun_shot new") == 2
    assert said.count("oak: gun_shot end, 3 shot(s)") == 1
    assert said.count("oak: clip kept, ") == 1
    assert "Traceback" not in said


def test_a_repeat_is_not_printed_again_but_gets_its_receipt_again(
    example: Example, guarded_mosquitto: Mosquitto
) -> None:
    guarded_mosquitto.add_receiver("forest", "watcher")
    topics = Topics("forest", "oak")
    payload = alert("a1").to_json()
    watched = example.folder / "watched"
    with Receiver(guarded_mosquitto.port, watched, username="watcher", password=PASSWORD, name="watcher") as watcher:
        device = paho.Client(paho.CallbackAPIVersion.VERSION2, "again", protocol=paho.MQTTv5)
        device.username_pw_set("forest:oak", PASSWORD)
        device.connect("127.0.0.1", guarded_mosquitto.port)
        device.loop_start()
        for _ in range(2):
            device.publish(topics.alert, payload, qos=1)
        wait_until(lambda: len(watcher.payloads("receipt")) == 2, "two receipts")
        device.disconnect()
        device.loop_stop()
    assert {(said["alert_id"], said["seq"]) for said in watcher.payloads("receipt")} == {("a1", 0)}
    assert example.said().count("gun_shot new") == 1
    assert len(example.stored()) == 1
