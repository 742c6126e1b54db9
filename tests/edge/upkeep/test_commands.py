"""Commands are checked, carried out once, and always answered; whatever a sender does, the daemon goes on."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.delivery.messages import Moment
from edge.delivery.outbox import Outbox
from edge.detection.marks import MarkError
from edge.settings import EdgeSettings
from edge.upkeep import commands as commands_module
from edge.upkeep.commands import Actions, Commands
from tests.edge.delivery.examples import NOON, moment


class Device:
    """What commands act on: it writes down what it was asked."""

    def __init__(self, folder: Path, recording: dict[str, Any] | None = None) -> None:
        self.asked: list[str] = []
        self.now: Moment = moment()
        self.outbox = Outbox.open(folder / "outbox.sqlite3")
        self._settings = EdgeSettings.model_validate({"recording": recording or {}})
        self.commands = self.restarted()

    def restarted(self) -> Commands:
        actions = Actions(
            status=lambda: self._note("status"),
            drill=lambda: self._note("drill"),
            record=lambda duration_s: self._note(f"record {duration_s:g}"),
            restart=lambda: self._note("restart"),
            upload=self._upload,
            mark=self._mark,
            update=lambda: self._note("update"),
        )
        return Commands(self._settings, self.outbox, lambda: self.now, actions)

    def _upload(self, alert_id: str) -> str:
        self._note(f"upload {alert_id}")
        return "" if alert_id == "known" else f"the clip of alert {alert_id} is withheld: speech"

    def _mark(self, alert_id: str, verdict: str) -> dict[str, Any]:
        if alert_id != "known":
            raise MarkError(f"no embedding of alert {alert_id} is kept")
        return self._note(f"mark {alert_id} {verdict}")

    def _note(self, what: str) -> dict[str, Any]:
        self.asked.append(what)
        return {"done": what}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.outbox.close()


def command(**changes: Any) -> bytes:
    body = {"id": "c1", "command": "status", "expires": (NOON + timedelta(minutes=1)).isoformat(), "arguments": {}}
    return json.dumps(body | changes).encode()


@pytest.mark.parametrize(
    ("name", "arguments", "asked"),
    [
        ("status", {}, "status"),
        ("drill", {}, "drill"),
        ("restart", {}, "restart"),
        ("upload", {"alert_id": "known"}, "upload known"),
        ("mark", {"alert_id": "known", "verdict": "false"}, "mark known false"),
        ("mark", {"alert_id": "known", "verdict": "shot"}, "mark known shot"),
    ],
)
def test_a_command_is_carried_out_and_answered(
    device: Device, name: str, arguments: dict[str, Any], asked: str
) -> None:
    response = device.commands.handle(command(command=name, arguments=arguments))
    assert (response.id, response.command, response.ok, response.error) == ("c1", name, True, "")
    assert device.asked == [asked]
    assert device.commands.rejected == 0


def test_a_repeat_gets_the_same_answer_and_is_not_carried_out_again_even_after_a_restart(device: Device) -> None:
    first = device.commands.handle(command(command="restart"))
    assert device.commands.handle(command(command="restart")) == first
    assert device.restarted().handle(command(command="restart")) == first
    assert device.asked == ["restart"]


def test_a_command_that_a_crash_cut_off_is_not_begun_again(device: Device) -> None:
    device.outbox.begin_command("c1")
    response = device.commands.handle(command(command="restart"))
    assert not response.ok
    assert "was begun before" in response.error
    assert device.asked == []


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "not json": b"restart",
    "not utf-8": b"\xff\xfe\x00{",
    "nul": b"\x00" * 100,
    "number": b"7",
    "null": b"null",
    "list": b"[]",
    "open": b'{"id": "c1", "command": "restart"',
    "deep list": b"[" * 8000,
    "deep object": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "deep arguments": command(arguments=json.loads("[" * 150 + "]" * 150)),
    "unknown": command(command="format"),
    "no id": json.dumps({"command": "restart", "expires": NOON.isoformat()}).encode(),
    "id is a list": command(id=["c1"]),
    "id is a path": command(id="../../etc/passwd"),
    "id is long": command(id="a" * 65),
    "extra key": command(sudo=True),
    "expires is text": command(expires="soon"),
    "expires has no offset": command(expires="2026-05-01T12:00:30"),
    "expires is huge": command(expires=1e300),
    "arguments are a list": command(arguments=[1]),
    "arguments are unknown": command(command="restart", arguments={"now": True}),
    "wrong schema": command(schema_version=2),
    "upload without alert": command(command="upload"),
    "upload of a path": command(command="upload", arguments={"alert_id": "../x"}),
    "upload of a number": command(command="upload", arguments={"alert_id": 7}),
    "upload of an unknown alert": command(command="upload", arguments={"alert_id": "unknown"}),
    "oversized": command(arguments={"x": "y" * 17_000}),
    "expired": command(expires=(NOON - timedelta(seconds=1)).isoformat()),
    "good for ever": command(expires=(NOON + timedelta(days=2)).isoformat()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_command_is_refused_counted_and_does_nothing(device: Device, name: str) -> None:
    response = device.commands.handle(HOSTILE[name])
    assert not response.ok
    assert response.error.startswith("refused: ")
    assert len(response.error) < 600
    assert device.commands.rejected == 1
    assert [asked for asked in device.asked if asked != "upload unknown"] == []
    assert device.commands.handle(command(id="after")).ok


@pytest.mark.parametrize(
    "name", ["unknown", "extra key", "expires is text", "expired", "wrong schema", "deep arguments"]
)
def test_a_refusal_carries_the_id_where_one_can_be_read(device: Device, name: str) -> None:
    assert device.commands.handle(HOSTILE[name]).id == "c1"


def test_a_refused_command_does_not_use_up_its_id(device: Device) -> None:
    device.commands.handle(HOSTILE["unknown"])
    assert device.commands.handle(command()).ok


def test_a_retained_command_is_refused(device: Device) -> None:
    response = device.commands.handle(command(command="restart"), retained=True)
    assert (response.id, response.ok) == ("c1", False)
    assert device.asked == []


@given(
    payload=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "command", "expires", "a"]), inner)
            ),
            max_leaves=8,
        ).map(lambda tree: json.dumps(tree).encode()),
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_payload_brings_it_down(device: Device, payload: bytes) -> None:
    assert not device.commands.handle(payload).ok
    assert device.asked == []


def test_without_a_set_clock_only_the_broker_can_say_that_a_command_is_not_late(device: Device) -> None:
    device.now = moment(clock_synchronised=False, utc=NOON.replace(year=1970))
    response = device.commands.handle(command())
    assert "clock is not set" in response.error
    assert device.commands.handle(command(), message_expiry_s=30).ok


def test_remote_recording_is_off_until_the_configuration_allows_it(device: Device) -> None:
    response = device.commands.handle(command(command="record", arguments={"duration_s": 5}))
    assert "recording.remote" in response.error
    assert device.asked == []


@pytest.mark.parametrize("duration_s", [0, -1, 31, 1e9, "5", None, True])
def test_a_recording_has_a_length_within_its_limit(tmp_path: Path, duration_s: object) -> None:
    device = Device(tmp_path, {"remote": True, "max_s": 30})
    assert not device.commands.handle(command(command="record", arguments={"duration_s": duration_s})).ok
    assert device.asked == []


def test_remote_recording_has_a_daily_limit_that_a_restart_does_not_lift(tmp_path: Path) -> None:
    device = Device(tmp_path, {"remote": True, "max_s": 30, "per_day_s": 50})

    def record(command_id: str) -> bool:
        payload = command(id=command_id, command="record", arguments={"duration_s": 30})
        return device.restarted().handle(payload).ok

    assert record("r1")
    assert not record("r2")
    device.now = moment(utc=NOON.replace(hour=0) + timedelta(days=1))
    payload = command(
        id="r3",
        command="record",
        arguments={"duration_s": 30},
        expires=(device.now.utc + timedelta(minutes=1)).isoformat(),
    )
    assert device.commands.handle(payload).ok
    assert device.asked == ["record 30", "record 30"]


def test_a_clip_that_will_not_be_uploaded_is_refused_with_its_state(device: Device) -> None:
    response = device.commands.handle(command(command="upload", arguments={"alert_id": "other"}))
    assert (response.ok, response.error) == (False, "refused: the clip of alert other is withheld: speech")


def test_a_flood_of_commands_is_refused(device: Device) -> None:
    answers = [device.commands.handle(command(id=f"c{number}")).ok for number in range(60)]
    assert answers.count(True) == commands_module.COMMANDS_PER_MINUTE


def test_an_action_that_fails_is_answered_not_raised(device: Device) -> None:
    def fail() -> dict[str, Any]:
        raise OSError("no such thing")

    actions = Actions(
        status=fail,
        drill=fail,
        record=lambda _: fail(),
        restart=fail,
        upload=lambda _: str(fail()),
        mark=lambda *_: fail(),
        update=fail,
    )
    commands = Commands(EdgeSettings(), device.outbox, moment, actions)
    response = commands.handle(command(command="drill"))
    assert (response.ok, response.error) == (False, "failed: OSError: no such thing")


def test_a_mark_that_cannot_be_taken_is_refused_with_its_reason(device: Device) -> None:
    answer = device.commands.handle(command(command="mark", arguments={"alert_id": "old", "verdict": "false"}))
    assert not answer.ok and "no embedding of alert old" in answer.error
    answer = device.commands.handle(command(id="c2", command="mark", arguments={"alert_id": "known", "verdict": "cat"}))
    assert not answer.ok and "verdict" in answer.error
    assert device.asked == []
