"""Stores each message of a site's alerts and clips once, prints it, and sends the receipt.

receiver.py HOST PORT SITE USER PASSWORD-FILE [CA-FILE]      (docs/how-to/receive-alerts.md explains it)
"""

import json
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, site, user, password_file, *ca_file = sys.argv[1:]
db = sqlite3.connect("messages.sqlite3", isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS messages (device, alert_id, seq, leaf, payload, UNIQUE (device, alert_id, seq))")


def on_connect(client, userdata, flags, code, properties):
    print(f"connected: {code}", flush=True)
    client.subscribe([(f"ecosight/v1/{site}/+/alert", 1), (f"ecosight/v1/{site}/+/clip", 1)])


def on_message(client, userdata, message):
    said = json.loads(message.payload)
    *_, device, leaf = message.topic.split("/")
    row = (device, said["alert_id"], said["seq"], leaf, message.payload)
    new = db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?)", row).rowcount  # on disk, or an exception
    receipt = {"alert_id": said["alert_id"], "seq": said["seq"], "receiver": user}
    client.publish(f"ecosight/v1/{site}/{device}/receipt", json.dumps(receipt), qos=1)
    if new and leaf == "clip":
        print(f"{device}: clip {said['state']}, {said['key']} {said['reason']}", flush=True)
    elif new:
        late = datetime.now(UTC) - datetime.fromisoformat(said["onset"]["utc"])
        clock = f"{late.total_seconds():.1f} s ago" if said["onset"]["clock_synchronised"] else "its clock is not set"
        drill = "DRILL " if said["test"] else ""
        print(f"{drill}{device}: {said['label']} {said['phase']}, {said['shots']} shot(s), {clock}", flush=True)


client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"receiver-{user}", protocol=paho.MQTTv5)
client.on_connect, client.on_message = on_connect, on_message
client.username_pw_set(user, Path(password_file).read_text(encoding="utf-8").strip())
if ca_file:
    client.tls_set(ca_file[0])
session = Properties(PacketTypes.CONNECT)
session.SessionExpiryInterval = 7 * 86_400  # the broker keeps for so long what comes while we are away
client.connect(host, int(port), clean_start=False, properties=session)
client.loop_forever()
