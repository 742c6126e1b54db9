"""What the daemon costs on this machine: CPU for each stage and for the whole, memory, time to the first window.

Every figure stands beside a baseline measured in the same run: a plain single-threaded loop over Google's
waveform-in ``yamnet.tflite`` at the same hop. The stages are measured alone, on sound in memory. The whole
daemon runs as it does on a device: a process of its own, 48 kHz at the speed of sound, connected to a private
broker; its CPU is what the kernel counted (``/proc/PID/stat``, all threads). A core that wakes four times a
second runs with cold caches, so the baseline is given twice: ``tight`` (one window after the other) and
``paced`` (one window a hop, asleep in between, as a daemon must). The paced one runs while the daemon does: one after
the other, what else the machine did in the meantime moved their ratio by a third. Even so, now and then a machine takes
a processor away in the middle of a window and counts it as work (a virtual one above all): both are measured in
turns, and the ratio is that of the median turn. In each turn the loop wakes at another moment of the daemon's hop.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.bench.broker import BrokerError, private_broker
from edge.bench.stages import CAPTURE_RATE_HZ, Baseline, detector_cost, front_end_cost, network_cost, noise, recorded
from edge.bench.whole import BenchFailed, cpu_s, daemon_cost, rss_mib
from edge.detection.choice import choose
from edge.settings import EdgeSettings

__all__ = [
    "Bench",
    "BenchFailed",
    "BrokerError",
    "cpu_s",
    "daemon_cost",
    "measure",
    "private_broker",
    "rss_mib",
    "to_json",
    "to_table",
]


TURNS = 10
SHORTEST_TURN_S = 3.0
LONGEST_S = 600.0
"""Of a recording as much is heard."""


@dataclass(frozen=True)
class Bench:
    """All figures of one run. CPU is in milliseconds per second of audio, of one core."""

    machine: str
    model: str
    hop_s: float
    seconds: float
    resample_and_log_mel_cpu_ms_per_audio_s: float
    network_cpu_ms_per_audio_s: float
    detector_cpu_ms_per_audio_s: float
    """Everything between ring and events, network and front end included."""
    daemon_cpu_ms_per_audio_s: float
    baseline_cpu_ms_per_audio_s: float | None
    """Google's file at the daemon's own pace."""
    baseline_tight_cpu_ms_per_audio_s: float | None
    daemon_ratio: float | None
    """``daemon`` ÷ ``baseline``, in the median turn."""
    daemon_ratio_lowest: float | None
    daemon_ratio_highest: float | None
    """In the turn where it was so."""
    daemon_ratio_overall: float | None
    """Of all turns together, with what the daemon does once a minute."""
    daemon_ratio_tight: float | None
    rss_mib: float
    """Daemon and children."""
    first_window_s: float
    mqtt_connected: bool


def to_json(bench: Bench) -> str:
    """One JSON object; null where Google's file or the broker was not at hand."""
    return json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(bench).items()}, indent=2)


def to_table(bench: Bench) -> str:
    """The same for a person."""
    width = max(len(name) for name in asdict(bench))
    shown = {k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in asdict(bench).items()}
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown.items())


def measure(
    settings: EdgeSettings,
    yamnet: Path | None,
    seconds: float,
    say: Callable[[str], None],
    recording: Path | None = None,
) -> Bench:
    """Measure for about ``seconds``. ``say`` is told what is being measured. ``recording``: what the daemon hears,
    again and again; None: noise, in which no window is scored before it must (`edge.listening`).

    Raises:
        NoModelError: there is no model to measure.
        SourceError: the recording cannot be used.
        BenchFailed: the daemon did not come up.
    """
    hop_s = settings.detection.hop_s
    choice = choose(settings.detection.model, settings.state_dir)
    sound = noise(CAPTURE_RATE_HZ, 60.0) if recording is None else recorded(recording, CAPTURE_RATE_HZ, LONGEST_S)
    say("the stages alone")
    front_end_ms = front_end_cost(sound, hop_s)
    network_ms = network_cost(choice.model, sound, hop_s)
    detector_ms = detector_cost(choice.model, sound, settings.detection)
    turns = max(1, min(TURNS, int(seconds / SHORTEST_TURN_S)))
    tight: float | None = None
    paced: list[float] = []

    def beside(seconds: float) -> None:
        if yamnet is None:
            time.sleep(seconds)
        else:
            paced.append(loop.paced(seconds, hop_s * len(paced) / turns))

    if yamnet is not None:
        say("the baseline: a plain loop over Google's file")
        loop = Baseline(yamnet, hop_s)
        tight = loop.tight()
    say(f"the whole daemon, and beside it the baseline at the same pace: {seconds:g} s at the speed of sound")
    with tempfile.TemporaryDirectory(prefix="ecosight-bench-") as folder:
        whole = daemon_cost(Path(folder), choice.path, hop_s, seconds, meanwhile=beside, turns=turns, sound=sound)
    if whole.first_window_s is None:
        raise BenchFailed("the daemon scored no window")
    ratios = [own / other for own, other in zip(whole.turns, paced, strict=True)] if paced else []
    return Bench(
        machine=machine(),
        model=f"{choice.model.name.name} {choice.model.name.version}",
        hop_s=hop_s,
        seconds=seconds,
        resample_and_log_mel_cpu_ms_per_audio_s=front_end_ms,
        network_cpu_ms_per_audio_s=network_ms,
        detector_cpu_ms_per_audio_s=detector_ms,
        daemon_cpu_ms_per_audio_s=whole.cpu_ms_per_audio_s,
        baseline_cpu_ms_per_audio_s=statistics.mean(paced) if paced else None,
        baseline_tight_cpu_ms_per_audio_s=tight,
        daemon_ratio=statistics.median(ratios) if ratios else None,
        daemon_ratio_lowest=min(ratios, default=None),
        daemon_ratio_highest=max(ratios, default=None),
        daemon_ratio_overall=whole.cpu_ms_per_audio_s / statistics.mean(paced) if paced else None,
        daemon_ratio_tight=whole.cpu_ms_per_audio_s / tight if tight else None,
        rss_mib=whole.rss_mib,
        first_window_s=whole.first_window_s,
        mqtt_connected=whole.mqtt_connected,
    )


def machine() -> str:
    """The board or the processor, for the head of a report."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text().rstrip("\0")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return os.uname().machine
