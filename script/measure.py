"""What `script/bench` measures beside `ecosight-edge bench`: time to the alert, memory in an upload, memory over a day.

    script/measure.py latency [--shots 40]     onset to alert at a subscriber, at the speed of sound
    script/measure.py latency --pulse          the same through PulseAudio, from the moment its microphone has the sound
    script/measure.py upload                   memory of the unit, idle with S3 configured and while it uploads
    script/measure.py soak [--hours 24]        memory growth over hours of sound, replayed by the daemon itself
    script/measure.py gate                     what the energy gate saves on quiet sound

Measures the model that ships, or another (--model). Needs Mosquitto, Swift for `upload`, PulseAudio for `--pulse`.
Prints one JSON object.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from edge.bench import daemon_cost, private_broker, rss_mib  # noqa: E402
from edge.detection.choice import default_model  # noqa: E402
from tests.integration.receiver import Receiver, wait_until  # noqa: E402
from tests.running import SITE, RunningDaemon  # noqa: E402
from trainer.synthesis.scene import ambience, demo_scene  # noqa: E402
from trainer.synthesis.shot import Gun, Place, gunshot  # noqa: E402

RATE_HZ = 48_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "upload", "soak", "gate"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--shots", type=int, default=40)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--pulse", action="store_true", help="latency through a real PulseAudio capture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecosight-measure-") as folder:
        model = options.model or default_model()
        figures = {
            "latency": lambda: (pulse_latency if options.pulse else latency)(Path(folder), model, options.shots),
            "upload": lambda: upload(Path(folder), model),
            "soak": lambda: soak(Path(folder), model, options.hours),
            "gate": lambda: gate(Path(folder), model),
        }[options.what]()
    print(json.dumps(figures, indent=2))
    return 0


def _shot() -> NDArray[np.float32]:
    """One shot of the demo scene: a tenth of a second before its onset, two seconds after."""
    samples, rate_hz, annotations = demo_scene()
    onset = round(next(a for a in annotations if a.shot).onset_s * rate_hz)
    return samples[onset - rate_hz // 10 : onset + 2 * rate_hz]


def latency(folder: Path, model: Path, shots: int) -> dict[str, Any]:
    """From the true onset (by sample) to the arrival of the ``new`` message, played from a file at its own pace."""
    sound, at_s = _shots(shots)
    soundfile.write(folder / "shots.wav", sound, RATE_HZ, subtype="PCM_16")
    with private_broker(folder) as port:
        assert port is not None, "mosquitto is not installed"
        daemon = RunningDaemon(folder, {**_hearing(model, port), "audio": _file(folder / "shots.wav")})
        with Receiver(port, folder / "received.sqlite3", site=SITE) as receiver:
            daemon.start()
            daemon.wait(len(sound) / RATE_HZ + 60)
            arrivals = _first_arrivals(receiver)
    delays_s, errors_ms = [], []
    for onset_s in at_s:
        mine = [(a, t) for a, t in arrivals if abs(a["onset"]["sample"] / RATE_HZ - onset_s) < 1.0]
        if mine:
            alert, arrived_s = mine[0]
            error_s = alert["onset"]["sample"] / RATE_HZ - onset_s
            errors_ms.append(1e3 * abs(error_s))
            delays_s.append(arrived_s - _unix(alert["onset"]["utc"]) + error_s)
    return _delays(shots, delays_s, errors_ms)


def pulse_latency(folder: Path, model: Path, shots: int) -> dict[str, Any]:
    """The same through PulseAudio, ALSA and PortAudio. True is when the server's microphone was given the sound:
    buffers of the capture count, and nothing of the daemon's own clock is trusted."""
    from tests.servers.pulse import PulseServer

    sound, at_s = _shots(shots)
    server = PulseServer(Path(tempfile.mkdtemp(dir=folder)))
    server.background = _as_int16(ambience(5.0, RATE_HZ, np.random.default_rng(4)))
    server.start()
    try:
        with private_broker(folder) as port:
            assert port is not None, "mosquitto is not installed"
            audio = {"source": "microphone", "backend": "pulse", "sample_rate_hz": RATE_HZ}
            daemon = RunningDaemon(folder, {**_hearing(model, port), "audio": audio})
            with Receiver(port, folder / "received.sqlite3", site=SITE) as receiver:
                daemon.start(environment=server.environment)
                wait_until(lambda: "first window scored" in daemon.said(), "the daemon hears", 30)
                server.say(_as_int16(sound))
                time.sleep(len(sound) / RATE_HZ + 3.0)
                daemon.stop()
                arrivals = _first_arrivals(receiver)
    finally:
        server.kill()
    delays_s, errors_ms = [], []
    for onset_s in at_s:
        true_s = server.given_at_s(round(onset_s * RATE_HZ))
        mine = [(a, t) for a, t in arrivals if abs(_unix(a["onset"]["utc"]) - true_s) < 1.0]
        if mine:
            alert, arrived_s = mine[0]
            errors_ms.append(1e3 * abs(_unix(alert["onset"]["utc"]) - true_s))
            delays_s.append(arrived_s - true_s)
    return _delays(shots, delays_s, errors_ms)


def _shots(count: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Sound at ``RATE_HZ`` and the onsets in it in seconds. Every shot is another one, 30 to 60 m away; they stand
    5 to 6 s apart, at random phases of the hop."""
    chance = np.random.default_rng(3)
    at_s = 4.0 + np.cumsum(chance.uniform(5.0, 6.0, count))
    sound = ambience(float(at_s[-1]) + 5.0, RATE_HZ, chance).astype(np.float32)
    for onset_s in at_s:
        start = round(onset_s * RATE_HZ)
        shot = 0.35 * gunshot(Gun(), Place(distance_m=chance.uniform(30, 60)), RATE_HZ, chance)
        sound[start : start + len(shot)] += shot
    return sound.clip(-1, 1), at_s


def _hearing(model: Path, port: int) -> dict[str, Any]:
    """Settings under which every shot is an alert of its own."""
    return {
        "detection": {"model": str(model), "refractory_s": 0.5, "merge_s": 1.0, "storm_alerts": 1000},
        "mqtt": {"host": "127.0.0.1", "port": port},
    }


def _file(path: Path) -> dict[str, Any]:
    return {"source": "file", "location": str(path)}


def _as_int16(samples: NDArray[Any]) -> NDArray[np.int16]:
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype(np.int16)


def _first_arrivals(receiver: Receiver) -> list[tuple[dict[str, Any], float]]:
    """Every ``new`` alert with the Unix time at which it was there for the first time."""
    first: dict[str, tuple[dict[str, Any], float]] = {}
    for alert, arrived_s in zip(receiver.payloads("alert"), receiver.arrived_s("alert"), strict=True):
        if alert["phase"] == "new":
            first.setdefault(alert["alert_id"], (alert, arrived_s))
    return list(first.values())


def _delays(shots: int, delays_s: list[float], errors_ms: list[float]) -> dict[str, Any]:
    if not delays_s:
        raise SystemExit("no shot was heard")
    return {
        "shots": shots,
        "found": len(delays_s),
        "onset_to_alert_p50_s": round(float(np.percentile(delays_s, 50)), 3),
        "onset_to_alert_p95_s": round(float(np.percentile(delays_s, 95)), 3),
        "onset_to_alert_max_s": round(max(delays_s), 3),
        "onset_error_p50_ms": round(float(np.percentile(errors_ms, 50)), 2),
    }


def _unix(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def upload(folder: Path, model: Path) -> dict[str, Any]:
    """Memory of daemon and children: idle with S3 configured, and its peak while clips go up to a real S3 server."""
    from tests.servers.s3 import S3Server

    (folder / "swift").mkdir()
    s3 = S3Server(folder / "swift" / "server")
    s3.start()
    s3.client().create_bucket(Bucket="clips")
    (folder / "access").write_text(s3.access_key)
    (folder / "secret").write_text(s3.secret_key)
    chance = np.random.default_rng(3)
    sound = ambience(60.0, RATE_HZ, chance).astype(np.float32)
    shot = _shot()
    for onset_s in (20.0, 30.0, 40.0):
        start = round(onset_s * RATE_HZ)
        sound[start : start + len(shot)] += shot
    soundfile.write(folder / "shots.wav", sound.clip(-1, 1), RATE_HZ, subtype="PCM_16")
    try:
        with private_broker(folder) as port:
            daemon = RunningDaemon(
                folder,
                {
                    "audio": {**_file(folder / "shots.wav"), "ring_s": 45.0},
                    "detection": {"model": str(model)},
                    "mqtt": {"host": "127.0.0.1", "port": port or 1},
                    "clips": {"pre_roll_s": 3.0, "post_roll_s": 3.0, "max_s": 30.0},
                    "storage": {
                        "kind": "s3",
                        "s3": {
                            "bucket": "clips",
                            "endpoint_url": s3.endpoint_url,
                            "path_style": True,
                            "access_key_file": str(folder / "access"),
                            "secret_key_file": str(folder / "secret"),
                            "server_side_encryption": "none",
                        },
                    },
                },
            )
            daemon.start()
            time.sleep(15.0)
            idle_mib = rss_mib(daemon.pid)
            with _peak(daemon.pid) as peak:
                wait_until(lambda: len(s3.keys("clips")) >= 2, "a clip arrives in S3", 90)
                wait_until(lambda: not daemon.running, "the recording ends", 90)
    finally:
        s3.stop()
    return {"idle_rss_mib": round(idle_mib, 1), "peak_rss_mib": round(peak[0], 1)}


@contextlib.contextmanager
def _peak(pid: int) -> Iterator[list[float]]:
    """The highest memory of a process and its children, looked at a hundred times a second."""
    highest = [0.0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError):
                highest[0] = max(highest[0], rss_mib(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield highest
    finally:
        over.set()
        watcher.join()


def soak(folder: Path, model: Path, hours: float) -> dict[str, Any]:
    """The daemon plays recordings of half an hour, as fast as it can, and its memory is read all the while.

    Every minute holds a shot. Growth is what the memory of the last half hour has over that of the half hour after
    the first hour (of quarters, where there is less than two hours).

    Raises:
        ValueError: not more than the first hour.
    """
    if hours < 1.5:
        raise ValueError(f"{hours} hours are too few to see growth after the first")
    recordings = folder / "recordings"
    recordings.mkdir()
    chance = np.random.default_rng(5)
    minute = ambience(60.0, 16_000, chance).astype(np.float32)
    shot = _shot()[::3]
    minute[20 * 16_000 : 20 * 16_000 + len(shot)] += shot
    with soundfile.SoundFile(recordings / "00.wav", "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(30):
            file.write(minute.clip(-1, 1))
    for number in range(1, round(2 * hours)):
        (recordings / f"{number:02d}.wav").symlink_to(recordings / "00.wav")
    with private_broker(folder) as port:
        daemon = RunningDaemon(
            folder,
            {
                "audio": {"source": "folder", "location": str(recordings), "pace": "fast", "sample_rate_hz": 16_000},
                "detection": {"model": str(model)},
                "clips": {"quota_bytes": 50_000_000},
                "mqtt": {"host": "127.0.0.1", "port": port or 1},
            },
        )
        daemon.start()
        began_s = time.monotonic()
        sizes: list[tuple[float, float]] = []
        while daemon.running:
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                sizes.append((time.monotonic() - began_s, rss_mib(daemon.pid)))
        alerts = daemon.database().execute("SELECT count(*) FROM alerts").fetchone()[0]
    took_s = sizes[-1][0]

    def between(first_hour: float, last_hour: float) -> float:
        # The recording goes by evenly.
        return float(np.median([size for at_s, size in sizes if first_hour <= at_s / took_s * hours <= last_hour]))

    span = min(0.5, (hours - 1) / 2)
    early, late = between(1.0, 1.0 + span), between(hours - span, hours)
    return {
        "hours": hours,
        "alerts": alerts,
        "took_s": round(took_s, 1),
        "rss_after_first_hour_mib": round(early, 2),
        "rss_at_end_mib": round(late, 2),
        "growth_mib": round(late - early, 2),
        "exit": daemon.wait(5),
    }


def gate(folder: Path, model: Path) -> dict[str, Any]:
    """CPU of the daemon on quiet noise, without and with the energy gate."""
    figures = {}
    for name, enabled in (("off", False), ("on", True)):
        place = folder / name
        place.mkdir()
        overrides = {
            "detection": {
                "model": str(model),
                "energy_gate": {"enabled": enabled, "level_dbfs": -20.0},
            }
        }
        figures[f"cpu_ms_per_audio_s_gate_{name}"] = daemon_cost(place, model, 0.24, 20.0, overrides).cpu_ms_per_audio_s
    figures["ratio"] = figures["cpu_ms_per_audio_s_gate_on"] / figures["cpu_ms_per_audio_s_gate_off"]
    return {name: round(value, 3) for name, value in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
