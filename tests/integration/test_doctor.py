"""The doctor against a real S3 server and a real microphone, well and ill, and the whole command."""

import datetime as dt
import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.settings import EdgeSettings
from edge.upkeep.doctor import checks
from edge.upkeep.doctor.broker import Broker
from edge.upkeep.doctor.examination import Result, examine
from tests.servers.mosquitto import Mosquitto
from tests.servers.pulse import PulseServer
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server


def states(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.state for name, result in results.items()}


def storage_results(settings: EdgeSettings) -> dict[str, Result]:
    plan = [check for check in checks(settings, Broker(settings, lambda: True)) if check.name.startswith("storage")]
    return {result.name.removeprefix("storage: "): result for result in examine(plan)}


@pytest.fixture
def keys(tmp_path: Path, s3: S3Server) -> dict[str, Any]:
    (tmp_path / "access").write_text(s3.access_key)
    (tmp_path / "secret").write_text(s3.secret_key)
    return {"access_key_file": tmp_path / "access", "secret_key_file": tmp_path / "secret"}


def in_bucket(s3: S3Server, bucket: str, **changes: Any) -> EdgeSettings:
    tree = {"bucket": bucket, "endpoint_url": s3.endpoint_url, "path_style": True} | changes
    return EdgeSettings(site="forest", device="oak", storage={"kind": "s3", "s3": tree})  # type: ignore[arg-type]


def test_a_bucket_is_tried_and_left_empty(s3: S3Server, bucket: str, keys: dict[str, Any]) -> None:
    results = storage_results(in_bucket(s3, bucket, **keys))
    assert states(results) == {"put": "ok", "get": "ok", "delete": "ok"}, results
    assert s3.keys(bucket) == {}


def test_a_missing_bucket_is_named(s3: S3Server, keys: dict[str, Any]) -> None:
    results = storage_results(in_bucket(s3, "no-such-bucket", **keys))
    assert states(results) == {"put": "fail", "get": "not_tried", "delete": "not_tried"}
    assert "no-such-bucket" in results["put"].detail
    assert "storage.s3.bucket" in results["put"].next_step


def test_a_wrong_key_is_named(s3: S3Server, bucket: str, keys: dict[str, Any]) -> None:
    keys["secret_key_file"].write_text("wrong")
    result = storage_results(in_bucket(s3, bucket, **keys))["put"]
    assert result.state == "fail"
    assert "secret_key_file" in result.next_step


def test_a_storage_that_is_down_is_named(s3: S3Server, bucket: str, keys: dict[str, Any]) -> None:
    s3.down()
    result = storage_results(in_bucket(s3, bucket, **keys))["put"]
    assert result.state == "fail"
    assert "is the storage server running" in result.next_step


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_wrong_clock_is_named_as_what_s3_refuses(
    s3: S3Server, bucket: str, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    import botocore.auth

    right = botocore.auth.get_current_datetime
    wrong = dt.timedelta(hours=hours)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: right(*a, **k) + wrong)
    result = storage_results(in_bucket(s3, bucket, **keys))["put"]
    assert result.state == "fail"
    assert "wrong clock?" in result.detail
    assert "RequestTimeTooSkewed" in result.detail
    assert "clock" in result.next_step


def test_a_missing_extra_says_what_to_install(
    s3: S3Server, bucket: str, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "botocore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    result = storage_results(in_bucket(s3, bucket, **keys))["put"]
    assert result.state == "fail"
    assert "ecosight[s3]" in result.next_step


def heard(tmp_path: Path) -> Result:
    settings = EdgeSettings(state_dir=tmp_path, audio={"backend": "pulse"})  # type: ignore[arg-type]
    plan = [check for check in checks(settings, Broker(settings, lambda: True)) if check.name == "microphone"]
    return examine(plan)[0]


def test_a_real_microphone_that_hears_is_well(pulse: PulseServer, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    pulse.background = generator.normal(0, 327.68, 48_000).astype(np.int16)
    result = heard(tmp_path)
    assert result.state == "ok", result
    level = re.search(r"level (-\d+\.\d) dBFS", result.detail)
    assert level
    assert abs(float(level.group(1)) + 40) < 1.5
    assert result.seconds < 8


def test_a_real_microphone_that_is_muted_fails(pulse: PulseServer, tmp_path: Path) -> None:
    result = heard(tmp_path)
    assert result.state == "fail"
    assert "every sample is zero" in result.detail


def test_a_sound_server_that_is_gone_fails_and_does_not_hang(pulse: PulseServer, tmp_path: Path) -> None:
    pulse.kill()
    result = heard(tmp_path)
    assert result.state == "fail"
    assert result.next_step
    assert result.seconds < 15


def test_what_the_running_daemon_holds_is_no_failure(pulse: PulseServer, tmp_path: Path) -> None:
    pulse.kill()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = heard(tmp_path)
    assert result.state == "warn"
    assert "running daemon holds it" in result.detail
    assert "systemctl stop" in result.next_step


def doctor(config: Path) -> tuple[dict[str, str], subprocess.CompletedProcess[str]]:
    """The command itself, and its verdict for each check."""
    command = [sys.executable, "-m", "edge", "doctor", "--config", str(config)]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    return dict(re.findall(r"│ (\w[\w: ]*?) +│ (good|look|FAILS|-) +│", done.stdout)), done


def test_the_command_prints_the_table_and_exits_with_its_verdict(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text(f"state_dir: {tmp_path / 'absent'}\nmqtt: {{port: {mosquitto.port}}}\naudio: {{source: stdin}}\n")
    verdicts, done = doctor(config)
    assert (verdicts["broker: publish"], verdicts["disk"], verdicts["storage: put"]) == ("good", "FAILS", "-")
    assert done.returncode == 1
    assert "does not exist" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.data
def test_a_healthy_device_passes_everything(
    pulse: PulseServer, mosquitto: Mosquitto, yamnet: Path, tmp_path: Path
) -> None:
    pulse.background = np.random.default_rng(3).normal(0, 327.68, 48_000).astype(np.int16)
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "edge.yaml"
    config.write_text(
        f"state_dir: {state}\nmqtt: {{port: {mosquitto.port}}}\naudio: {{backend: pulse}}\n"
        f"detection: {{model: {yamnet}}}\nclips: {{quota_bytes: 1000000, free_floor_bytes: 0}}\n"
    )
    verdicts, done = doctor(config)
    assert len(verdicts) == 12, done.stdout
    # What a machine of continuous integration may rightly be told: that its clock is nobody's.
    assert {name for name, verdict in verdicts.items() if verdict != "good"} <= {"clock"}, done.stdout
    assert done.returncode == 0
    assert "everything works" in done.stdout
    assert list(state.iterdir()) == [], "the doctor leaves nothing behind"
