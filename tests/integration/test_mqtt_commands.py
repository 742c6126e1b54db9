"""Commands through a real Mosquitto, kind and hostile ones."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.delivery.outbox import Outbox
from edge.upkeep.commands import Actions, Commands
from tests.edge.delivery.examples import alert, moment
from tests.integration.receiver import Receiver, wait_until
from tests.integration.sender import sending, settings
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server


@pytest.fixture
def commands(mosquitto: Mosquitto, outbox: Outbox) -> Commands:
    def upload(alert_id: str) -> bool:
        return False

    def note(*_: Any) -> dict[str, Any]:
        return {"pid": os.getpid()}

    actions = Actions(status=note, drill=note, record=note, restart=note, upload=upload, update=note, mark=note)
    return Commands(settings(mosquitto.port), outbox, lambda: moment(utc=datetime.now(UTC)), actions)


@pytest.fixture
def hub(mosquitto: Mosquitto, outbox: Outbox, commands: Commands, tmp_path: Path) -> Iterator[Receiver]:
    """A receiver beside a running device."""
    with (
        Receiver(mosquitto.port, tmp_path / "hub") as receiver,
        sending(outbox, settings(mosquitto.port), commands.handle) as mqtt,
    ):
        wait_until(lambda: mqtt.connected, "connected")
        yield receiver
        assert mqtt.connected
        assert mqtt.problems == []


def command(command_id: str = "c1", **changes: Any) -> bytes:
    body = {"id": command_id, "command": "status", "expires": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    return json.dumps(body | changes).encode()


def test_the_answer_carries_the_correlation_data(hub: Receiver) -> None:
    hub.command(command(), correlation=b"\x00\xffmine")
    (answer,) = wait_until(lambda: hub.payloads("response"), "the answer")
    assert (answer["id"], answer["ok"], answer["result"]) == ("c1", True, {"pid": os.getpid()})
    topics = [topic for topic, _ in hub.arrived]
    properties = hub.properties[topics.index("ecosight/v1/forest/oak/response")]
    assert getattr(properties, "CorrelationData", None) == b"\x00\xffmine"


def test_hostile_messages_are_answered_counted_and_harmless(hub: Receiver, outbox: Outbox, commands: Commands) -> None:
    late = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    hostile = [
        b"",
        b"not json",
        b"[" * 10_000,
        b"\xff" * 50,
        command("wrong-type", arguments=[]),
        command("unknown", command="format"),
        command("expired", expires=late),
        command("oversized", arguments={"x": "y" * 20_000}),
        command("typo", argument={}),
    ]
    for payload in hostile:
        hub.command(payload, correlation=b"c")
    wait_until(lambda: len(hub.payloads("response")) == len(hostile), "an answer for each")
    assert not any(answer["ok"] for answer in hub.payloads("response"))
    assert [answer["id"] for answer in hub.payloads("response")] == [
        *[""] * 4,
        "wrong-type",
        "unknown",
        "expired",
        "",
        "typo",
    ]
    assert commands.rejected == len(hostile)
    hub.command(command("after"))
    wait_until(lambda: hub.payloads("response")[-1]["id"] == "after", "the daemon is unharmed")
    assert hub.payloads("response")[-1]["ok"]


def test_what_is_larger_than_we_take_never_reaches_us(hub: Receiver, commands: Commands) -> None:
    hub.command(command("huge", arguments={"x": "y" * 40_000}))
    hub.command(command("after"))
    wait_until(lambda: hub.payloads("response"), "an answer")
    assert [answer["id"] for answer in hub.payloads("response")] == ["after"]


def test_nonsense_without_id_is_answered_without_id(hub: Receiver, commands: Commands) -> None:
    hub.command(b"nonsense")
    hub.command(command("after"))
    wait_until(lambda: len(hub.payloads("response")) == 2, "the answers")
    assert [(answer["id"], answer["ok"]) for answer in hub.payloads("response")] == [("", False), ("after", True)]
    assert commands.rejected == 1


def test_a_retained_command_is_refused_by_name(hub: Receiver, commands: Commands) -> None:
    hub.command(command("kept", command="restart"), retain=True)
    (answer,) = wait_until(lambda: hub.payloads("response"), "the answer")
    assert (answer["id"], answer["ok"]) == ("kept", False)
    assert "retained" in answer["error"]


def test_a_command_that_waited_for_a_day_is_refused(
    mosquitto: Mosquitto, outbox: Outbox, commands: Commands, tmp_path: Path
) -> None:
    with sending(outbox, settings(mosquitto.port), commands.handle) as mqtt:
        wait_until(lambda: mqtt.connected, "connected")  # the broker knows the device now, and queues for it
    with Receiver(mosquitto.port, tmp_path / "hub") as hub:
        hub.command(command("late", command="restart", expires=(datetime.now(UTC) - timedelta(days=1)).isoformat()))
        hub.command(command("dropped-by-the-broker"), expiry_s=1).wait_for_publish(5)
        hub.command(command("fresh"), expiry_s=60).wait_for_publish(5)
        time.sleep(2.1)  # Mosquitto counts whole seconds
        with sending(outbox, settings(mosquitto.port), commands.handle):
            wait_until(lambda: len(hub.payloads("response")) >= 2, "the answers")
    answers = {answer["id"]: answer["ok"] for answer in hub.payloads("response")}
    assert answers == {"late": False, "fresh": True}


def test_an_alert_is_not_held_up_by_a_flood_of_commands(hub: Receiver, outbox: Outbox, commands: Commands) -> None:
    for number in range(300):
        hub.command(command(f"c{number}"))
    outbox.put_alert(alert())
    wait_until(lambda: hub.committed(), "the alert")
    wait_until(lambda: len(hub.payloads("response")) == 300, "every command is answered")
    assert sum(answer["ok"] for answer in hub.payloads("response")) == 30
