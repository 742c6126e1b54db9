"""The way to the broker, a step at a time: name, port, TLS, MQTT, one message.

Connects under a name of its own, so that a running daemon keeps its session, and without a last will.
"""

import contextlib
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.delivery.messages import Response, Topics
from edge.delivery.mqtt_session import tls_context
from edge.settings import EdgeSettings, SettingsError, secret
from edge.upkeep.doctor.certificate import validity
from edge.upkeep.doctor.examination import Outcome, bad, doubtful, good

TIMEOUT_S = 10.0
NO_SUBSCRIBERS = 16
FAILURE = 128
NOT_YET_VALID, EXPIRED, WRONG_NAME = 9, 10, 62  # OpenSSL: X509_V_ERR_… (x509_vfy.h)

CONNECT_STEPS = {  # MQTT 5, 3.2.2.2
    132: "the broker speaks no MQTT 5: Mosquitto does since 1.6",
    133: "the broker refuses the client's name",
    134: "check mqtt.username and the password; the broker user is `{user}`",
    135: "allow the user `{user}` at the broker",
    136: "the broker is down behind its port; look at its log",
    137: "the broker is busy; try again",
    138: "the broker has banned this device",
    140: "the broker wants another way of authentication",
    151: "the broker's quota is used up",
    159: "the broker limits connections; wait and try again",
}


class Broker:
    """What one check learns, the next uses."""

    def __init__(self, settings: EdgeSettings, clock_synchronised: Callable[[], bool]) -> None:
        self._settings = settings
        self._mqtt = settings.mqtt
        self._clock_synchronised = clock_synchronised
        self._where = f"{self._mqtt.host}:{self._mqtt.port}"
        self._addresses: list[Any] = []
        self._client: paho.Client | None = None
        self._acknowledged = threading.Event()
        self._reason: Any = None

    def resolve(self) -> Outcome:
        """DNS."""
        host, port = self._mqtt.host, self._mqtt.port
        try:
            self._addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            why = error.strerror if isinstance(error, socket.gaierror) else str(error)
            return bad(f"{host}: {why}", "check mqtt.host, the network, and the name server in /etc/resolv.conf")
        return good(f"{host} is {', '.join(dict.fromkeys(str(entry[4][0]) for entry in self._addresses))}")

    def reach(self) -> Outcome:
        """TCP."""
        problem = ""
        for family, kind, protocol, _, address in self._addresses:
            with socket.socket(family, kind, protocol) as link:
                link.settimeout(TIMEOUT_S)
                try:
                    link.connect(address)
                except TimeoutError:
                    problem = f"no answer in {TIMEOUT_S:.0f} s"
                except OSError as error:
                    problem = error.strerror or str(error)
                else:
                    return good(f"{self._where} is open")
        step = "does the broker run, and listen at this port to other machines? does a firewall stand between?"
        return bad(f"{self._where}: {problem.lower()}", step)

    def secure(self) -> Outcome:
        """TLS."""
        try:
            context = tls_context(self._mqtt)
        except SettingsError as error:
            return bad(str(error), "correct the file, and let the user of the service read it")
        try:
            with self._dial() as link, context.wrap_socket(link, server_hostname=self._mqtt.host) as tls:
                certificate = tls.getpeercert(binary_form=True) or b""
                version = tls.version()
        except ssl.SSLCertVerificationError as error:
            return self._untrusted(error)
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            step = "is this the port of the TLS listener (usually 8883)?"
            if "ALERT" in reason:
                step = "the broker refuses this device: does it want mqtt.client_certificate_file?"
            return bad(f"{self._where}: {reason.replace('_', ' ').lower()}", step)
        except OSError as error:
            step = "is this the port of the TLS listener (usually 8883)?"
            return bad(f"{self._where}: the broker ends the handshake ({error or 'closed'})", step)
        _, until = validity(certificate)
        left_days = (until - datetime.now(UTC)).days
        said = f"{version}, certificate trusted, valid until {until:%Y-%m-%d}"
        return doubtful(said, f"renew it within {left_days} days") if left_days < 14 else good(said)

    def connect(self) -> Outcome:
        """MQTT CONNECT with the device's user."""
        name = f"ecosight-doctor-{secrets.token_hex(4)}"
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        client.connect_timeout = TIMEOUT_S
        try:
            password = secret("mqtt_password", self._mqtt.password_file)
            context = tls_context(self._mqtt) if self._mqtt.tls else None
        except SettingsError as error:
            return bad(str(error), "correct the file, and let the user of the service read it")
        user = self._mqtt.username or (f"{self._settings.site}:{self._settings.device}" if password else None)
        if user:
            client.username_pw_set(user, password)
        if context is not None:
            client.tls_set_context(context)
        answered, said = threading.Event(), list[Any]()

        def heard(*arguments: Any) -> None:
            said.append(arguments[3])  # the reason code, of on_connect and of on_disconnect
            answered.set()

        client.on_connect = client.on_disconnect = heard
        client.on_publish = self._on_publish
        try:
            client.connect(self._mqtt.host, self._mqtt.port, keepalive=60)
            client.loop_start()
            answered.wait(TIMEOUT_S)
        except OSError as error:
            return bad(f"{self._where}: {error}", "look at the broker's log")
        self._client = client
        who = f"as {user}" if user else "without a user"
        if not said:
            self.close()
            return bad(f"{who}: no answer in {TIMEOUT_S:.0f} s", "is this port MQTT's? does it want mqtt.tls?")
        reason = said[0]
        if reason.value < FAILURE and client.is_connected():
            return good(f"{who}: {str(reason).lower()}")
        self.close()
        if reason.value < FAILURE or reason.getName() == "Unspecified error":
            return bad(f"{who}: the broker closes the connection", self._why_closed())
        step = CONNECT_STEPS.get(reason.value, "look at the broker's log").format(user=user or "(none)")
        return bad(f"{who}: {str(reason).lower()} ({reason.value})", step)

    def publish(self) -> Outcome:
        """One QoS 1 message on ``response``, which the ACL of every device allows, and its PUBACK."""
        client = self._client
        assert client is not None
        topic = Topics(self._settings.site, self._settings.device).response
        client.publish(topic, Response(id="doctor", command="doctor", ok=True).to_json(), qos=1)
        try:
            if not self._acknowledged.wait(TIMEOUT_S):
                return bad(f"{topic}: no PUBACK in {TIMEOUT_S:.0f} s", "look at the broker's log; is its disk full?")
        finally:
            self.close()
        reason = self._reason
        if reason.value >= FAILURE:
            user = self._mqtt.username or f"{self._settings.site}:{self._settings.device}"
            step = f"allow `{user}` to write {topic} (the broker's ACL); alerts wait on this device meanwhile"
            return bad(f"{topic}: {str(reason).lower()} ({reason.value})", step)
        listens = ", though nobody listens to this topic" if reason.value == NO_SUBSCRIBERS else ""
        return good(f"{topic}: taken{listens}")

    def close(self) -> None:
        """Leave in good order."""
        client, self._client = self._client, None
        if client is not None:
            client.on_connect = client.on_disconnect = None
            client.disconnect()
            client.loop_stop()

    def _on_publish(self, client: Any, data: Any, message: int, reason: Any, properties: Any) -> None:
        self._reason = reason
        self._acknowledged.set()

    def _dial(self) -> socket.socket:
        return socket.create_connection((self._mqtt.host, self._mqtt.port), TIMEOUT_S)

    def _why_closed(self) -> str:
        if not self._mqtt.tls:
            return "does this port want mqtt.tls? look at the broker's log"
        if self._mqtt.client_certificate_file is None:
            return "does the broker want mqtt.client_certificate_file? look at its log"
        return "does the broker trust mqtt.client_certificate_file? look at its log"

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Outcome:
        if error.verify_code in (NOT_YET_VALID, EXPIRED):
            return self._wrong_time(error)
        if error.verify_code == WRONG_NAME:
            return bad(error.verify_message, "name the broker in mqtt.host as in its certificate")
        trusted = self._mqtt.ca_file or "the system's certificates"
        step = "set mqtt.ca_file to the certificate of the authority that signed the broker's"
        return bad(f"the broker's certificate is not trusted by {trusted}: {error.verify_message}", step)

    def _wrong_time(self, error: ssl.SSLCertVerificationError) -> Outcome:
        now = datetime.now(UTC)
        here = f"this device believes that it is {now:%Y-%m-%d %H:%M} UTC"
        with contextlib.suppress(OSError, ValueError):
            start, until = validity(self._certificate_unverified())
            if not start <= now <= until:  # else an authority's certificate is meant, which cannot be seen from here
                here += f"; the certificate is valid from {start:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"
        what = f"the broker's {error.verify_message}: {here}"
        clock = "set this device's clock (is NTP reachable?)"
        if error.verify_code == NOT_YET_VALID:
            return bad(f"wrong clock? {what}", f"{clock}; if it is right, the broker's certificate was made too early")
        if self._clock_synchronised():
            return bad(what, "renew the broker's certificate: this device's clock is synchronised")
        return bad(f"wrong clock? {what}", f"{clock}; if it is right, renew the broker's certificate")

    def _certificate_unverified(self) -> bytes:
        """What the broker shows, only to read its dates; nothing is sent over this connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with self._dial() as link, context.wrap_socket(link, server_hostname=self._mqtt.host) as tls:
            return tls.getpeercert(binary_form=True) or b""
