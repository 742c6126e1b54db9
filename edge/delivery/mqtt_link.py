"""One connection to the broker, from the attempt to its end: the socket, what is in flight, what has come in.

paho does the protocol, without a thread of its own: ``turn`` waits for the socket and hands paho its bytes.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.delivery import mqtt_session
from edge.delivery.messages import Topics
from edge.delivery.outbox import Row
from edge.delivery.problems import Problems
from edge.settings import EdgeSettings

CONNACK_TIMEOUT_S = 10.0
PUBACK_TIMEOUT_S = 60.0
# MQTT 5 reason codes.
NO_MATCHING_SUBSCRIBERS = 0x10
REFUSED = 0x80
PACKET_TOO_LARGE = 0x95
ANY_SIZE_BYTES = 268_435_455
PACKET_OVERHEAD_BYTES = 64


class Link:
    """``on_up(session_present)`` is called once the broker has let us in; ``on_taken(row)`` and
    ``on_refused(row)`` as it answers. All within ``turn`` or ``publish``, on the caller's thread.

    Raises (from the constructor):
        SettingsError: a password or certificate file cannot be used.
        OSError: no connection.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        problems: Problems,
        on_up: Callable[[bool], None],
        on_taken: Callable[[Row], None],
        on_refused: Callable[[Row], None],
    ) -> None:
        self._settings = settings
        self._topics = Topics(settings.site, settings.device)
        self._problems = problems
        self._on_up, self._on_taken, self._on_refused = on_up, on_taken, on_refused
        self._in_flight: dict[int, tuple[Row | str, float]] = {}  # by packet id; a topic where it is no row
        self._window = mqtt_session.IN_FLIGHT
        self._largest_bytes = ANY_SIZE_BYTES
        self._explained = False
        self.inbox: deque[paho.MQTTMessage] = deque()
        self.up = False
        """The broker has let us in."""
        client = self._client = mqtt_session.new_client(settings)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = lambda client, userdata, message: self.inbox.append(message)
        mqtt_session.connect(client, settings)
        self._since_s = time.monotonic()

    @property
    def up_for_s(self) -> float:
        """Seconds since the broker let us in; 0 if it has not."""
        return time.monotonic() - self._since_s if self.up else 0.0

    @property
    def rows_in_flight(self) -> list[int]:
        return [what.id for what, _ in self._in_flight.values() if isinstance(what, Row)]

    @property
    def quiet(self) -> bool:
        """Everything that was published has been answered."""
        return not self._in_flight

    @property
    def room(self) -> int:
        """Messages that may still be sent before an answer comes."""
        return self._window - len(self._in_flight)

    def turn(self, timeout_s: float, wake: int) -> bool:
        """Sleep until the socket is ready, the eventfd ``wake`` or the timeout; read. False: it is over.

        Raises:
            TimeoutError: the broker does not answer.
        """
        sock = self._client.socket()
        if sock is None:
            return self._over()
        # What TLS has decrypted already, no poll shows.
        waiting = bool(self.inbox) or (hasattr(sock, "pending") and sock.pending() > 0)
        readable = wait(0 if waiting else timeout_s, wake, sock, self._client.want_write()) or waiting
        if readable and self._client.loop_read() != paho.MQTT_ERR_SUCCESS:
            return self._over()
        if self._client.loop_misc() != paho.MQTT_ERR_SUCCESS:
            return self._over()
        now_s = time.monotonic()
        if not self.up and now_s - self._since_s > CONNACK_TIMEOUT_S:
            raise TimeoutError("no CONNACK")
        if self._in_flight and now_s - min(at_s for _, at_s in self._in_flight.values()) > PUBACK_TIMEOUT_S:
            raise TimeoutError("no PUBACK")
        return True

    def flush(self) -> bool:
        """Write what is ready to be sent. False: it is over."""
        if self._client.want_write() and self._client.loop_write() != paho.MQTT_ERR_SUCCESS:
            return self._over()
        return True

    def publish(
        self,
        topic: str,
        payload: bytes,
        what: Row | str = "",
        retain: bool = False,
        qos: int = 1,
        properties: Properties | None = None,
    ) -> int:
        """Send a message; ``what`` it is returns with the answer. Returns about how many bytes that took."""
        if len(topic) + len(payload) + PACKET_OVERHEAD_BYTES > self._largest_bytes:
            # The broker would end the connection over it, again and again.
            self._refuse(what or topic, PACKET_TOO_LARGE, "larger than the broker takes")
            return 0
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        if qos:
            self._in_flight[info.mid] = (what or topic, time.monotonic())
        return len(topic) + len(payload) + 8

    def say(self, state: Literal["online", "offline"]) -> None:
        """Publish ``availability``."""
        self.publish(self._topics.availability, mqtt_session.availability(state), retain=True)

    def hang_up(self) -> None:
        """Disconnect with a word, so that the last will is not sent."""
        self._client.disconnect()

    def close(self) -> None:
        """Cut the connection, if it still is."""
        self.up = False
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _over(self) -> bool:
        if not self._explained:
            self._problems.report("connection", "mqtt:lost", "the connection to the broker was lost")
        return False

    # paho calls these ------------------------------------------------------------------------------------------

    def _on_connect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.value >= REFUSED:
            self._explained = True
            self._problems.report("connection", f"mqtt:connect_refused:{code.value}", f"the broker refuses us: {code}")
            return
        self._window = min(mqtt_session.IN_FLIGHT, getattr(properties, "ReceiveMaximum", mqtt_session.IN_FLIGHT))
        self._largest_bytes = getattr(properties, "MaximumPacketSize", ANY_SIZE_BYTES)
        # Retained commands are asked for so that they can be refused by name, not silently dropped.
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=1)
        wanted = [(self._topics.command, options)]
        if self._settings.mqtt.confirm == "receipt":
            wanted.append((self._topics.receipt, SubscribeOptions(qos=1)))
        if self._settings.updates.url is not None:
            wanted.append((self._topics.hint(self._settings.updates.channel), SubscribeOptions(qos=1)))
        client.subscribe(wanted)  # even with a session: a broker that lost its state keeps no subscriptions
        self.say("online")
        self._problems.mended("connection", "connected to the broker")
        self._on_up(flags.session_present)
        # Last: another thread that sees it may look at the rest.
        self._since_s = time.monotonic()
        self.up = True

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._explained = True
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
        if not what:  # QoS 0: nobody answered
            return
        if code.value >= REFUSED:
            self._refuse(what, code.value, str(code))
            return
        self._problems.mended(_leaf(what), f"the broker takes {_leaf(what)} again")
        if isinstance(what, Row):
            if code.value == NO_MATCHING_SUBSCRIBERS:
                self._problems.report("nobody", "mqtt:nobody_listens", "the broker has no subscriber for our alerts")
            else:
                self._problems.mended("nobody", "somebody listens again")
            self._on_taken(what)

    def _refuse(self, what: Row | str, code: int, why: str) -> None:
        self._problems.report(_leaf(what), f"mqtt:refused:{code}", f"the broker refuses {_leaf(what)}: {why}")
        if isinstance(what, Row):
            self._on_refused(what)


def wait(timeout_s: float, wake: int, sock: Any = None, to_write: bool = False) -> bool:
    """Sleep until ``sock`` is ready, the eventfd ``wake`` or the timeout. True: the socket can be read."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if sock is not None:
        poll.register(sock, select.POLLIN | (select.POLLOUT if to_write else 0))
    ready = dict(poll.poll(timeout_s * 1000))
    if wake in ready:
        os.eventfd_read(wake)
    return sock is not None and bool(ready.get(sock.fileno(), 0) & ~select.POLLOUT)


def _leaf(what: Row | str) -> str:
    return what.leaf if isinstance(what, Row) else what.rpartition("/")[2]
