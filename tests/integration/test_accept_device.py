"""The page of script/accept-device, from health as a daemon leaves it."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.edge.updates.program.programs import health

SCRIPT = Path(__file__).resolve().parents[2] / "script" / "accept-device"


def leave(file: Path, number: int, **figures: object) -> None:
    said = health("ok", 1000 * number, "1.0").model_copy(update={"uptime_s": 240.0 * number, "hop_s": 0.24, **figures})
    file.with_suffix(".new").write_bytes(said.to_json().replace(b"12:00:00", b"12:00:%02d" % number))
    file.with_suffix(".new").replace(file)


def accept(folder: Path, drill: str, *figures: dict[str, object]) -> tuple[int, str]:
    """Run it for a few seconds on these health messages, one after the other; exit code and page."""
    file = folder / "health.json"
    leave(file, 0, **figures[0])
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{drill}\n")
    program.chmod(0o755)

    def speak() -> None:
        for number, more in enumerate(figures):
            leave(file, number, **more)
            time.sleep(7)

    speaking = threading.Thread(target=speak)
    speaking.start()
    options = ["--hours", "0.006", "--health", file, "--program", program, "--out", folder / "page.md"]
    done = subprocess.run([sys.executable, "-I", SCRIPT, *map(str, options)], capture_output=True, text=True)
    speaking.join()
    return done.returncode, (folder / "page.md").read_text()


@pytest.mark.long
def test_a_device_that_is_well_gets_a_page_without_a_mark(tmp_path: Path) -> None:
    good: dict[str, object] = {"temperature_c": 50.0, "throttled": "0x0", "memory_mib": 90.0, "inference_p95_ms": 3.0}
    code, page = accept(tmp_path, "echo drill-1 delivered by the running daemon in 0.21 s", good, good, good)
    assert code == 0, page
    assert "LOOK" not in page
    assert "| drills delivered | 1 of 1 | all | good |" in page
    assert "| windows scored | 2000 of 2000 due | ≥ 99 % | good |" in page


@pytest.mark.long
def test_what_is_not_well_is_marked(tmp_path: Path) -> None:
    bad: dict[str, object] = {"temperature_c": 85.0, "throttled": "0x50005", "samples_lost": 4800, "problems": ["x:y"]}
    code, page = accept(tmp_path, "echo no broker >&2; exit 1", {}, bad, bad)
    assert code == 1
    for line in ("samples lost | 4800", "most 85.0 °C", "throttled now (under-voltage, heat) | 0x5", "0 of 1"):
        assert any(line in row and "LOOK" in row for row in page.splitlines()), line
    assert "`x:y` in 2 of 3 messages" in page
    assert "a drill: no broker" in page


def test_without_a_daemon_it_says_so_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-I", SCRIPT, "--health", tmp_path / "health.json", "--out", tmp_path / "page.md"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "page.md").exists()) == (1, False)
    assert "does the daemon run?" in done.stderr
