"""What the daemon costs on this machine: CPU for each stage and for the whole, memory, time to the first window.

Every figure stands beside a baseline measured in the same run: a plain single-threaded loop over Google's
waveform-in ``yamnet.tflite`` at the same hop. The stages are measured alone, on sound in memory. The whole
daemon runs as it does on a device: a process of its own, 48 kHz at the speed of sound, connected to a private
broker; its CPU is what the kernel counted (``/proc/PID/stat``, all threads). A core that wakes four times a
second runs with cold caches, so the baseline is given twice: ``tight`` (one window after the other) and
``paced`` (one window a hop, asleep in between, as a daemon must).
"""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd
from edge.audio.logmel import WINDOW_SAMPLES
from edge.audio.ring import Ring
from edge.detection.choice import choose
from edge.detection.detector import Detector
from edge.detection.graph import Graph
from edge.detection.model import Model
from edge.settings import DetectionSettings, EdgeSettings

CAPTURE_RATE_HZ = 48_000
_BLOCK_S = 0.06


class BenchFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """What was to be measured did not work."""


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
    """``daemon`` ÷ ``baseline``."""
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


def measure(settings: EdgeSettings, yamnet: Path | None, seconds: float, say: Callable[[str], None]) -> Bench:
    """Measure for about ``2 * seconds``. ``say`` is told what is being measured.

    Raises:
        NoModelError: there is no model to measure.
        BenchFailed: the daemon did not come up.
    """
    hop_s = settings.detection.hop_s
    choice = choose(settings.detection.model, settings.state_dir)
    sound = noise(CAPTURE_RATE_HZ, 60.0)
    say("the stages alone")
    front_end_ms = front_end_cost(sound, hop_s)
    network_ms = network_cost(choice.model, sound, hop_s)
    detector_ms = detector_cost(choice.model, sound, settings.detection)
    tight = paced = None
    if yamnet is not None:
        say("the baseline: a plain loop over Google's file")
        loop = Baseline(yamnet, hop_s)
        tight = loop.tight()
    say(f"the whole daemon, {seconds:g} s at the speed of sound")
    with tempfile.TemporaryDirectory(prefix="ecosight-bench-") as folder:
        whole = daemon_cost(Path(folder), choice.path, hop_s, seconds)
    if whole.first_window_s is None:
        raise BenchFailed("the daemon scored no window")
    if yamnet is not None:
        say(f"the baseline at the same pace, {seconds:g} s")
        paced = loop.paced(seconds)
    return Bench(
        machine=machine(),
        model=f"{choice.model.name.name} {choice.model.name.version}",
        hop_s=hop_s,
        seconds=seconds,
        resample_and_log_mel_cpu_ms_per_audio_s=front_end_ms,
        network_cpu_ms_per_audio_s=network_ms,
        detector_cpu_ms_per_audio_s=detector_ms,
        daemon_cpu_ms_per_audio_s=whole.cpu_ms_per_audio_s,
        baseline_cpu_ms_per_audio_s=paced,
        baseline_tight_cpu_ms_per_audio_s=tight,
        daemon_ratio=whole.cpu_ms_per_audio_s / paced if paced else None,
        daemon_ratio_tight=whole.cpu_ms_per_audio_s / tight if tight else None,
        rss_mib=whole.rss_mib,
        first_window_s=whole.first_window_s,
        mqtt_connected=whole.mqtt_connected,
    )


def noise(rate_hz: int, seconds: float) -> NDArray[np.float32]:
    """Quiet pink-ish noise, float32 [n], always the same."""
    white = np.random.default_rng(0).standard_normal(round(rate_hz * seconds)).astype(np.float32)
    return np.cumsum(white - 0.02, dtype=np.float32) * np.float32(1e-4) % np.float32(0.02) + white * np.float32(0.003)


def front_end_cost(sound: NDArray[np.float32], hop_s: float) -> float:
    """CPU ms per audio second of resampling and log-mel, fed hop by hop."""
    front_end = FrontEnd(CAPTURE_RATE_HZ, hop_s)
    hop = round(hop_s * CAPTURE_RATE_HZ)

    def whole() -> None:
        front_end.reset()
        for start in range(0, len(sound) - hop, hop):
            front_end.push(start, sound[start : start + hop])

    return _cpu_ms(whole) / (len(sound) / CAPTURE_RATE_HZ)


def network_cost(model: Model, sound: NDArray[np.float32], hop_s: float) -> float:
    """CPU ms per audio second of the network, one window after the other."""
    windows = FrontEnd(CAPTURE_RATE_HZ, hop_s).push(0, sound[: 20 * CAPTURE_RATE_HZ])

    def whole() -> None:
        for window in windows:
            model.score(window)

    return _cpu_ms(whole) / len(windows) / hop_s


def detector_cost(model: Model, sound: NDArray[np.float32], settings: DetectionSettings) -> float:
    """CPU ms per audio second from the ring to the events, as fast as possible."""
    block = round(_BLOCK_S * CAPTURE_RATE_HZ)

    def whole() -> None:
        ring = Ring(CAPTURE_RATE_HZ, 20.0)
        detector = Detector(model, ring, settings)
        for start in range(0, len(sound) - block, block):
            ring.write(sound[start : start + block])
            while detector.advance(timeout_s=0.0):
                pass
        ring.close()

    return _cpu_ms(whole) / (len(sound) / CAPTURE_RATE_HZ)


class Baseline:
    """A plain loop over Google's waveform-in file: set the window, invoke, read the scores."""

    def __init__(self, yamnet: Path, hop_s: float) -> None:
        self._hop_s = hop_s
        self._graph = Graph(yamnet.read_bytes(), str(yamnet))
        self._output = next(iter(self._graph.output_shapes))
        self._sound = noise(16_000, 20.0)
        self._windows = (len(self._sound) - WINDOW_SAMPLES) // round(hop_s * 16_000)

    def _window(self, number: int) -> None:
        start = number % self._windows * round(self._hop_s * 16_000)
        self._graph.feed(self._sound[start : start + WINDOW_SAMPLES])
        self._graph.output(self._output)

    def tight(self) -> float:
        """CPU ms per audio second, one window after the other."""

        def whole() -> None:
            for number in range(self._windows):
                self._window(number)

        return _cpu_ms(whole) / self._windows / self._hop_s

    def paced(self, seconds: float) -> float:
        """CPU ms per audio second, one window every hop."""
        windows = max(5, round(seconds / self._hop_s))
        started = time.process_time()
        due_s = time.monotonic()
        for number in range(windows):
            self._window(number)
            due_s += self._hop_s
            time.sleep(max(0.0, due_s - time.monotonic()))
        return (time.process_time() - started) * 1e3 / windows / self._hop_s


@dataclass(frozen=True)
class Whole:
    """The daemon as a process."""

    cpu_ms_per_audio_s: float
    rss_mib: float
    first_window_s: float | None
    """None where an energy gate skipped every window unsaid."""
    mqtt_connected: bool


def daemon_cost(
    folder: Path, model: Path, hop_s: float, seconds: float, overrides: dict[str, Any] | None = None
) -> Whole:
    """Run the daemon on 48 kHz sound at the speed of sound and read what the kernel counted.

    Raises:
        BenchFailed: the daemon did not last; the text ends with its log.
    """
    import soundfile

    warm_up_s = 6.0
    sound = np.tile(noise(CAPTURE_RATE_HZ, 20.0), 1 + int((seconds + warm_up_s + 10) / 20.0))
    soundfile.write(folder / "noise.wav", sound, CAPTURE_RATE_HZ, subtype="PCM_16")
    with private_broker(folder) as port:
        tree: dict[str, Any] = {
            "state_dir": str(folder / "state"),
            "audio": {"source": "file", "location": str(folder / "noise.wav")},
            "detection": {"model": str(model), "hop_s": hop_s},
            "mqtt": {"host": "127.0.0.1", "port": port or 1},
            **(overrides or {}),
        }
        config = folder / "edge.yaml"
        config.write_text(json.dumps(tree))  # JSON is YAML
        log = folder / "daemon.log"
        with log.open("w") as errors:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", str(config)], stderr=errors, env=_environment()
            )
        try:
            time.sleep(warm_up_s)
            _must_run(daemon, log)
            before_s, began_s = cpu_s(daemon.pid), time.monotonic()
            time.sleep(seconds)
            _must_run(daemon, log)
            used_s, span_s = cpu_s(daemon.pid) - before_s, time.monotonic() - began_s
            resident_mib = rss_mib(daemon.pid)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=15)
    text = log.read_text()
    first = re.search(r"first window scored ([0-9.]+) s", text)
    first_s = float(first[1]) if first else None
    connected = port is not None and "New client connected" in (folder / "mosquitto.log").read_text()
    return Whole(used_s * 1e3 / span_s, resident_mib, first_s, connected)


def _must_run(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    if daemon.poll() is not None:
        raise BenchFailed(f"the daemon ended with exit code {daemon.returncode}:\n{log.read_text()[-2000:].strip()}")


class BrokerError(RuntimeError):
    """The private broker does not start."""


@contextmanager
def private_broker(folder: Path) -> Iterator[int | None]:
    """A Mosquitto of our own on a free loopback port; None where it is not installed. Its log lies in ``folder``.

    Raises:
        BrokerError: it does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stdout\n")
    log = folder / "mosquitto.log"
    with log.open("w") as said:
        broker = subprocess.Popen([program, "-c", str(config)], stdout=said, stderr=said)
    try:
        if not _answers(port, broker):
            raise BrokerError(f"mosquitto did not start; its log is {log}")
        yield port
    finally:
        broker.terminate()
        broker.wait(timeout=5)


def _answers(port: int, broker: "subprocess.Popen[bytes]", timeout_s: float = 5.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s and broker.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
        time.sleep(0.02)
    return False


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process. From ``schedstat``, in nanoseconds: ``stat`` counts in steps of 10 ms,
    too coarse for a daemon that needs 3 ms a second."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mib(pid: int) -> float:
    """Resident memory of a process and its children, shared pages counted in each (so never too little)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return own / 1024 + sum(rss_mib(int(child)) for child in children)


def machine() -> str:
    """The board or the processor, for the head of a report."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text().rstrip("\0")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return os.uname().machine


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}


def _cpu_ms(work: Callable[[], None], repeats: int = 5) -> float:
    """Median CPU time of ``work`` in ms, after one run to warm up."""
    work()
    costs = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        costs.append((time.process_time() - started) * 1e3)
    return statistics.median(costs)
