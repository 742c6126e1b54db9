"""A receiver as strict as a real one: it commits every message to SQLite, drops repeats, then sends receipts."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.delivery.messages import Receipt, Topics


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Wait for something to become true, and return it."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if value := true():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {timeout_s} s")


class Receiver:
    """Subscribes to everything of a site. Its session at the broker outlives it, as that of a hub does."""

    def __init__(
        self,
        port: int,
        database: Path,
        site: str = "forest",
        receipts: bool = False,
        username: str | None = None,
        password: str | None = None,
        name: str = "hub",
    ) -> None:
        self.site = site
        self._receipts = receipts
        self.arrived: list[tuple[str, bytes]] = []
        """Topic and payload of everything, repeats included."""
        self.properties: list[Properties | None] = []
        self.times_s: list[float] = []
        """Unix time of each arrival."""
        self.repeats = 0
        self.conflicts: list[tuple[str, int]] = []
        """Numbers that came again with another payload: that must never be."""
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._port = port
        self._db = sqlite3.connect(database, timeout=10, isolation_level=None, check_same_thread=False)
        with self._lock:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS messages (leaf, device, alert_id, seq, payload, UNIQUE(alert_id, seq))"
            )
        client = self.client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        if username:
            client.username_pw_set(username, password)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda client, *_: client.subscribe(f"ecosight/v1/{site}/#", qos=1)
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message

    def start(self) -> "Receiver":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self.client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> "Receiver":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def committed(self, leaf: str = "alert") -> set[tuple[str, int]]:
        """``(alert_id, seq)`` of what it holds for good."""
        with self._lock:
            return set(self._db.execute("SELECT alert_id, seq FROM messages WHERE leaf = ?", (leaf,)))

    def payloads(self, leaf: str) -> list[dict[str, Any]]:
        """Everything that arrived on a topic, parsed, repeats included."""
        with self._lock:
            return [json.loads(payload) for topic, payload in self.arrived if topic.endswith(f"/{leaf}") and payload]

    def arrived_s(self, leaf: str) -> list[float]:
        """Unix times of ``payloads(leaf)``."""
        with self._lock:
            pairs = zip(self.arrived, self.times_s, strict=True)
            return [at for (topic, payload), at in pairs if topic.endswith(f"/{leaf}") and payload]

    def command(
        self,
        payload: bytes,
        device: str = "oak",
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
    ) -> paho.MQTTMessageInfo:
        properties = Properties(PacketTypes.PUBLISH)
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if correlation is not None:
            properties.CorrelationData = correlation
        return self.client.publish(
            Topics(self.site, device).command, payload, qos=1, retain=retain, properties=properties
        )

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        with self._lock:
            self.arrived.append((message.topic, bytes(message.payload)))
            self.properties.append(message.properties)
            self.times_s.append(time.time())
        *_, device, leaf = message.topic.split("/")
        if leaf not in ("alert", "clip") or not message.payload:
            return
        body = json.loads(message.payload)
        with self._lock:
            added = self._db.execute(
                "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)",
                (leaf, device, body["alert_id"], body["seq"], message.payload),
            ).rowcount
            same = self._db.execute(
                "SELECT 1 FROM messages WHERE alert_id = ? AND seq = ? AND leaf = ? AND payload = ?",
                (body["alert_id"], body["seq"], leaf, message.payload),
            ).fetchone()
            if not same:
                self.conflicts.append((body["alert_id"], body["seq"]))
        self.repeats += 1 - added
        if self._receipts:
            receipt = Receipt(alert_id=body["alert_id"], seq=body["seq"], receiver="hub")
            client.publish(Topics(self.site, device).receipt, receipt.to_json(), qos=1)
