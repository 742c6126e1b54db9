"""The broker that the bench and the demo start for themselves."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from edge import bench
from tests.servers import missing


@pytest.mark.server
def test_it_answers_as_soon_as_it_is_there_and_is_gone_afterwards(tmp_path: Path) -> None:
    with bench.private_broker(tmp_path) as port:
        if port is None:
            missing("mosquitto")
        assert port is not None
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=0.5)


def test_one_that_does_not_start_is_said_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "mosquitto"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'bad configuration' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(bench.BrokerError, match=r"mosquitto\.log"), bench.private_broker(tmp_path):
        pytest.fail("there is no broker")
    assert "bad configuration" in (tmp_path / "mosquitto.log").read_text()


def test_without_mosquitto_there_is_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with bench.private_broker(tmp_path) as port:
        assert port is None
