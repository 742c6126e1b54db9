"""The sender without a broker; with one it is in tests/integration."""

import socket
from pathlib import Path

import pytest

from edge.delivery.messages import Response
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def sender(outbox: Outbox) -> Mqtt:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()[1]
    settings = EdgeSettings.model_validate({"mqtt": {"host": "127.0.0.1", "port": nobody}})
    return Mqtt(settings, outbox, lambda *_: Response(id="", ok=False))


@pytest.mark.parametrize("started", [True, False])
def test_a_life_leaves_no_open_file_behind(tmp_path: Path, started: bool) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite3")
    before = open_files()
    for _ in range(3):
        mqtt = sender(outbox)
        if started:
            mqtt.start()
        assert mqtt.stop(5.0)
        assert mqtt.stop(5.0)  # twice does no harm
    assert open_files() == before
    outbox.close()


def test_waking_a_sender_that_has_stopped_touches_no_file_of_others(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite3")
    mqtt = sender(outbox)
    assert mqtt.stop(5.0)
    with (tmp_path / "other").open("wb") as other:  # most likely under the number that was given back
        mqtt.wake()
        mqtt.publish_retained("model", b"{}")
        assert other.tell() == 0
    assert (tmp_path / "other").read_bytes() == b""
    outbox.close()
