"""The real daemon as a process, and a receiver as a ranger's hub is one, for tests that kill and watch them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import yaml
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.delivery.messages import ROOT, Receipt

SITE, DEVICE = "forest", "cedar"


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The first true value of ``condition``; fails loudly after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


class RunningDaemon:
    """``ecosight-edge run`` on a configuration of its own, in a folder of its own."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.log = folder / "daemon.log"
        self.config = folder / "edge.yaml"
        self._tree = {
            "site": SITE,
            "device": DEVICE,
            "state_dir": str(self.state_dir),
            "clips": {"pre_roll_s": 1.0, "post_roll_s": 1.0, "max_s": 8.0, "free_floor_bytes": 0},
            "audio": {"ring_s": 15.0},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(settings)

    def configure(self, settings: dict[str, Any]) -> None:
        """Change the configuration file; sections are merged."""
        for key, value in settings.items():
            if isinstance(value, dict):
                self._tree[key] = {**self._tree.get(key, {}), **value}
            else:
                self._tree[key] = value
        self.config.write_text(yaml.safe_dump(self._tree))

    def start(self, environment: dict[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env={**inherited, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut ends it: at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """The exit code once its recording has ended."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.state_dir / 'outbox.sqlite3'}?mode=ro", uri=True)


class Receiver:
    """Commits every alert and clip message to SQLite, then says so on ``receipt``. Survives its broker."""

    def __init__(self, port: int, database: Path, receipts: bool = True) -> None:
        self._database = sqlite3.connect(database, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS seen (leaf TEXT, alert_id TEXT, seq INTEGER, payload TEXT, arrived_s REAL)"
        )
        self._lock = threading.Lock()
        self._receipts = receipts
        self.retained: dict[str, dict[str, Any]] = {}
        self.responses: list[dict[str, Any]] = []
        self.health: list[dict[str, Any]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "receiver", protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        persistent = Properties(PacketTypes.CONNECT)
        persistent.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", port, clean_start=False, properties=persistent)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._database.close()

    def messages(self, leaf: str | None = None) -> list[dict[str, Any]]:
        """Everything that arrived, repeats included, in order; each with ``arrived_s``."""
        with self._lock:
            rows = self._database.execute("SELECT leaf, payload, arrived_s FROM seen ORDER BY rowid").fetchall()
        return [{**json.loads(p), "leaf": kind, "arrived_s": at} for kind, p, at in rows if leaf in (None, kind)]

    def alerts(self) -> list[dict[str, Any]]:
        return self.messages("alert")

    def clips(self) -> list[dict[str, Any]]:
        return self.messages("clip")

    def publish(self, leaf: str, payload: bytes, **options: Any) -> None:
        self._client.publish(f"{ROOT}/{SITE}/{DEVICE}/{leaf}", payload, qos=1, **options)

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe(f"{ROOT}/{SITE}/{DEVICE}/+", qos=1)

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        arrived_s = time.time()
        leaf = message.topic.rsplit("/", 1)[-1]
        if leaf in ("receipt", "command"):
            return
        content = json.loads(message.payload)
        if leaf in ("alert", "clip"):
            with self._lock, self._database:
                self._database.execute(
                    "INSERT INTO seen VALUES (?, ?, ?, ?, ?)",
                    (leaf, content["alert_id"], content["seq"], message.payload.decode(), arrived_s),
                )
            if self._receipts:
                receipt = Receipt(alert_id=content["alert_id"], seq=content["seq"], receiver="test")
                client.publish(f"{ROOT}/{SITE}/{DEVICE}/receipt", receipt.to_json(), qos=1)
        elif leaf == "response":
            self.responses.append(content)
        elif leaf == "health":
            self.health.append(content)
        else:
            self.retained[leaf] = content
