"""A daemon that cannot be whole is none: what fails while it is put together leaves nothing behind that listens."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from edge import heap
from edge.audio.system_time import SystemTime
from edge.daemon import CORRECTED_AT_ONCE, Daemon
from edge.delivery.storage import Storage
from edge.reporting import problems
from edge.service import _reload
from edge.settings import EdgeSettings
from edge.upkeep.watchdog import Watchdog
from tests.edge.delivery.clip_parts import until
from tests.edge.delivery.examples import alert, moment
from tests.running import RunningDaemon, end_all
from tests.servers import missing

RATE_HZ = 16_000


def recording(folder: Path) -> Path:
    """A minute of quiet noise."""
    path = folder / "quiet.wav"
    soundfile.write(path, 0.001 * np.random.default_rng(1).standard_normal(60 * RATE_HZ), RATE_HZ)
    return path


def daemon_in(folder: Path) -> Daemon:
    settings = EdgeSettings.model_validate(
        {
            "state_dir": str(folder),
            "audio": {"source": "file", "location": str(recording(folder))},
            "clips": {"free_floor_bytes": 0},
            "mqtt": {"host": "127.0.0.1", "port": 9},
        }
    )
    return Daemon(settings, Watchdog({}), lambda: None, time.monotonic())


def fails(*arguments: object, **named: object) -> None:
    raise RuntimeError("can't start new thread")


def nothing_runs_but(before: set[threading.Thread]) -> bool:
    return set(threading.enumerate()) <= before


def test_what_cannot_be_built_stops_the_sound_that_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    monkeypatch.setattr(Storage, "__init__", fails)
    with pytest.raises(RuntimeError, match="new thread"):
        daemon_in(tmp_path)
    until(lambda: nothing_runs_but(before), 5, "the end of the capture")


def test_a_stage_that_cannot_be_started_stops_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    daemon = daemon_in(tmp_path)
    monkeypatch.setattr(Storage, "start", fails)
    with pytest.raises(RuntimeError, match="new thread"):
        daemon.start()
    until(lambda: nothing_runs_but(before), 5, "the end of all stages")


def test_months_of_alerts_get_the_right_time_bit_by_bit_so_that_the_watchdog_is_not_kept_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SystemTime, "synchronised", lambda self: True)
    daemon = daemon_in(tmp_path)
    boot_id, count = daemon.clock.boot_id, 2 * CORRECTED_AT_ONCE + 7
    for number in range(count):
        unset = moment(boot_id=boot_id, clock_synchronised=False)
        daemon.outbox.put_alert(alert(f"a{number}", phase="end", onset=unset))
    left = []
    try:
        daemon.start()
        for _ in range(3):
            left.append(len(daemon.outbox.uncorrected(boot_id)))
            daemon.tick()
    finally:
        daemon.stop()
    assert left == [CORRECTED_AT_ONCE + 7, 7, 0]


@pytest.mark.parametrize("where", ["__init__", "start"])
def test_where_a_new_configuration_runs_into_a_bug_the_old_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    config = tmp_path / "edge.yaml"
    right = getattr(Storage, where)

    def fails_for_the_new(self: Storage, *arguments: Any) -> None:
        whole = arguments[0] if arguments else self._settings
        if whole.device == "birch":
            fails()
        right(self, *arguments)

    monkeypatch.setattr(Storage, where, fails_for_the_new)
    daemon = daemon_in(tmp_path)
    tree = {**daemon.settings.model_dump(mode="json", exclude_unset=True), "device": "birch"}
    config.write_text(yaml.safe_dump(tree))
    signals: Any = SimpleNamespace(wake=lambda: None)
    try:
        daemon.start()
        daemon = _reload(daemon, config, signals)
        assert daemon.settings.device == "device"
        assert "configuration:refused" in problems(daemon)
        until(lambda: daemon.detector.windows, 10, "a window")
    finally:
        daemon.stop()
        heap.unsettle()


TICK_FAILS = """
from edge.cli import app
from edge.daemon import Daemon
def tick(self): raise RuntimeError("a bug")
Daemon.tick = tick
app()
"""


def test_a_failure_in_the_main_loop_ends_the_process_in_good_order_and_with_an_error(tmp_path: Path) -> None:
    running = RunningDaemon(
        tmp_path,
        {
            "audio": {"source": "file", "location": str(recording(tmp_path)), "ring_s": 15.0},
            "mqtt": {"host": "127.0.0.1", "port": 9},
        },
    )
    running.program = ("-c", TICK_FAILS)  # type: ignore[misc]
    try:
        running.start()
        until(lambda: not running.running, 60, "the end of the process")
        assert running._process is not None and running._process.returncode == 1, running.said()
        assert "a bug" in running.said()
        assert (running.state_dir / "outbox.sqlite3").exists()
        assert not (running.state_dir / "outbox.sqlite3-wal").exists(), "the outbox was not closed"
    finally:
        end_all()


@pytest.mark.server
@pytest.mark.parametrize("harm", ["mount -o remount,ro {card}", "dd if=/dev/zero of={card}/others bs=4k 2>/dev/null"])
def test_a_card_that_became_read_only_or_full_does_not_keep_the_daemon_from_starting_again(
    tmp_path: Path, harm: str
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        missing("unshare with user namespaces")
    card = tmp_path / "card"
    card.mkdir()
    running = RunningDaemon(
        tmp_path,
        {
            "state_dir": str(card),
            "audio": {"source": "file", "location": str(recording(tmp_path)), "ring_s": 15.0},
            "mqtt": {"host": "127.0.0.1", "port": 9},
        },
    )
    daemon = f"{sys.executable} -m edge run --config {running.config} 2>&1 & sleep 0.2; until grep -q 'first window'"
    once = daemon + " {log} || ! kill -0 $!; do sleep 0.1; done; kill $!; wait $!"
    logs = [tmp_path / "before.log", tmp_path / "after.log"]
    first, second = (f"( {once.format(log=log)} ) > {log}" for log in logs)
    mount = f"mount -t tmpfs -o size=20m tmpfs {card}; {first}; {harm.format(card=card)}; {second}"
    subprocess.run(["unshare", "-rm", "sh", "-c", mount], timeout=120, check=False)
    assert "first window scored" in logs[0].read_text()
    said = logs[1].read_text()
    assert "first window scored" in said and "going on from memory" in said, said
