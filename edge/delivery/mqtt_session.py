"""One connection to the broker: how the paho client is made, and what went wrong when there is none.

A new client is made for every attempt: passwords and certificates are read again (they may have been mended),
and nothing of an old connection's queue is left in memory; the outbox knows what must be sent again.
"""

import socket
import ssl
from pathlib import Path
from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.delivery.messages import Availability, Topics
from edge.settings import BrokerSettings, EdgeSettings, SettingsError, secret

CONNECT_TIMEOUT_S = 10.0
SESSION_EXPIRY_S = 86_400
"""Receipts and commands wait this long at the broker for a device that is away."""
MAXIMUM_PACKET_BYTES = 32_768
"""The broker keeps larger messages from us (MQTT 5, 3.1.2.11.4)."""
IN_FLIGHT = 20

# OpenSSL's X509_V_ERR_…: a wrong clock shows itself here first.
NOT_YET_VALID, EXPIRED = 9, 10


def new_client(settings: EdgeSettings) -> paho.Client:
    """A client with its last will, password and certificates, not connected yet.

    Raises:
        SettingsError: a password or certificate file cannot be used.
    """
    mqtt = settings.mqtt
    topics = Topics(settings.site, settings.device)
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=f"ecosight:{settings.site}:{settings.device}", protocol=paho.MQTTv5
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(2 * IN_FLIGHT)  # we count; paho must not hold messages back
    client.will_set(topics.availability, availability("offline"), qos=1, retain=True)
    password = secret("mqtt_password", mqtt.password_file)
    username = mqtt.username or (f"{settings.site}:{settings.device}" if password else None)
    if username:
        client.username_pw_set(username, password)
    if mqtt.tls:
        client.tls_set_context(tls_context(settings.mqtt))
    return client


def availability(state: Literal["online", "offline"]) -> bytes:
    """The payload of ``availability``."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot_id = ""
    return Availability(state=state, boot_id=boot_id).to_json()


def connect(client: paho.Client, settings: EdgeSettings) -> None:
    """Open the connection and send CONNECT: a session that outlives it, so that receipts and commands wait.

    Raises:
        OSError: no name, no route, refused, timeout, TLS.
    """
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = MAXIMUM_PACKET_BYTES
    properties.ReceiveMaximum = IN_FLIGHT
    client.connect(
        settings.mqtt.host,
        settings.mqtt.port,
        keepalive=settings.mqtt.keepalive_s,
        clean_start=False,
        properties=properties,
    )


def explain(error: Exception) -> tuple[str, str]:
    """The problem code and a sentence for a connection that could not be opened."""
    if isinstance(error, SettingsError):
        return "mqtt:credentials", str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == NOT_YET_VALID:
            return "mqtt:tls:not_yet_valid", "the broker's certificate is not valid yet: is this device's clock right?"
        if error.verify_code == EXPIRED:
            return "mqtt:tls:expired", "the broker's certificate has expired, or this device's clock is wrong"
        return "mqtt:tls:untrusted", f"the broker's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "mqtt:tls", f"TLS failed: {error}"
    if isinstance(error, socket.gaierror):
        return "mqtt:dns", f"the broker's name cannot be resolved: {error}"
    return "mqtt:unreachable", f"the broker cannot be reached: {error or type(error).__name__}"


def tls_context(broker: BrokerSettings, section: str = "mqtt") -> ssl.SSLContext:
    """Whom the client trusts, and how it identifies itself. ``section`` of the configuration is where that stands.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"{section}.ca_file {broker.ca_file}: {error}") from error
    if broker.client_certificate_file:
        try:
            context.load_cert_chain(broker.client_certificate_file, broker.client_key_file)
        except OSError as error:
            files = f"{broker.client_certificate_file} with {broker.client_key_file}"
            raise SettingsError(f"{section}.client_certificate_file {files}: {error}") from error
    return context
