"""Sends what waits in the outbox, the newest health and the retained topics; receives commands and receipts.

One thread owns everything: it connects (the only one that does), waits on the socket, on ``wake`` and on the
second, and hands paho its bytes. The rest of the daemon never waits for the network.

    mqtt = Mqtt(settings, outbox, commands.handle)
    mqtt.start()
    outbox.put_alert(alert); mqtt.wake()

A PUBACK with a reason code of 0x80 and above keeps the row and raises ``mqtt:refused:CODE``; success deletes
it (``confirm: broker``) or starts the wait for its receipt (``confirm: receipt``).
"""

import logging
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import ValidationError

from edge.delivery import home_assistant, mqtt_session
from edge.delivery.confirmation import Confirmation
from edge.delivery.messages import Health, Receipt, Response, Topics
from edge.delivery.outbox import Outbox, Row
from edge.delivery.problems import Problems
from edge.settings import EdgeSettings, SettingsError

log = logging.getLogger(__name__)

TICK_S = 1.0
"""Longest sleep: another process may have put a row (a drill), a receipt may be overdue."""
FIRST_RETRY_S = 0.25
STABLE_S = 10.0
"""A connection that held for this long starts the backoff anew (two devices of one name throw each other out)."""
CONNACK_TIMEOUT_S = 10.0
PUBACK_TIMEOUT_S = 60.0
LONGEST_OPENING_S = 120.0
NO_MATCHING_SUBSCRIBERS = 0x10
REFUSED = 0x80
PACKET_TOO_LARGE = 0x95
ANY_SIZE = 268_435_455
PACKET_OVERHEAD_BYTES = 64


OnCommand = Callable[[bytes, bool, int | None], Response]
"""Payload, whether it was retained, what is left of its MQTT 5 message expiry in s (None: it had none)."""


class Mqtt:
    """See the module. ``on_command`` runs on the sender's thread and must be quick."""

    def __init__(self, settings: EdgeSettings, outbox: Outbox, on_command: OnCommand) -> None:
        self._settings = settings
        self._topics = Topics(settings.site, settings.device)
        self._outbox = outbox
        self._on_command = on_command
        self._confirmation = Confirmation(settings.mqtt)
        self._problems = Problems(log)
        self._health: tuple[float, bytes] | None = None
        self._retained: dict[str, bytes] = {}
        self._retained_waiting: set[str] = set()
        self._lock = threading.Lock()  # of the three above
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._drain_until_s = self._stop_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._client: paho.Client | None = None
        self._in_flight: dict[int, tuple[Row | str, float]] = {}  # by packet id; a topic where it is no row
        self._window = mqtt_session.IN_FLIGHT
        self._largest = ANY_SIZE
        self._inbox: deque[paho.MQTTMessage] = deque()
        self._connected = False
        self._connected_at_s = 0.0
        self._opening_since_s: float | None = None
        self._closed = ""
        self._sent_today: tuple[str, int] = ("", 0)
        self.beat = 0
        """Advances while the loop runs."""

    # For the rest of the daemon --------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connected

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
        if self._settings.mqtt.home_assistant:
            self._retain(*home_assistant.discovery(self._settings))
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Send what is waiting for half of ``timeout_s`` at most, say ``offline``, disconnect. False: it hung."""
        self._drain_until_s = time.monotonic() + 0.5 * timeout_s
        self._stop_at_s = time.monotonic() + 0.8 * timeout_s
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """A row was put, or something else is new."""
        os.eventfd_write(self._wake, 1)

    def publish_health(self, health: Health) -> None:
        """Latest only: what cannot be sent before the next one is due is never sent."""
        with self._lock:
            self._health = (time.monotonic(), health.to_json())
        self.wake()

    def publish_retained(self, leaf: str, payload: bytes) -> None:
        """Publish ``payload`` on a topic of this device, retained, now and after each reconnection."""
        self._retain(self._topics.of(leaf), payload)

    def _retain(self, topic: str, payload: bytes) -> None:
        with self._lock:
            if self._retained.get(topic) == payload:
                return
            self._retained[topic] = payload
            self._retained_waiting.add(topic)
        self.wake()

    # The thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._beat()
            try:
                self._closed = ""
                self._open()
                self._serve()
            except (OSError, SettingsError, ValueError) as error:
                self._closed = self._closed or "failed"
                self._problems.report("connection", *mqtt_session.explain(error))
            except Exception:
                # A bug in one message must not end delivery for good: say so and start with a new connection.
                self._problems.report("connection", "mqtt:internal", "the sender stumbled")
                log.exception("the sender stumbled")
            finally:
                stable = self._connected and time.monotonic() - self._connected_at_s >= STABLE_S
                self._close()
            failures = 0 if stable else failures + 1
            self._pause(_backoff_s(failures, self._settings.mqtt.reconnect_max_s))

    def _open(self) -> None:
        self._opening_since_s = time.monotonic()
        client = self._client = mqtt_session.new_client(self._settings)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = lambda client, userdata, message: self._inbox.append(message)
        mqtt_session.connect(client, self._settings)
        self._opening_since_s = None
        self._connected_at_s = time.monotonic()

    def _close(self) -> None:
        self._connected = False
        self._opening_since_s = None
        client, self._client = self._client, None
        if client is not None and (sock := client.socket()) is not None:
            sock.close()
        self._in_flight.clear()
        self._inbox.clear()

    def _serve(self) -> None:
        """Until the connection is lost or ``stop`` has been obeyed."""
        assert self._client is not None
        saying_goodbye = False
        while (sock := self._client.socket()) is not None:
            self._beat()
            pending_tls = hasattr(sock, "pending") and sock.pending() > 0
            readable = self._wait(0 if pending_tls or self._inbox else TICK_S, sock) or pending_tls
            if readable and self._client.loop_read() != paho.MQTT_ERR_SUCCESS:
                break
            if self._client.loop_misc() != paho.MQTT_ERR_SUCCESS:
                break
            now_s = time.monotonic()
            self._outbox.tend()
            if self._connected:
                self._read_inbox()
                if not saying_goodbye:
                    self._send(now_s)
            elif now_s - self._connected_at_s > CONNACK_TIMEOUT_S:
                raise TimeoutError("no CONNACK")
            if self._client.want_write() and self._client.loop_write() != paho.MQTT_ERR_SUCCESS:
                break
            if self._in_flight and now_s - min(at_s for _, at_s in self._in_flight.values()) > PUBACK_TIMEOUT_S:
                raise TimeoutError("no PUBACK")
            if self._stopping.is_set():
                # Nothing in flight after _send: all that is due has arrived.
                if not saying_goodbye and self._connected and (not self._in_flight or now_s > self._drain_until_s):
                    saying_goodbye = True
                    self._say("offline")
                elif not self._connected or not self._in_flight or now_s > self._stop_at_s:
                    self._client.disconnect()
                    return
        if not self._closed:
            self._problems.report("connection", "mqtt:lost", "the connection to the broker was lost")

    def _wait(self, timeout_s: float, sock: Any = None) -> bool:
        """Sleep until the socket is ready, ``wake`` or the timeout. True: the socket can be read."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if sock is not None:
            assert self._client is not None
            poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        ready = dict(poll.poll(timeout_s * 1000))
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return sock is not None and bool(ready.get(sock.fileno(), 0) & ~select.POLLOUT)

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while not self._stopping.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._beat()
            self._outbox.tend()
            self._wait(min(TICK_S, left_s))

    def _beat(self) -> None:
        self.beat += 1

    # Sending ---------------------------------------------------------------------------------------------------

    def _send(self, now_s: float) -> None:
        with self._lock:
            retained = [(topic, self._retained[topic]) for topic in self._retained_waiting]
            self._retained_waiting.clear()
            health, self._health = self._health, None
        for topic, payload in retained:
            self._publish(topic, payload, topic, retain=True)
        rows_in_flight = [what.id for what, _ in self._in_flight.values() if isinstance(what, Row)]
        for row in self._confirmation.due(self._outbox, rows_in_flight, self._window - len(self._in_flight), now_s):
            self._publish(self._topics.of(row.leaf), row.payload, row)
        if health is not None and now_s - health[0] < self._settings.health.interval_s:
            self._publish(self._topics.health, health[1], qos=0)

    def _publish(
        self,
        topic: str,
        payload: bytes,
        what: Row | str = "",
        retain: bool = False,
        qos: int = 1,
        properties: Properties | None = None,
    ) -> None:
        assert self._client is not None
        if len(topic) + len(payload) + PACKET_OVERHEAD_BYTES > self._largest:
            # The broker would end the connection over it, again and again.
            self._refused(what, PACKET_TOO_LARGE, "larger than the broker takes")
            return
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if qos:
            self._in_flight[info.mid] = (what, time.monotonic())
        day, sent = self._sent_today
        today = _today()
        self._sent_today = (today, (sent if day == today else 0) + len(topic) + len(payload) + 8)

    def _say(self, state: Literal["online", "offline"]) -> None:
        topic = self._topics.availability
        self._publish(topic, mqtt_session.availability(state), topic, retain=True)

    # Receiving (paho calls these from loop_read, on our thread) ------------------------------------------------

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.value >= REFUSED:
            self._closed = "refused"
            self._problems.report("connection", f"mqtt:connect_refused:{code.value}", f"the broker refuses us: {code}")
            return
        self._connected = True
        self._connected_at_s = time.monotonic()
        self._window = min(mqtt_session.IN_FLIGHT, getattr(properties, "ReceiveMaximum", mqtt_session.IN_FLIGHT))
        self._largest = getattr(properties, "MaximumPacketSize", ANY_SIZE)
        self._confirmation.connected(flags.session_present)
        # Retained commands are asked for so that they can be refused by name, not silently dropped.
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=1)
        wanted = [(self._topics.command, options)]
        if self._settings.mqtt.confirm == "receipt":
            wanted.append((self._topics.receipt, SubscribeOptions(qos=1)))
        client.subscribe(wanted)  # even with a session: a broker that lost its state keeps no subscriptions
        self._say("online")
        with self._lock:
            self._retained_waiting = set(self._retained)
        self._problems.mended("connection", "connected to the broker")

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._closed = "disconnected"
            self._problems.report("connection", f"mqtt:disconnected:{code.value}", f"the broker hung up: {code}")

    def _on_subscribe(self, client: paho.Client, userdata: Any, mid: int, codes: list[Any], properties: Any) -> None:
        refused = [code for code in codes if code.value >= REFUSED]
        if refused:
            code = f"mqtt:subscribe_refused:{refused[0].value}"
            self._problems.report("subscribe", code, f"the broker refuses our subscriptions: {refused[0]}")
        else:
            self._problems.mended("subscribe", "subscribed")

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, code: Any, properties: Any) -> None:
        what, _ = self._in_flight.pop(mid, ("", 0.0))
        leaf = _leaf(what)
        if code.value >= REFUSED:
            self._refused(what, code.value, str(code))
            return
        if not leaf:
            return
        self._problems.mended(leaf, f"the broker takes {leaf} again")
        if isinstance(what, Row):
            if code.value == NO_MATCHING_SUBSCRIBERS:
                self._problems.report("nobody", "mqtt:nobody_listens", "the broker has no subscriber for our alerts")
            else:
                self._problems.mended("nobody", "somebody listens again")
            self._confirmation.taken(self._outbox, what, time.monotonic())

    def _refused(self, what: Row | str, code: int, why: str) -> None:
        leaf = _leaf(what)
        self._problems.report(leaf, f"mqtt:refused:{code}", f"the broker refuses {leaf}: {why}")
        if isinstance(what, Row):
            self._confirmation.refused(what, time.monotonic())

    def _read_inbox(self) -> None:
        while self._inbox:
            message = self._inbox.popleft()
            if message.topic == self._topics.receipt:
                self._take_receipt(bytes(message.payload))
            elif message.topic == self._topics.command:
                self._answer(message)

    def _take_receipt(self, payload: bytes) -> None:
        try:
            receipt = Receipt.model_validate_json(payload)
        except ValidationError:
            log.warning("a receipt of %d bytes could not be read", len(payload))
            return
        self._confirmation.receipt(self._outbox, receipt, time.monotonic())

    def _answer(self, message: paho.MQTTMessage) -> None:
        expiry_s = getattr(message.properties, "MessageExpiryInterval", None)
        response = self._on_command(bytes(message.payload), bool(message.retain), expiry_s)
        correlation = getattr(message.properties, "CorrelationData", None)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if correlation is not None:
            properties.CorrelationData = correlation
        self._publish(self._topics.response, response.to_json(), self._topics.response, properties=properties)


def _leaf(what: Row | str) -> str:
    return what.leaf if isinstance(what, Row) else what.rpartition("/")[2]


def _backoff_s(failures: int, longest_s: float) -> float:
    """Doubling up to ``longest_s``, with jitter: a forest of devices must not return at the same moment."""
    return float(min(longest_s, FIRST_RETRY_S * 2.0 ** min(failures, 20)) * random.uniform(0.5, 1.0))  # noqa: S311


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
