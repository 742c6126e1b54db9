"""The doctor's parts that need no server; tests/integration/test_doctor.py has the rest."""

import io
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edge.audio.source import SourceError
from edge.settings import AudioSettings, EdgeSettings, secret
from edge.upkeep.doctor import diagnose, exit_code, run_doctor, unit_of
from edge.upkeep.doctor.certificate import validity
from edge.upkeep.doctor.credentials import as_in_the_unit
from edge.upkeep.doctor.device import check_clock, check_disk, check_model
from edge.upkeep.doctor.examination import Check, Outcome, bad, doubtful, examine, good
from edge.upkeep.doctor.microphone import check_microphone, judge
from edge.upkeep.doctor.store import FolderStore
from tests.edge.upkeep.trees import write

RATE_HZ = 48_000


def test_what_needs_a_failed_check_is_not_tried() -> None:
    ran = []

    def run(name: str, outcome: Outcome) -> Outcome:
        ran.append(name)
        return outcome

    results = examine(
        [
            Check("dns", lambda: run("dns", good("1.2.3.4"))),
            Check("tcp", lambda: run("tcp", bad("refused", "start it")), needs=("dns",)),
            Check("tls", lambda: run("tls", good("")), needs=("tcp",)),
            Check("mqtt", lambda: run("mqtt", good("")), needs=("tls",)),
            Check("disk", lambda: run("disk", doubtful("full soon", "make room"))),
            Check("storage", lambda: run("storage", good("")), needs=("disk",)),
        ]
    )
    assert ran == ["dns", "tcp", "disk", "storage"]
    assert [result.state for result in results] == ["ok", "fail", "not_tried", "not_tried", "warn", "ok"]
    assert results[2].detail == "not tried: tcp must work first"
    assert results[3].detail == "not tried: tls must work first"
    assert exit_code(results) == 1


def test_what_wants_a_look_is_no_failure() -> None:
    assert exit_code(examine([Check("a", lambda: doubtful("hm", "look")), Check("b", lambda: good("yes"))])) == 0


def test_an_unforeseen_error_is_a_failure_and_no_traceback() -> None:
    def broken() -> Outcome:
        raise KeyError("oops")

    (result,) = examine([Check("a", broken)])
    assert (result.state, result.detail) == ("fail", "KeyError: 'oops'")
    assert "report" in result.next_step


def test_a_mistake_in_the_configuration_stops_all_else_and_is_shown_whole(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text("mqtt:\n  hosst: broker\n")
    out = io.StringIO()
    code = run_doctor(config, Console(file=out, width=200))
    assert code == 1
    text = out.getvalue()
    assert "hosst" in text
    assert "edge.yaml, line 2" in text
    assert text.count("not tried: configuration must work first") == 6
    assert "1 failed; begin with the first" in text


def test_a_missing_configuration_file_says_where_to_begin(tmp_path: Path) -> None:
    result = diagnose(tmp_path / "absent.yaml")[0]
    assert result.state == "fail"
    assert "configs/edge.yaml" in result.detail + result.next_step


def test_brackets_in_a_value_are_not_taken_for_markup(tmp_path: Path) -> None:
    config = tmp_path / "edge[bold].yaml"
    config.write_text("nonsense: 1\n")
    out = io.StringIO()
    run_doctor(config, Console(file=out, width=300))
    assert "edge[bold].yaml" in out.getvalue()


@pytest.mark.parametrize(
    ("now", "synchronised", "state", "word"),
    [
        (datetime(2026, 11, 20, tzinfo=UTC), True, "ok", "synchronised"),
        (datetime(2026, 11, 20, tzinfo=UTC), False, "warn", "not synchronised"),
        (datetime(1970, 1, 1, tzinfo=UTC), False, "fail", "1970"),
        (datetime(2024, 3, 15, tzinfo=UTC), True, "fail", "cannot be right"),
        (datetime(2106, 2, 7, tzinfo=UTC), True, "fail", "cannot be right"),
    ],
)
def test_a_clock_is_judged_by_its_year_and_its_synchronisation(
    now: datetime, synchronised: bool, state: str, word: str
) -> None:
    outcome = check_clock(now, synchronised)
    assert outcome.state == state
    assert word in outcome.detail
    assert bool(outcome.next_step) == (state != "ok")


def disk(tmp_path: Path, floor: int = 0, quota: int = 1_000_000, state_dir: Path | None = None) -> EdgeSettings:
    clips = {"free_floor_bytes": floor, "quota_bytes": quota}
    return EdgeSettings(state_dir=state_dir or tmp_path, clips=clips)  # type: ignore[arg-type]


def test_a_good_disk_is_left_as_it_was(tmp_path: Path) -> None:
    root = write(tmp_path / "root", {"proc/self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"})
    state = tmp_path / "state"
    state.mkdir()
    assert check_disk(disk(tmp_path, state_dir=state), root).state == "ok"
    assert list(state.iterdir()) == []


def test_a_missing_a_volatile_and_a_full_disk_fail(tmp_path: Path) -> None:
    missing = check_disk(disk(tmp_path, state_dir=tmp_path / "absent"))
    assert (missing.state, "does not exist" in missing.detail) == ("fail", True)
    root = write(tmp_path / "root", {"proc/self/mountinfo": "22 1 0:9 / / rw - tmpfs tmpfs rw\n"})
    volatile = check_disk(disk(tmp_path), root)
    assert (volatile.state, "does not survive a reboot" in volatile.detail) == ("fail", True)
    solid = write(tmp_path / "solid", {"proc/self/mountinfo": "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"})
    full = check_disk(disk(tmp_path, floor=10**18), solid)
    assert (full.state, "clips are evicted" in full.detail) == ("fail", True)
    tight = check_disk(disk(tmp_path, quota=10**18), solid)
    assert tight.state == "warn"


def test_a_state_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    proc = Path("/proc/sys")  # not writable, even for root
    if not proc.is_dir():
        pytest.skip("no /proc here")
    outcome = check_disk(disk(tmp_path, state_dir=proc))
    assert outcome.state == "fail"
    assert "cannot be written" in outcome.detail


def noise(level: float, seconds: float = 1.5) -> np.ndarray:
    generator = np.random.default_rng(7)
    return (level * generator.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def test_a_microphone_is_judged_by_its_level() -> None:
    outcome = judge(noise(0.01), RATE_HZ, "card:Mic")
    assert outcome.state == "ok"
    assert "level -40.0 dBFS" in outcome.detail
    assert judge(noise(1e-6), RATE_HZ, "card:Mic").state == "warn"
    assert "clipped" in judge(np.clip(noise(3.0), -1, 1), RATE_HZ, "card:Mic").detail


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
def test_a_constant_microphone_fails(value: float) -> None:
    outcome = judge(np.full(RATE_HZ, value, np.float32), RATE_HZ, "card:Mic")
    assert outcome.state == "fail"
    assert ("silent" if value == 0 else "constant") in outcome.detail


def recording(path: Path, samples: np.ndarray) -> EdgeSettings:
    import soundfile

    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    audio = {"source": "file", "location": str(path)}
    return EdgeSettings(state_dir=path.parent, audio=audio)  # type: ignore[arg-type]


def test_sound_is_really_read(tmp_path: Path) -> None:
    outcome = check_microphone(recording(tmp_path / "forest.wav", noise(0.1, seconds=3)))
    assert outcome.state == "ok"
    assert "level -20.0 dBFS" in outcome.detail
    silent = check_microphone(recording(tmp_path / "silent.wav", np.zeros(3 * RATE_HZ, np.float32)))
    assert (silent.state, "every sample is zero" in silent.detail) == ("fail", True)


@pytest.mark.parametrize(("installed", "opened"), [(True, "alsa"), (False, "auto")])
def test_the_microphone_is_opened_as_the_installed_service_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, opened: str
) -> None:
    unit = tmp_path / "ecosight-edge.service"
    if installed:
        unit.touch()
    asked = []

    def refuse(audio: AudioSettings) -> None:
        asked.append(audio.backend)
        raise SourceError("enough", "no_portaudio")

    monkeypatch.setattr("edge.upkeep.doctor.microphone.SERVICE", unit)
    monkeypatch.setattr("edge.audio.source.open_source", refuse)
    assert check_microphone(EdgeSettings(state_dir=tmp_path)).state == "fail"
    assert asked == [opened]


def test_a_recording_that_is_not_there_fails_with_its_name(tmp_path: Path) -> None:
    audio = {"source": "file", "location": str(tmp_path / "absent.wav")}
    outcome = check_microphone(EdgeSettings(state_dir=tmp_path, audio=audio))  # type: ignore[arg-type]
    assert outcome.state == "fail"
    assert "absent.wav" in outcome.detail


def test_no_model_says_how_to_get_one(tmp_path: Path) -> None:
    configured = check_model(EdgeSettings(state_dir=tmp_path, detection={"model": tmp_path / "m.tflite"}))  # type: ignore[arg-type]
    assert configured.state == "fail"
    assert "m.tflite: no such file" in configured.detail


def test_a_model_that_is_no_model_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(os.urandom(5000))
    outcome = check_model(EdgeSettings(state_dir=tmp_path, detection={"model": model}))  # type: ignore[arg-type]
    assert outcome.state == "fail"
    assert "m.tflite" in outcome.detail + outcome.next_step


def test_the_folder_storage_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    settings = EdgeSettings(state_dir=tmp_path)
    store = FolderStore(settings)
    assert [store.put().state, store.get().state, store.delete().state] == ["ok", "ok", "ok"]
    assert list(tmp_path.iterdir()) == [], "a folder made by root would shut the service out"
    settings.storage_folder.mkdir()
    assert [store.put().state, store.get().state, store.delete().state] == ["ok", "ok", "ok"]
    assert list(settings.storage_folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = FolderStore(EdgeSettings(storage={"folder": tmp_path / "file" / "clips"})).put()  # type: ignore[arg-type]
    assert outcome.state == "fail"
    assert "storage.folder" in outcome.next_step


def test_root_reads_the_secrets_that_systemd_would_hand_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "ecosight-edge.mqtt_password").write_text("cedar\n")
    (tmp_path / "ecosight-edge-north.mqtt_password").write_text("larch\n")
    with as_in_the_unit(tmp_path):
        assert secret("mqtt_password", None) == "cedar"
        assert secret("s3_access_key", None) is None
    assert secret("mqtt_password", None) is None
    with as_in_the_unit(tmp_path, unit_of(Path("/etc/ecosight/north.yaml"))):
        assert secret("mqtt_password", None) == "larch"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "own"))
    with as_in_the_unit(tmp_path):
        assert secret("mqtt_password", None) is None, "inside a unit, systemd's word counts"


def certificate(folder: Path, days: int = 30) -> Path:
    path = folder / "c.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(folder / "k.pem"), "-out", str(path), "-days", str(days), "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return path


def said_by_openssl(path: Path) -> tuple[datetime, datetime]:
    command = ["openssl", "x509", "-in", str(path), "-noout", "-startdate", "-enddate"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    first, last = (datetime.strptime(line.split("=")[1], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC) for line in lines)
    return first, last


@pytest.mark.parametrize("days", [30, 365 * 40], ids=["UTCTime", "GeneralizedTime"])
def test_the_dates_of_a_certificate_are_those_that_openssl_reads(tmp_path: Path, days: int) -> None:
    path = certificate(tmp_path, days)
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    assert validity(der) == said_by_openssl(path)
    assert validity(der)[1] - validity(der)[0] == timedelta(days=days)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_what_is_no_certificate_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        validity(data)


def test_health_and_watchdog_load_nothing_heavy() -> None:
    code = "import sys, edge.upkeep.health, edge.upkeep.watchdog, edge.upkeep.metrics; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rich", "typer", "ssl", "asyncio", "http.server", "numpy", "boto3", "botocore"} & set(loaded)
