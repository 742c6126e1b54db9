"""Every measurement of `script/bench`, one after the other, and at the end their figures beside the limits.

A limit that is missed is shown as MISS, a measurement that fails as such; neither fails the run, for how fast a
machine is says nothing about whether the code is right.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from converters.backbone import BackboneError, find_yamnet  # noqa: E402
from edge.detection.choice import default_model  # noqa: E402

WINDOW_S = 0.975
"""15600 samples at 16 kHz: no window can be scored before."""


@dataclass(frozen=True)
class Figure:
    """One figure of a measurement; without ``most`` it is only told."""

    measurement: str
    key: str
    what: str
    most: float | None = None


FIGURES = (
    Figure("bench", "daemon_cpu_ms_per_audio_s", "CPU of the whole daemon, ms per second of audio"),
    Figure("bench", "baseline_cpu_ms_per_audio_s", "CPU of a plain loop over Google's file at the same pace"),
    Figure("bench", "daemon_ratio", "daemon ÷ plain loop, median of ten turns", 0.6),
    Figure("bench", "daemon_ratio_lowest", "the same in the turn where it was lowest"),
    Figure("bench", "daemon_ratio_highest", "the same in the turn where it was highest"),
    Figure("bench", "first_window_s", "first window scored after the start of the process, s", 1.0 + WINDOW_S),
    Figure("latency", "onset_to_alert_p50_s", "onset to alert at a subscriber, p50, s", 0.6),
    Figure("latency", "onset_to_alert_p95_s", "onset to alert at a subscriber, p95, s", 1.0),
    Figure("gate", "ratio", "CPU with the energy gate ÷ without, in silence"),
    Figure("upload", "idle_rss_mib", "memory of daemon and children, S3 configured, idle, MiB", 100.0),
    Figure("upload", "peak_rss_mib", "the same at its highest during an upload, MiB"),
    Figure("latency --pulse", "onset_to_alert_p50_s", "sound in PulseAudio to alert, p50, s", 0.6),
    Figure("latency --pulse", "onset_to_alert_p95_s", "sound in PulseAudio to alert, p95, s", 1.0),
    Figure("soak", "growth_mib", "growth of memory after the first hour of 24, MiB", 2.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="What EcoSight costs, beside its limits. Unknown arguments go to `ecosight-edge bench`.",
    )
    parser.add_argument("--long", action="store_true", help="also 24 hours of audio, replayed")
    parser.add_argument("--model", type=Path, help="model file; else the one that ships")
    options, passed_on = parser.parse_known_args()
    console = Console()
    try:
        yamnet = find_yamnet(HOME / ".cache", [_data() / "yamnet" / "yamnet.tflite"])
    except BackboneError as error:
        console.print(f"bench: without a baseline: {error}", markup=False)
        yamnet = None
    model = options.model or default_model()
    found = _measure_all(console, model.absolute(), yamnet, options.long, passed_on)
    print_table(console, found)
    return 0


def _data() -> Path:
    return Path(os.environ.get("ECOSIGHT_DATA") or HOME.parent / "shared" / "data")


def _measure_all(
    console: Console, model: Path, yamnet: Path | None, long: bool, passed_on: Sequence[str]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    environment = dict(os.environ)
    environment.setdefault("ECOSIGHT_DETECTION__MODEL", str(model))
    if yamnet is not None:
        environment["ECOSIGHT_YAMNET"] = str(yamnet)

    def measure(name: str, *command: str) -> None:
        console.print(f"[bold]measuring[/] {name} …")
        done = subprocess.run([sys.executable, *command], check=False, env=environment, stdout=subprocess.PIPE)
        if done.returncode == 0:
            found[name] = json.loads(done.stdout)
            console.print_json(data=found[name])

    def measure_py(name: str) -> None:
        measure(name, str(HOME / "script" / "measure.py"), *name.split(), "--model", str(model))

    measure("bench", "-m", "edge", "bench", "--json", *passed_on)
    measure_py("latency")
    measure_py("gate")
    # The servers of the tests: Swift and PulseAudio.
    subprocess.run([HOME / "script" / "setup", "test"], stdout=sys.stderr, check=False)
    measure_py("upload")
    measure_py("latency --pulse")
    if long:
        measure_py("soak")
    return found


def print_table(console: Console, found: dict[str, dict[str, Any]]) -> None:
    machine = found.get("bench", {}).get("machine", "")
    table = Table(title=f"Measured on {machine}" if machine else "Measured")
    table.add_column("figure")
    for heading in ("measured", "at most", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in FIGURES:
        if figure.measurement == "soak" and "soak" not in found:
            continue
        value = found.get(figure.measurement, {}).get(figure.key)
        table.add_row(
            figure.what,
            "not measured" if value is None else f"{value:.3f}",
            "" if figure.most is None else f"{figure.most:g}",
            _verdict(value, figure.most),
        )
    console.print(table)


def _verdict(value: float | None, most: float | None) -> str:
    if value is None or most is None:
        return ""
    return "[green]ok[/]" if value <= most else "[bold red]MISS[/]"


if __name__ == "__main__":
    sys.exit(main())
