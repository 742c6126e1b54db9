"""The whole daemon as a process, on a real broker: what it does with sound, signals, orders and damage."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import soundfile

from edge.delivery.messages import Command
from tests.integration.receiver import Receiver, wait_until
from tests.running import DEVICE, SITE, RunningDaemon
from tests.servers.mosquitto import Mosquitto
from trainer.synthesis.scene import demo_scene, write_scene

pytestmark = [pytest.mark.server, pytest.mark.data]


def _daemon(folder: Path, mosquitto: Mosquitto, model: Path, sound: Path, **more: Any) -> RunningDaemon:
    settings = {
        "audio": {"source": "file", "location": str(sound)},
        "detection": {"model": str(model)},
        "mqtt": {"host": "127.0.0.1", "port": mosquitto.port},
    }
    return RunningDaemon(folder, {**settings, **more})


def _newest(receiver: Receiver, leaf: str) -> dict[str, Any]:
    """The newest message of a kind; waits for the first."""
    return wait_until(lambda: receiver.payloads(leaf), leaf)[-1]


def _edge(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_demo_scene_gives_an_alert_for_each_event_and_a_clip_for_each_alert(
    tmp_path: Path, mosquitto: Mosquitto, model: Path
) -> None:
    write_scene(tmp_path / "scene.wav")
    _, rate_hz, annotations = demo_scene()
    shots = [a for a in annotations if a.shot]
    daemon = _daemon(tmp_path, mosquitto, model, tmp_path / "scene.wav")
    daemon.configure({"audio": {"pace": "fast"}})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        assert daemon.wait(60) == 0, daemon.said()
        alerts, clips = receiver.payloads("alert"), receiver.payloads("clip")
    ends = sorted((a for a in alerts if a["phase"] == "end"), key=lambda a: a["onset"]["sample"])
    assert [a["shots"] for a in ends] == [len(s.onsets_s) for s in shots]
    for alert, shot in zip(ends, shots, strict=True):
        assert abs(alert["onset"]["sample"] / rate_hz - shot.onset_s) < 0.005
    assert {a["alert_id"] for a in ends} == {c["alert_id"] for c in clips if c["state"] == "uploaded"}
    for clip in clips:
        if clip["state"] == "uploaded":
            stored = daemon.state_dir / "storage" / clip["key"]
            assert stored.stat().st_size == clip["size_bytes"]
            assert clip["onset_s"] == pytest.approx(1.0, abs=1e-4)  # the pre-roll


def test_sigterm_ends_cleanly_within_five_seconds_and_says_offline(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet)
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("health"), "health")
        began_s = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began_s < 5
        wait_until(lambda: _newest(receiver, "availability")["state"] == "offline", "offline")


def test_event_that_is_open_at_sigterm_is_ended_and_delivered(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, burst: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, burst)
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("alert"), "an alert")
        assert daemon.stop() == 0
        wait_until(lambda: _newest(receiver, "alert")["phase"] == "end", "its end")
        wait_until(lambda: receiver.payloads("clip"), "its clip")


def test_event_that_is_open_when_the_sound_stops_is_ended(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, burst: Path
) -> None:
    samples, rate_hz = soundfile.read(burst, dtype="int16")
    daemon = _daemon(tmp_path, mosquitto, model, burst)
    daemon.configure({"audio": {"source": "stdin", "sample_rate_hz": rate_hz, "no_audio_after_s": 1.0}})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start(stdin=subprocess.PIPE)
        daemon.stdin.write(samples[: round(2.5 * rate_hz)].tobytes())  # a shot, and then nothing, not even an end
        daemon.stdin.flush()
        wait_until(lambda: _newest(receiver, "alert")["phase"] == "end", "the end of the event")
        wait_until(lambda: receiver.payloads("clip"), "its clip")
        wait_until(lambda: _newest(receiver, "health")["state"] == "no_audio", "no_audio in health")
        assert daemon.stop() == 0


def test_sigterm_does_not_wait_for_receipts_that_never_come(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, burst: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, burst)
    daemon.configure({"audio": {"pace": "fast"}, "mqtt": {"confirm": "receipt"}})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE, receipts=False) as receiver:
        daemon.start()
        wait_until(lambda: "has ended" in daemon.said() and receiver.payloads("clip"), "the end of the recording")
        began_s = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began_s < 5
    with daemon.database() as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone()[0] > 0  # kept for the next start


def test_sighup_takes_a_new_configuration_and_keeps_the_old_one_where_the_new_is_bad(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet, health={"interval_s": 1})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("health"), "health")
        daemon.configure({"detection": {"hop_s": 0.48}})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: _newest(receiver, "health")["hop_s"] == 0.48, "the new hop")
        daemon.configure({"detection": {"hop_s": 99}})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "configuration:refused" in _newest(receiver, "health")["problems"], "the refusal in health")
        assert _newest(receiver, "health")["hop_s"] == 0.48
        assert "detection.hop_s = 99" in daemon.said()
        assert daemon.stop() == 0


def test_second_daemon_on_the_same_state_folder_is_refused_by_name(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet)
    daemon.start()
    wait_until(lambda: "listening" in daemon.said(), "the first daemon listens")
    second = _edge("run", "--config", daemon.config)
    assert second.returncode == 2
    assert f"in use by process {daemon.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    daemon.stop()
    assert daemon.said().endswith("edge.service: stopped\n"), "nothing is said after the end"


def test_damaged_model_is_refused_and_the_last_good_one_runs(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, burst: Path
) -> None:
    mine = tmp_path / "mine.tflite"
    mine.write_bytes(model.read_bytes())
    daemon = _daemon(tmp_path, mosquitto, mine, burst)
    daemon.configure({"audio": {"pace": "fast"}})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        assert daemon.wait(60) == 0
        heard = len({a["alert_id"] for a in receiver.payloads("alert")})
        assert heard
        damaged = bytearray(mine.read_bytes())
        damaged[len(damaged) // 3] ^= 0x40
        mine.write_bytes(damaged)
        daemon.configure({"audio": {"pace": "real_time"}, "detection": {"refractory_s": 0.5}})
        daemon.start()
        wait_until(
            lambda: any("model:refused" in h["problems"] for h in receiver.payloads("health")), "the problem in health"
        )
        assert daemon.wait(60) == 0
        report = _newest(receiver, "model")
        assert report["state"] == "failed"
        assert str(mine) in report["error"]
        assert len({a["alert_id"] for a in receiver.payloads("alert")}) == 2 * heard


def test_hostile_commands_are_answered_and_counted_and_the_daemon_goes_on(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet, health={"interval_s": 1})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("availability"), "the daemon is there")
        for number, payload in enumerate(
            [
                b"\xff\x00 not JSON",
                b"[" * 5000,
                b"x" * 20_000,
                b'{"id": 7, "command": "status"}',
                b'{"id": "a", "command": "explode", "expires": "2100-01-01T00:00:00Z"}',
                b'{"id": "t", "command": "status", "expires": "2100-01-01T00:00:00Z", "argumnets": {}}',
                b'{"id": "r", "command": "record", "expires": "2100-01-01T00:00:00Z", "arguments": {"duration_s": 5}}',
            ],
            start=1,
        ):
            receiver.command(payload, device=DEVICE, expiry_s=60)
            wait_until(lambda n=number: len(receiver.payloads("response")) >= n, f"answer {number}")
        answers = receiver.payloads("response")
        assert not any(answer["ok"] for answer in answers)
        assert all(answer["error"] for answer in answers)
        wait_until(lambda: _newest(receiver, "health")["commands_rejected"] == 7, "all counted")
        soon = datetime.now(UTC) + timedelta(minutes=1)
        good = Command(id="good", command="status", expires=soon).model_dump_json().encode()
        receiver.command(good, device=DEVICE, expiry_s=60)
        answer = wait_until(lambda: [a for a in receiver.payloads("response") if a["id"] == "good"], "status")[0]
        assert answer["ok"], answer
        assert answer["result"]["windows"] > 0
        assert daemon.stop() == 0


def test_drill_goes_through_the_running_daemon_and_through_none(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet)
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("availability"), "the daemon is there")
        through = _edge("drill", "--config", daemon.config)
        assert through.returncode == 0, through.stderr
        assert "by the running daemon" in through.stdout
        assert daemon.stop() == 0
        alone = _edge("drill", "--config", daemon.config)
        assert alone.returncode == 0, alone.stderr
        assert "without a daemon" in alone.stdout
        alerts = receiver.payloads("alert")
    assert [a["phase"] for a in alerts] == ["new", "end", "new", "end"]
    assert all(a["test"] for a in alerts)


def test_drill_by_command_has_a_test_clip_and_record_by_command_passes_the_gate(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, quiet: Path
) -> None:
    daemon = _daemon(tmp_path, mosquitto, model, quiet, recording={"remote": True, "max_s": 5.0})
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        daemon.start()
        wait_until(lambda: receiver.payloads("health"), "the daemon listens")
        soon = datetime.now(UTC) + timedelta(minutes=1)
        drill = Command(id="d", command="drill", expires=soon)
        record = Command(id="r", command="record", expires=soon, arguments={"duration_s": 2.0})
        for command in (drill, record):
            receiver.command(command.model_dump_json().encode(), device=DEVICE, expiry_s=60)
        wait_until(lambda: len([c for c in receiver.payloads("clip") if c["state"] == "uploaded"]) == 2, "both clips")
        clips = {c["alert_id"].split("-")[0]: c for c in receiver.payloads("clip")}
        assert clips["drill"]["test"]
        assert clips["recording"]["duration_s"] == pytest.approx(2.0, abs=0.01)
        assert daemon.stop() == 0


def test_broker_that_is_down_at_boot_gets_everything_once_it_is_there(
    tmp_path: Path, mosquitto: Mosquitto, model: Path, burst: Path
) -> None:
    mosquitto.kill()
    daemon = _daemon(tmp_path, mosquitto, model, burst)
    daemon.configure({"mqtt": {"reconnect_max_s": 1}})
    daemon.start()
    wait_until(lambda: "alert" in daemon.said(), "an alert without a broker")
    mosquitto.start()
    with Receiver(mosquitto.port, tmp_path / "received.sqlite3", site=SITE) as receiver:
        wait_until(lambda: any(a["phase"] == "new" for a in receiver.payloads("alert")), "the alert")
        assert daemon.wait(60) == 0


def test_configuration_mistake_is_one_message_and_exit_code_two(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text("mqtt:\n  hots: broker\n")
    result = _edge("run", "--config", config)
    assert result.returncode == 2
    assert f"{config}, line 2: unknown key mqtt.hots" in result.stderr
    assert "mqtt.host" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["empty.wav", "noise.wav", "cut.flac"])
def test_recording_that_cannot_be_read_is_a_clear_error(tmp_path: Path, model: Path, data: Path, name: str) -> None:
    real = next((data / "audio" / "sesa" / "test" / "gunshot").glob("*.flac")).read_bytes()
    content = {"empty.wav": b"", "noise.wav": bytes(range(256)) * 40, "cut.flac": real[: len(real) // 2]}[name]
    (tmp_path / name).write_bytes(content)
    result = _edge("replay", "--model", model, tmp_path / name)
    assert result.returncode == 1
    assert name in result.stderr
    assert "Traceback" not in result.stderr
    for line in result.stdout.splitlines():
        json.loads(line)
