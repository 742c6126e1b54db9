"""``ecosight-edge`` as a person types it: a process, its output, and for every mistake one clear line and code 2."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from edge.bench import Bench
from edge.settings import EdgeSettings
from tests.servers.mosquitto import program
from tests.servers.pulse import RATE_HZ, PulseServer


def edge(*arguments: str | Path, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
    done = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
    )
    assert "Traceback" not in done.stderr
    return done


def good(*arguments: str | Path, timeout_s: float = 60) -> str:
    """What a command that works prints."""
    done = edge(*arguments, timeout_s=timeout_s)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str | Path) -> str:
    """What a command that cannot work says: one message of ours at the end, nothing on stdout, exit code 2."""
    done = edge(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    _, found, message = done.stderr.partition("ecosight-edge: ")
    first, *more = message.splitlines()
    assert found and first
    assert all(line.startswith("  ") for line in more), "details are indented; nothing else follows"
    return first


def configuration(folder: Path, **tree: Any) -> Path:
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump({"state_dir": str(folder / "state"), **tree}))
    return path


@pytest.fixture(params=["unknown key", "wrong type", "out of range", "no YAML", "no text", "absent", "a folder"])
def mistaken(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A configuration that cannot be used."""
    path = tmp_path / "mistaken.yaml"
    content = {
        "unknown key": b"mqtt:\n  hots: broker\n",
        "wrong type": b"mqtt:\n  port: many\n",
        "out of range": b"detection:\n  hop_s: 99\n",
        "no YAML": b"audio: [\n",
        "no text": bytes(range(128, 256)),
    }
    if request.param == "a folder":
        path.mkdir()
    elif request.param != "absent":
        path.write_bytes(content[request.param])
    return path


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show"), ("devices",), ("model", "show")])
def test_a_configuration_that_cannot_be_used_is_named_in_one_line(command: tuple[str, ...], mistaken: Path) -> None:
    assert str(mistaken) in refused(*command, "--config", mistaken)


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "ca.pem"
    config = configuration(tmp_path, mqtt={"tls": True, "ca_file": str(absent)})
    assert refused("config", "check", "--config", config) == f"mqtt.ca_file: there is no file {absent}"


def test_a_mistyped_option_is_called_as_it_was_typed(tmp_path: Path) -> None:
    assert refused("replay", "--hop-s", "9", tmp_path).startswith("--hop-s = 9")


def test_the_list_of_commands_is_not_cut_off() -> None:
    for group in ((), ("config",), ("model",)):
        assert "..." not in good(*group, "--help").partition("Commands:")[2]


def test_the_schema_is_json_and_names_every_section() -> None:
    schema = json.loads(good("config", "schema"))
    assert set(schema["properties"]) == set(EdgeSettings.model_fields)


def test_a_good_configuration_is_good_and_is_shown_whole(tmp_path: Path) -> None:
    path = configuration(tmp_path, site="forest", mqtt={"port": 1884})
    assert "good; site forest" in good("config", "check", "--config", path)
    shown = yaml.safe_load(good("config", "show", "--config", path))
    assert set(shown) == set(EdgeSettings.model_fields)
    assert shown["mqtt"]["port"] == 1884
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(shown))
    good("config", "check", "--config", tmp_path / "again.yaml")


@pytest.mark.data
def test_the_manifest_is_shown_and_the_model_verified(tmp_path: Path, model: Path) -> None:
    named = configuration(tmp_path, detection={"model": str(model)})
    shown = json.loads(good("model", "show", "--config", named))
    assert shown["file"] == str(model)
    assert "gun_shot" in shown["labels"]
    assert json.loads(good("model", "show", model, "--config", named)) == shown
    assert good("model", "verify", "--config", named) == good("model", "verify", model) == f"{model}: good\n"
    assert not list((tmp_path / "state").rglob("*")), "to look leaves nothing behind"


@pytest.mark.parametrize("command", ["show", "verify"])
@pytest.mark.parametrize("what", ["empty", "text", "absent", "a folder"])
def test_a_file_that_is_no_model_is_named_in_one_line(tmp_path: Path, command: str, what: str) -> None:
    path = tmp_path / "mistaken.tflite"
    if what == "a folder":
        path.mkdir()
    elif what != "absent":
        path.write_text({"empty": "", "text": "this is no model\n" * 100}[what])
    assert str(path) in refused("model", command, path, "--config", configuration(tmp_path))


@pytest.mark.data
@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_cut_model_is_named_in_one_line(tmp_path: Path, model: Path, command: str) -> None:
    cut = tmp_path / "cut.tflite"
    content = model.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    assert str(cut) in refused("model", command, cut, "--config", configuration(tmp_path))


@pytest.mark.server
def test_devices_shows_what_to_paste_and_which_microphone_hears(pulse: PulseServer, tmp_path: Path) -> None:
    pulse.background = (1000 * np.sin(np.arange(RATE_HZ) / 7)).astype(np.int16)
    path = configuration(tmp_path, audio={"backend": "pulse"})
    shown = good("devices", "--config", path, "--seconds", "1.5")
    assert "default" in shown
    assert "hears" in shown


@pytest.mark.server
def test_a_field_recording_holds_what_the_microphone_heard(pulse: PulseServer, tmp_path: Path) -> None:
    pulse.background = (1000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    path = configuration(tmp_path, audio={"backend": "pulse", "sample_rate_hz": RATE_HZ})
    out = tmp_path / "recordings"
    said = good("record", "gun_shot", "--seconds", "1", "--out", out, "--note", "30 m, drizzle", "--config", path)
    flac = Path(said.strip())
    assert flac.parent == out
    samples, rate_hz = soundfile.read(flac)
    assert (rate_hz, len(samples)) == (RATE_HZ, RATE_HZ)
    assert np.argmax(np.abs(np.fft.rfft(samples))) == 440
    metadata = json.loads(flac.with_suffix(".json").read_text())
    assert (metadata["label"], metadata["note"]) == ("gun_shot", "30 m, drizzle")


@pytest.mark.parametrize(
    ("label", "seconds", "says"),
    [("Gun Shot", "1", "'Gun Shot'"), ("../up", "1", "'../up'"), ("rain", "0", "0.0 seconds"), ("rain", "nan", "nan")],
)
def test_a_field_recording_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, label: str, seconds: str, says: str
) -> None:
    out = tmp_path / "recordings"
    assert says in refused("record", label, "--seconds", seconds, "--out", out, "--config", configuration(tmp_path))
    assert not out.exists()


def test_a_field_recording_of_a_source_without_sound_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    path = configuration(tmp_path, audio={"source": "file", "location": str(tmp_path / "empty.wav")})
    assert "empty.wav" in refused("record", "rain", "--out", tmp_path / "recordings", "--config", path)


@pytest.mark.parametrize("arguments", [(), ("config", "explode"), ("record",), ("bench", "--seconds", "-1")])
def test_a_mistyped_command_shows_how_it_is_typed(arguments: tuple[str, ...]) -> None:
    done = edge(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr


def test_the_bench_says_what_is_wrong_with_a_recording(tmp_path: Path, model: Path) -> None:
    path = configuration(tmp_path, detection={"model": str(model)})
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(8_000, np.float32), 8_000)
    assert "short.wav lasts 1.0 s; measuring needs at least 20 s" in refused(
        "bench", "--sound", short, "--config", path
    )
    assert "nowhere.wav" in refused("bench", "--sound", tmp_path / "nowhere.wav", "--config", path)


@pytest.mark.server
@pytest.mark.data
def test_the_bench_gives_every_promised_figure(tmp_path: Path, model: Path, yamnet: Path) -> None:
    program("mosquitto")  # else there is nothing to be connected to
    path = configuration(tmp_path, detection={"model": str(model)})
    figures = json.loads(good("bench", "--json", "--seconds", "1", "--yamnet", yamnet, "--config", path, timeout_s=120))
    assert set(figures) == {field.name for field in dataclasses.fields(Bench)}
    promised = {
        "daemon_cpu_ms_per_audio_s",
        "baseline_cpu_ms_per_audio_s",
        "daemon_ratio",
        "rss_mib",
        "first_window_s",
    }
    assert promised <= set(figures)
    assert all(figures[name] > 0 for name in promised)
    ratio = figures["daemon_cpu_ms_per_audio_s"] / figures["baseline_cpu_ms_per_audio_s"]
    assert figures["daemon_ratio"] == pytest.approx(ratio, rel=0.01)
    assert figures["mqtt_connected"]
    assert figures["first_window_s"] > 0.975, "no window exists before"
