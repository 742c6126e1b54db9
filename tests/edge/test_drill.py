"""A drill without a broker; tests/integration/test_daemon.py and test_mqtt.py have those with one."""

import sqlite3
from pathlib import Path

import pytest

from edge.delivery.outbox import Outbox
from edge.drill import DrillFailed, run_drill
from edge.settings import EdgeSettings
from tests.edge.delivery.examples import alert
from tests.servers.mosquitto import free_port


def test_a_drill_behind_a_long_queue_is_not_taken_for_delivered(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    outbox = Outbox.open(path)
    outbox.put_alert(alert())
    outbox.close()
    with sqlite3.connect(path) as db:  # weeks without a broker
        rows = ((f"a{number}", b"{}") for number in range(2, 1500))
        db.executemany("INSERT INTO messages (rank, leaf, alert_id, seq, payload) VALUES (0, 'alert', ?, 0, ?)", rows)
    db.close()
    settings = EdgeSettings(site="forest", device="oak", state_dir=tmp_path, mqtt={"port": free_port()})
    with pytest.raises(DrillFailed, match="is not delivered after"):
        run_drill(settings, 0.3)


def test_a_drill_leaves_the_outbox_for_the_daemon_to_make(tmp_path: Path) -> None:
    settings = EdgeSettings(site="forest", device="oak", state_dir=tmp_path, mqtt={"port": free_port()})
    with pytest.raises(DrillFailed, match="start the daemon once"):
        run_drill(settings, 0.3)
    assert list(tmp_path.iterdir()) == []
