"""The Prometheus endpoint, read over HTTP and by a strict parser of the text format."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.delivery.messages import Health, ModelName, Moment
from edge.upkeep.metrics import METRICS, MetricsServer, render

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[Samples, dict[str, str]]:
    """Samples and types; an AssertionError where the text breaks a rule of the format 0.0.4."""
    assert text.endswith("\n"), "the last line must end"
    samples: Samples = {}
    types: dict[str, str] = {}
    helped: set[str] = set()
    current = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, current, meaning = line.split(" ", 3)
            assert current not in helped, "one HELP a metric, and its lines stand together"
            assert meaning
            helped.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current
            assert kind in ("gauge", "counter")
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"not a sample: {line!r}"
            name = match.group(1)
            assert name == current, "samples stand under their TYPE"
            labels = re.findall(LABEL, match.group(2) or "")
            pairs = frozenset((k, re.sub(r"\\.", lambda escape: UNESCAPED[escape.group()], v)) for k, v in labels)
            assert len(pairs) == len(labels), "a label stands once"
            assert (name, pairs) not in samples, "a series stands once"
            samples[name, pairs] = float(match.group(match.re.groups))
    assert set(types) == helped
    return samples, types


def health(**changes: object) -> Health:
    at = Moment(
        utc=datetime(2026, 5, 1, 12, tzinfo=UTC),
        clock_synchronised=True,
        clock_epoch=1,
        boot_id="b",
        boot_s=5.0,
        sample=0,
    )
    fields = {"site": "ridge", "device": "cedar", "at": at, "uptime_s": 61.5, "state": "ok"} | changes
    return Health.model_validate(fields)


UNIT = frozenset({("site", "ridge"), ("device", "cedar")})


def test_figures_are_exposed_in_base_units() -> None:
    samples, types = parse(
        render(
            health(
                memory_mib=80.5,
                cpu_percent=12.5,
                inference_p95_ms=0.75,
                samples_lost=480,
                throttled="0x50005",
                model=ModelName(name="yamnet", version="3"),
                version="0.1.0",
            )
        )
    )
    assert samples["ecosight_up", frozenset()] == 1
    assert samples["ecosight_memory_bytes", UNIT] == 80.5 * 1024 * 1024
    assert samples["ecosight_cpu_ratio", UNIT] == 0.125
    assert samples["ecosight_inference_p95_seconds", UNIT] == 0.00075
    assert samples["ecosight_samples_lost_total", UNIT] == 480
    assert samples["ecosight_throttled_flags", UNIT] == 0x50005
    assert samples["ecosight_health_timestamp_seconds", UNIT] == datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
    versions = {("version", "0.1.0"), ("model", "yamnet"), ("model_version", "3")}
    assert samples["ecosight_info", UNIT | versions] == 1
    assert types["ecosight_samples_lost_total"] == "counter"
    assert types["ecosight_memory_bytes"] == "gauge"


def test_what_the_board_does_not_say_is_absent_not_zero() -> None:
    samples, _ = parse(render(health()))
    assert not [name for name, _ in samples if "temperature" in name or "battery" in name]


def test_state_and_problems_are_labelled_series() -> None:
    samples, _ = parse(render(health(state="no_audio", problems=["no_audio:silent", "mqtt:refused:135"])))
    states = {dict(labels)["state"]: value for (name, labels), value in samples.items() if name == "ecosight_state"}
    assert states == {"ok": 0, "degraded": 0, "no_audio": 1}
    assert samples["ecosight_problem", UNIT | {("code", "no_audio:silent")}] == 1
    assert samples["ecosight_problem", UNIT | {("code", "mqtt:refused:135")}] == 1


def test_names_follow_the_conventions() -> None:
    for metric in METRICS:
        assert metric.field in Health.model_fields
        assert metric.name.startswith("ecosight_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert not re.search(r"_(ms|mib|percent|c|v|s)$", metric.name), "base units only"
    numbers = {
        name
        for name, field in Health.model_fields.items()
        if name != "schema_version"
        and re.fullmatch(r"(int|float)( \| None)?|<class '(int|float)'>", str(field.annotation))
    }
    assert numbers == {metric.field for metric in METRICS}, "every figure of the message is exposed"


def test_every_metric_is_in_the_reference() -> None:
    reference = Path(__file__).resolve().parents[3] / "docs" / "reference" / "health.md"
    explained = dict(re.findall(r"^\| `(ecosight_[a-z0-9_]+)` \| (\w+) \|", reference.read_text(), re.MULTILINE))
    everything: dict[str, object] = {metric.field: 1 for metric in METRICS}
    everything |= {"thresholds": {"gun_shot": 0.5}, "thresholds_raised": {"gun_shot": 0.1}}
    said = health(**everything, throttled="0x0", problems=["mqtt:dns"], model=ModelName(name="m", version="1"))
    assert explained == parse(render(said))[1]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=20), max_size=4, unique=True))
def test_whatever_a_problem_says_the_text_stays_readable(problems: list[str]) -> None:
    samples, _ = parse(render(health(state="degraded" if problems else "ok", problems=problems)))
    codes = {dict(labels)["code"] for name, labels in samples if name == "ecosight_problem"}
    assert codes == set(problems)


def test_a_scrape_over_http_reads_the_newest_message() -> None:
    newest: list[Health | None] = [None]
    server = MetricsServer(0, lambda: newest[0])
    server.start()
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert parse(answer.read().decode())[0] == {("ecosight_up", frozenset()): 1}
        newest[0] = health(windows=7)
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert parse(answer.read().decode())[0]["ecosight_windows_total", UNIT] == 7
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/etc/passwd", timeout=5)
    finally:
        server.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def test_stopping_waits_for_no_client_and_gives_the_port_back() -> None:
    server = MetricsServer(0, lambda: None)
    server.start()
    began_s = time.monotonic()
    server.stop()
    assert time.monotonic() - began_s < 0.45  # the library's own way waits for half a second
    server = MetricsServer(0, lambda: None)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        time.sleep(0.2)  # it is being waited for
        began_s = time.monotonic()
        server.stop()
        assert time.monotonic() - began_s < 3
        again = MetricsServer(server.port, lambda: None)
        again.start()
        assert again.problems == []
        again.stop()


def test_a_life_leaves_no_open_file_behind() -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = open_files()
    for _ in range(3):
        server = MetricsServer(0, lambda: None)
        server.start()
        server.stop()
    assert open_files() <= before  # less, where a thread of an earlier test ends meanwhile


def test_only_this_machine_can_reach_it() -> None:
    server = MetricsServer(0, lambda: None)
    server.start()
    try:
        listening = Path("/proc/net/tcp").read_text(encoding="ascii")
        assert f" 0100007F:{server.port:04X} " in listening
        assert f" 00000000:{server.port:04X} " not in listening
    finally:
        server.stop()


def test_a_taken_port_is_a_problem_and_no_crash(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = MetricsServer(taken.getsockname()[1], lambda: None)
        server.start()
        assert server.problems == ["metrics:port_taken"]
        assert str(server.port) in caplog.text
        server.stop()


def test_the_http_server_is_not_loaded_until_it_is_asked_for() -> None:
    code = "import sys, edge.upkeep.metrics; print('http.server' in sys.modules, 'ssl' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False False\n"
