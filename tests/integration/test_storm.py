"""A storm of alerts over a real broker: collapsed visibly, and nothing of it silent."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.integration.receiver import Receiver
from tests.running import SITE, RunningDaemon
from tests.servers.mosquitto import Mosquitto
from trainer.synthesis.scene import ambience, demo_scene

pytestmark = [pytest.mark.server, pytest.mark.data]

STORM_ALERTS = 2
ONSETS_S = [5.0 * number for number in range(1, 11)]


def _shots(path: Path) -> int:
    """Ten shots, each an event of its own; returns the sample rate."""
    scene, rate_hz, annotations = demo_scene()
    onset = round(next(a for a in annotations if a.shot).onset_s * rate_hz)
    shot = scene[onset : onset + 2 * rate_hz]
    sound = ambience(ONSETS_S[-1] + 5.0, rate_hz, np.random.default_rng(11)).astype(np.float32)
    for onset_s in ONSETS_S:
        at = round(onset_s * rate_hz)
        sound[at : at + len(shot)] += shot
    soundfile.write(path, sound.clip(-1, 1), rate_hz, subtype="PCM_16")
    return rate_hz


def test_a_storm_arrives_as_one_alert_with_count_first_and_last_and_no_shot_is_silent(
    tmp_path: Path, mosquitto: Mosquitto, model: Path
) -> None:
    rate_hz = _shots(tmp_path / "storm.wav")
    daemon = RunningDaemon(
        tmp_path,
        {
            # The storm is one event, open to the end: the ring must still hold its beginning then.
            "audio": {"source": "file", "location": str(tmp_path / "storm.wav"), "pace": "fast", "ring_s": 16.0},
            "detection": {
                "model": str(model),
                "merge_s": 1.0,
                "refractory_s": 0.5,
                "storm_alerts": STORM_ALERTS,
                "storm_s": 60.0,
            },
            "mqtt": {"host": "127.0.0.1", "port": mosquitto.port},
        },
    )
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        assert daemon.wait(60) == 0, daemon.said()
        alerts, clips = receiver.payloads("alert"), receiver.payloads("clip")

    alone = [a for a in alerts if a["collapsed"] is None]
    assert [(a["phase"], round(a["onset"]["sample"] / rate_hz, 1)) for a in alone] == [
        (phase, onset_s) for onset_s in ONSETS_S[:STORM_ALERTS] for phase in ("new", "end")
    ]
    storm = [a for a in alerts if a["collapsed"] is not None]
    assert len({a["alert_id"] for a in storm}) == 1
    assert storm[0]["phase"] == "new", "the first of the storm is told at once"
    assert storm[0]["collapsed"]["count"] == 1
    assert storm[-1]["phase"] == "end"
    counts = [a["collapsed"]["count"] for a in storm]
    assert counts == sorted(counts)

    whole = storm[-1]["collapsed"]
    assert whole["count"] == len(ONSETS_S) - STORM_ALERTS
    assert whole["first"]["sample"] / rate_hz == pytest.approx(ONSETS_S[STORM_ALERTS], abs=0.005)
    assert whole["last"]["sample"] / rate_hz == pytest.approx(ONSETS_S[-1], abs=0.005)
    assert storm[-1]["onset"] == whole["first"]
    assert whole["first"]["utc"] < whole["last"]["utc"]
    assert sum(a["shots"] for a in alerts if a["phase"] == "end") == len(ONSETS_S), "every shot is counted"
    assert {c["alert_id"] for c in clips if c["state"] == "uploaded"} == {a["alert_id"] for a in alerts}
