"""Hints to devices and what they say, over a real broker."""

import json
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.delivery.messages import ModelHint, ModelName, ModelReport, Topics
from edge.updates.release import draw
from tests.servers.mosquitto import ADMIN_PASSWORD, Mosquitto
from tests.trainer.release.making import Releases, told

pytestmark = pytest.mark.server


def with_broker(releases: Releases, broker: Mosquitto) -> Releases:
    releases.set(sites="[forest, hill]", broker=f"{{host: 127.0.0.1, port: {broker.port}}}")
    return releases


def say(broker: Mosquitto, topic: str, payload: bytes) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def report(site: str, device: str, version: str, **changes: object) -> tuple[str, bytes]:
    found = ModelReport(installed=ModelName(name="gun-shot", version=version), channel="stable")
    return Topics(site, device).model, found.model_copy(update=changes).to_json()


def retained(broker: Mosquitto, topic: str) -> bytes | None:
    from paho.mqtt import subscribe

    message = subscribe.simple(topic, hostname="127.0.0.1", port=broker.port, protocol=paho.MQTTv5, qos=1)
    assert message.retain
    return bytes(message.payload)


def test_every_step_leaves_a_hint_for_each_site(with_one: Releases, mosquitto: Mosquitto) -> None:
    with_broker(with_one, mosquitto)
    assert "hint sent to forest, hill" in with_one.done("pause")
    for site in ("forest", "hill"):
        payload = retained(mosquitto, Topics(site, "any").hint("stable"))
        assert ModelHint.model_validate_json(payload or b"").channel == "stable"
    assert "hint sent" in with_one.done("hint", "--channel", "beta")
    assert retained(mosquitto, Topics("hill", "any").hint("beta"))


def test_a_broker_that_is_away_is_a_warning_and_no_failure(with_one: Releases, mosquitto: Mosquitto) -> None:
    with_broker(with_one, mosquitto)
    mosquitto.stop()
    said = " ".join(with_one.done("pause").split())
    assert "no hint sent" in said
    assert "devices look by themselves" in said
    assert with_one.run("hint").exit_code == 1
    assert "devices cannot be heard" in " ".join(with_one.done("status", "--seconds", 0.2).split())


def test_status_tells_who_runs_what_and_how_far_the_release_has_come(
    with_one: Releases, mosquitto: Mosquitto, models: list[Path]
) -> None:
    with_broker(with_one, mosquitto)
    with_one.done("publish", models[1], "--fraction", 0.5, *with_one.keys("alice", "bob"))
    target = "models/gun-shot-2.tflite"
    names = [f"oak{number}" for number in range(8)]
    meant = [name for name in names if draw("forest", name, target) < 0.5]
    for name in names:
        say(mosquitto, *report("forest", name, "2" if name in meant[:-1] else "1"))
    failed = {
        "state": "failed",
        "error": "golden [bold]vectors\x1b[2J are off",
        "program_error": "pip was ill",
        "checked_at": datetime.now(UTC),
    }
    say(mosquitto, *report("forest", meant[-1], "1", offered=ModelName(name="gun-shot", version="2"), **failed))
    say(mosquitto, Topics("forest", "junk").model, b"not json")
    document = json.loads(with_one.run("status", "--json", "--seconds", 1).stdout)
    (rollout,) = document["rollouts"]
    assert (rollout["wanted"], rollout["fraction"], rollout["number"]) == (target, 0.5, 2)
    assert (rollout["devices"], rollout["meant"], rollout["have"]) == (8, len(meant), len(meant) - 1)
    assert [one["device"] for one in document["devices"]] == sorted(names)
    assert document["floor"] == {"model": 0, "program": 0, "overlay": 0}
    assert set(document["expires"]) == {"root", "targets", "models", "rollout", "snapshot", "timestamp"}
    table = with_one.done("status", "--seconds", 1)
    assert f"{len(meant) - 1} of {len(meant)} meant, 8 heard" in table
    assert "[bold]" in table
    assert "program: pip was ill" in " ".join(table.split())
    assert "\x1b[2J" not in table


def test_status_tells_what_waits(with_one: Releases, models: list[Path]) -> None:
    with_one.run("publish", models[1], *with_one.keys("alice"))
    assert "waits for signatures: publish gun-shot 2" in with_one.done("status")
    waiting = json.loads(with_one.run("status", "--json").stdout)["waiting"]
    assert "models wants 1 more of: bob" in " ".join(*waiting.values())


def test_a_guarded_broker_lets_a_maintainer_hint_and_listen_and_no_receiver_hint(
    with_one: Releases, guarded_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    password = with_one.folder / "mqtt-password"
    password.write_text("pässword with spaces\n")

    def broker(user: str) -> None:
        fields = f"port: {guarded_mosquitto.tls_port}, tls: true, ca_file: {guarded_mosquitto_ca(guarded_mosquitto)}"
        with_one.set(
            sites="[forest]", broker=f"{{host: localhost, {fields}, username: {user}, password_file: mqtt-password}}"
        )

    broker("hub")
    refused = with_one.run("hint")
    assert refused.exit_code == 1
    assert "refused the hint" in told(refused)
    guarded_mosquitto.add_maintainer("maintainer")
    broker("maintainer")
    assert "hint sent to forest" in with_one.done("hint")
    assert "cannot be heard" not in with_one.done("status", "--seconds", 0.5)
    password.write_text(ADMIN_PASSWORD)
    wrong = with_one.run("hint")
    assert wrong.exit_code == 1
    assert "refused the connection" in told(wrong)
    assert ADMIN_PASSWORD not in told(wrong)


def guarded_mosquitto_ca(broker: Mosquitto) -> Path:
    line = next(line for line in broker.configuration.read_text().splitlines() if line.startswith("cafile"))
    return Path(line.split()[1])
