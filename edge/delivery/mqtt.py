"""Sends what waits in the outbox, the newest health and the retained topics; receives commands and receipts.

One thread owns everything: it connects (the only one that does), waits on the socket, on ``wake`` and on the
clock, and hands paho its bytes. The rest of the daemon never waits for the network.

    mqtt = Mqtt(settings, outbox, commands.handle)
    mqtt.start()
    outbox.put_alert(alert); mqtt.wake()

A PUBACK with a reason code of 0x80 and above keeps the row and raises ``mqtt:refused:CODE``; success deletes
it (``confirm: broker``) or starts the wait for its receipt (``confirm: receipt``).
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from edge.delivery import home_assistant, mqtt_session
from edge.delivery.confirmation import Confirmation
from edge.delivery.messages import Health, Receipt, Response, Topics
from edge.delivery.mqtt_link import Link, wait
from edge.delivery.outbox import Outbox, Row
from edge.delivery.problems import Problems
from edge.delivery.retained import Retained
from edge.settings import EdgeSettings, SettingsError
from edge.threads import joined

log = logging.getLogger(__name__)

TICK_S = 2.0
"""Longest sleep: another process may have put a row (a drill), a receipt may be overdue."""
FIRST_RETRY_S = 0.25
STABLE_S = 10.0
"""A connection that held for this long starts the backoff anew (two devices of one name throw each other out)."""
LONGEST_OPENING_S = 120.0

OnCommand = Callable[[bytes, bool, int | None], Response]
"""Payload, whether it was retained, what is left of its MQTT 5 message expiry in s (None: it had none)."""


class Mqtt:
    """See the module. What it is given to call runs on its thread and must be quick."""

    def __init__(
        self,
        settings: EdgeSettings,
        outbox: Outbox,
        on_command: OnCommand,
        on_hint: Callable[[bytes], None] = lambda payload: None,
    ) -> None:
        """``on_hint``: told of each message that a release may exist."""
        self._settings = settings
        self._topics = Topics(settings.site, settings.device)
        self._outbox = outbox
        self._on_command = on_command
        self._on_hint = on_hint
        self._hint_topic = self._topics.hint(settings.updates.channel)
        self._confirmation = Confirmation(settings.mqtt)
        self._problems = Problems(log)
        self._health: tuple[float, bytes] | None = None
        self._lock = threading.Lock()  # of the one above
        self._retained = Retained(settings.state_dir / "retained.json")
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()  # of the eventfd, whose number may be another file's once it is closed
        self._closed = False
        self._stopping = threading.Event()
        self._drain_until_s = self._stop_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._link: Link | None = None
        self._opening_since_s: float | None = None
        self._sent_today: tuple[str, int] = ("", 0)
        self.beat = 0
        """Advances while the loop runs."""

    # For the rest of the daemon --------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        link = self._link
        return link is not None and link.up

    @property
    def may_stand_still(self) -> bool:
        """Whether a connection is being opened, in which names are resolved and nothing can be interrupted."""
        return self._opening_since_s is not None and time.monotonic() - self._opening_since_s < LONGEST_OPENING_S

    @property
    def problems(self) -> list[str]:
        """Codes for ``health``: what is wrong with the connection or with single topics now."""
        return self._problems.codes

    @property
    def bytes_sent_today(self) -> int:
        """Bytes of MQTT messages sent since midnight UTC or the start, without TLS and TCP."""
        return self._sent_today[1] if self._sent_today[0] == _today() else 0

    def start(self) -> None:
        wanted = {self._topics.model}
        if self._settings.place is not None:
            wanted.add(self._topics.location)
        if self._settings.mqtt.home_assistant:
            topic, payload = home_assistant.discovery(self._settings)
            wanted.add(topic)
            self._retained.put(topic, payload)
        self._retained.keep_only(wanted)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Send what is waiting for half of ``timeout_s`` at most, say ``offline``, disconnect. False: it hung."""
        self._drain_until_s = time.monotonic() + 0.5 * timeout_s
        self._stop_at_s = time.monotonic() + 0.8 * timeout_s
        self._stopping.set()
        self.wake()
        if not joined(self._thread, timeout_s):
            return False
        with self._wake_lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake)
        return True

    def wake(self) -> None:
        """A row was put, or something else is new."""
        with self._wake_lock:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def publish_health(self, health: Health) -> None:
        """Latest only: what cannot be sent before the next one is due is never sent."""
        with self._lock:
            self._health = (time.monotonic(), health.to_json())
        self.wake()

    def publish_retained(self, leaf: str, payload: bytes) -> None:
        """Publish ``payload`` on a topic of this device, retained, now and after each reconnection."""
        self._retained.put(self._topics.of(leaf), payload)
        self.wake()

    # The thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self.beat += 1
            stable = False
            try:
                self._opening_since_s = time.monotonic()
                self._link = Link(self._settings, self._problems, self._on_up, self._on_taken, self._on_refused)
                self._opening_since_s = None
                self._serve(self._link)
            except (OSError, SettingsError) as error:
                code, text = mqtt_session.explain(error)
                broker = f"{self._settings.mqtt.host}:{self._settings.mqtt.port}"
                self._problems.report("connection", code, f"{broker}: {text}")
            except Exception as error:
                # A bug in one message must not end delivery for good: say so and start with a new connection.
                if self._problems.report("connection", "mqtt:internal", f"the sender stumbled: {error}"):
                    log.exception("the sender stumbled")
            finally:
                self._opening_since_s = None
                link, self._link = self._link, None
                if link is not None:
                    stable = link.up_for_s >= STABLE_S
                    link.close()
            failures = 0 if stable else failures + 1
            self._pause(_backoff_s(failures, self._settings.mqtt.reconnect_max_s))

    def _serve(self, link: Link) -> None:
        """Until the connection is lost or ``stop`` has been obeyed."""
        saying_goodbye = False
        while link.turn(TICK_S, self._wake):
            self.beat += 1
            self._outbox.tend()
            if link.up:
                self._read_inbox(link)
                if not saying_goodbye:
                    self._send(link)
                if link.quiet:
                    self._retained.arrived()
            if not link.flush():
                return
            if self._stopping.is_set():
                now_s = time.monotonic()
                # Quiet after _send: all that is due has arrived.
                if not saying_goodbye and link.up and (link.quiet or now_s > self._drain_until_s):
                    saying_goodbye = True
                    link.say("offline")
                elif not link.up or link.quiet or now_s > self._stop_at_s:
                    link.hang_up()
                    return

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._stopping.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self.beat += 1
            self._outbox.tend()
            wait(min(TICK_S, left_s), self._wake)

    def _on_up(self, session_present: bool) -> None:
        self._confirmation.connected(session_present)
        self._retained.again()

    def _on_taken(self, row: Row) -> None:
        self._confirmation.taken(self._outbox, row, time.monotonic())

    def _on_refused(self, row: Row) -> None:
        self._confirmation.refused(row, time.monotonic())

    def _send(self, link: Link) -> None:
        now_s = time.monotonic()
        with self._lock:
            health, self._health = self._health, None
        sent_bytes = 0
        for topic, payload in self._retained.take():
            # What is taken back may lie where this device has no right any more: nothing is wrong then.
            sent_bytes += link.publish(topic, payload, retain=True, qos=1 if payload else 0)
        for row in self._confirmation.due(self._outbox, link.rows_in_flight, link.room, now_s):
            sent_bytes += link.publish(self._topics.of(row.leaf), row.payload, row)
        if health is not None and now_s - health[0] < self._settings.health.interval_s:
            sent_bytes += link.publish(self._topics.health, health[1], qos=0)
        self._count(sent_bytes)

    def _count(self, sent_bytes: int) -> None:
        day, before = self._sent_today
        today = _today()
        self._sent_today = (today, (before if day == today else 0) + sent_bytes)

    def _read_inbox(self, link: Link) -> None:
        while link.inbox:
            message = link.inbox.popleft()
            if message.topic == self._topics.receipt:
                self._take_receipt(bytes(message.payload))
            elif message.topic == self._topics.command:
                self._answer(link, message)
            elif message.topic == self._hint_topic:
                self._on_hint(bytes(message.payload))

    def _take_receipt(self, payload: bytes) -> None:
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError:
            log.warning("a receipt of %d bytes could not be read", len(payload))
            return
        self._confirmation.receipt(self._outbox, receipt, time.monotonic())

    def _answer(self, link: Link, message: paho.MQTTMessage) -> None:
        expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
        response = self._on_command(bytes(message.payload), bool(message.retain), expiry_s)
        correlation = getattr(message.properties, "CorrelationData", None)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if correlation is not None:
            properties.CorrelationData = correlation
        self._count(link.publish(self._topics.response, response.to_json(), properties=properties))


def _backoff_s(failures: int, longest_s: float) -> float:
    """Doubling up to ``longest_s``, with jitter: a forest of devices must not return at the same moment."""
    return float(min(longest_s, FIRST_RETRY_S * 2.0 ** min(failures, 20)) * random.uniform(0.5, 1.0))  # noqa: S311


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
