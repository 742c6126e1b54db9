"""``kill -9`` at random moments while broker and storage come and go: no alert is lost, none counts twice.

The ledger in the device's own outbox says which alerts were ever made; the receiver's database says which
arrived. At the end every message of every alert has arrived, a repeat is the same message again, and every
clip is in the storage, but for those whose sound a kill took before they were cut, and these are said to be lost.
"""

import json
import random
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge.delivery.evidence import LOST
from tests.integration.receiver import Receiver, wait_until
from tests.running import SITE, RunningDaemon
from tests.servers.mosquitto import Mosquitto
from tests.servers.s3 import S3Server

SEED = 20
CUT_WITHIN_S = 4.5
"""After the onset: the window (1 s), `merge_s`, the post-roll (1 s), and two seconds for a busy machine."""


def _settings(
    mosquitto: Mosquitto, s3: S3Server, bucket: str, keys: Path, model: Path, sound: Path
) -> dict[str, object]:
    (keys / "access").write_text(s3.access_key)
    (keys / "secret").write_text(s3.secret_key)
    return {
        "audio": {"source": "file", "location": str(sound), "ring_s": 15.0},
        "detection": {"model": str(model), "merge_s": 0.5},
        "mqtt": {
            "host": "127.0.0.1",
            "port": mosquitto.port,
            "confirm": "receipt",
            "receipt_timeout_s": 2,
            "reconnect_max_s": 1,
        },
        "storage": {
            "kind": "s3",
            "retry_max_s": 1,
            "s3": {
                "bucket": bucket,
                "endpoint_url": s3.endpoint_url,
                "path_style": True,
                "access_key_file": str(keys / "access"),
                "secret_key_file": str(keys / "secret"),
                "server_side_encryption": "none",
            },
        },
    }


def _survive(
    kills: int, tmp_path: Path, mosquitto: Mosquitto, s3: S3Server, bucket: str, model: Path, burst: Path, quiet: Path
) -> None:
    chance = random.Random(SEED)
    killed_s: list[float] = []
    daemon = RunningDaemon(tmp_path, _settings(mosquitto, s3, bucket, tmp_path, model, burst))
    receiver = Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE, receipts=True).start()
    try:
        for number in range(kills):
            daemon.start()
            # Most of these moments lie after the first shot, where there is something to lose.
            time.sleep(chance.uniform(1.0, 7.0))
            killed_s.append(time.time())
            daemon.kill()
            if chance.random() < 0.3:
                mosquitto.kill()
            if chance.random() < 0.3:
                s3.down()
            if chance.random() < 0.7 or number == kills - 1:
                if mosquitto.pid is None:
                    mosquitto.start()
                s3.start()
        # One quiet life to deliver what the cut ones left.
        daemon.configure({"audio": {"location": str(quiet)}})
        daemon.start()
        wait_until(lambda: _settled(daemon), "outbox empty and clips settled", 120)
        assert daemon.stop() == 0
        _check(daemon, receiver, s3, bucket, killed_s)
    finally:
        daemon.kill()
        receiver.stop()


def _settled(daemon: RunningDaemon) -> bool:
    with daemon.database() as database:
        waiting = database.execute("SELECT count(*) FROM messages").fetchone()[0]
        unsent = database.execute("SELECT count(*) FROM clips WHERE state = 'kept' AND may_leave = 1").fetchone()[0]
        unheard = database.execute(
            "SELECT count(*) FROM alerts WHERE alert_id NOT IN (SELECT alert_id FROM clips)"
        ).fetchone()[0]
        still_open = database.execute("SELECT count(*) FROM alerts WHERE phase IN ('new', 'update')").fetchone()[0]
    return not (waiting or unsent or unheard or still_open)


def _check(daemon: RunningDaemon, receiver: Receiver, s3: S3Server, bucket: str, killed_s: list[float]) -> None:
    arrived: dict[tuple[str, int], dict[str, Any]] = {}
    for topic, payload in receiver.arrived:
        leaf = topic.rpartition("/")[2]
        if leaf not in ("alert", "clip"):
            continue
        message = {"leaf": leaf, **json.loads(payload)}
        known = arrived.setdefault((message["alert_id"], message["seq"]), message)
        assert known == message, "two different messages under one (alert_id, seq)"
    with daemon.database() as database:
        ledger = dict(database.execute("SELECT alert_id, last_seq FROM alerts").fetchall())
        clips = {row[0]: json.loads(row[1]) for row in database.execute("SELECT alert_id, payload FROM clips")}
    assert len(ledger) >= len(killed_s) // 4, "too few alerts for the test to mean anything"
    missing = [(a, s) for a, last in ledger.items() for s in range(last + 1) if (a, s) not in arrived]
    assert not missing
    for alert_id in ledger:
        alerts = [m for (a, _), m in sorted(arrived.items()) if a == alert_id and m["leaf"] == "alert"]
        assert sum(m["phase"] == "new" for m in alerts) == 1
        assert alerts[-1]["phase"] in ("end", "interrupted")
    stored = s3.keys(bucket)
    uploaded = 0
    for alert_id in ledger:
        clip = clips[alert_id]
        told = [m for (a, _), m in sorted(arrived.items()) if a == alert_id and m["leaf"] == "clip"]
        assert (told[-1]["state"], told[-1]["reason"]) == (clip["state"], clip["reason"])
        if clip["state"] == "uploaded":
            uploaded += 1
            assert stored[clip["key"]] == clip["size_bytes"]
            assert clip["key"].startswith(f"{SITE}/")
        else:
            assert (clip["state"], clip["reason"]) == ("failed", LOST)
            onset_s = datetime.fromisoformat(arrived[alert_id, 0]["onset"]["utc"]).timestamp()
            assert any(0 <= at_s - onset_s < CUT_WITHIN_S for at_s in killed_s), "it should have been cut by then"
    print(f"{len(killed_s)} kills, {len(ledger)} alerts, {uploaded} clips uploaded")
    assert uploaded >= max(1, len(killed_s) // 8), "too few clips for the test to mean anything"


@pytest.mark.server
@pytest.mark.data
@pytest.mark.timeout(600)
def test_six_kills_lose_no_alert_and_no_clip(
    tmp_path: Path, mosquitto: Mosquitto, s3: S3Server, bucket: str, model: Path, burst: Path, quiet: Path
) -> None:
    _survive(6, tmp_path, mosquitto, s3, bucket, model, burst, quiet)


@pytest.mark.server
@pytest.mark.data
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_no_alert_and_no_clip(
    tmp_path: Path, mosquitto: Mosquitto, s3: S3Server, bucket: str, model: Path, burst: Path, quiet: Path
) -> None:
    _survive(100, tmp_path, mosquitto, s3, bucket, model, burst, quiet)
