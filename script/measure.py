"""What `script/bench` measures beside `ecosight-edge bench`: time to the alert, memory in an upload, memory over a day.

    script/measure.py latency [--shots 40]     onset to alert at a subscriber, at the speed of sound
    script/measure.py upload                   memory of the unit, idle with S3 configured and while it uploads
    script/measure.py soak [--hours 24]        memory growth over hours of sound, replayed by the daemon itself
    script/measure.py gate                     what the energy gate saves on quiet sound

Needs Google's file (ECOSIGHT_YAMNET) or a model (--model), Mosquitto, and Swift for `upload`. Prints one JSON object.
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

from converters.backbone import find_yamnet  # noqa: E402
from converters.build import model_from_yamnet  # noqa: E402
from edge.bench import daemon_cost, private_broker, rss_mib  # noqa: E402
from tests.integration.receiver import Receiver, wait_until  # noqa: E402
from tests.running import SITE, RunningDaemon  # noqa: E402
from trainer.scene import ambience, demo_scene  # noqa: E402
from trainer.synth import Gun, Place, gunshot  # noqa: E402

RATE_HZ = 48_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "upload", "soak", "gate"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--shots", type=int, default=40)
    parser.add_argument("--hours", type=float, default=24.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecosight-measure-") as folder:
        model = options.model or _model(Path(folder))
        figures = {
            "latency": lambda: latency(Path(folder), model, options.shots),
            "upload": lambda: upload(Path(folder), model),
            "soak": lambda: soak(Path(folder), model, options.hours),
            "gate": lambda: gate(Path(folder), model),
        }[options.what]()
    print(json.dumps(figures, indent=2))
    return 0


def _model(folder: Path) -> Path:
    path = folder / "model.tflite"
    model_from_yamnet(
        find_yamnet(HOME / ".cache", [HOME.parent / "shared" / "data" / "yamnet" / "yamnet.tflite"]), path
    )
    return path


def _shot() -> NDArray[np.float32]:
    """One shot of the demo scene: a tenth of a second before its onset, two seconds after."""
    samples, rate_hz, annotations = demo_scene()
    onset = round(next(a for a in annotations if a.shot).onset_s * rate_hz)
    return samples[onset - rate_hz // 10 : onset + 2 * rate_hz]


def latency(folder: Path, model: Path, shots: int) -> dict[str, Any]:
    """From the true onset (by sample) to the arrival of the ``new`` message. Every shot is another one, 30 to 60 m
    away; they stand 5 to 6 s apart, at random phases of the hop."""
    chance = np.random.default_rng(3)
    at_s = 4.0 + np.cumsum(chance.uniform(5.0, 6.0, shots))
    sound = ambience(float(at_s[-1]) + 5.0, RATE_HZ, chance).astype(np.float32)
    for onset_s in at_s:
        start = round(onset_s * RATE_HZ)
        shot = 0.35 * gunshot(Gun(), Place(distance_m=chance.uniform(30, 60)), RATE_HZ, chance)
        sound[start : start + len(shot)] += shot
    soundfile.write(folder / "shots.wav", sound.clip(-1, 1), RATE_HZ, subtype="PCM_16")
    with private_broker(folder) as port:
        assert port is not None, "mosquitto is not installed"
        daemon = RunningDaemon(
            folder,
            {
                "audio": {"source": "file", "location": str(folder / "shots.wav")},
                "detection": {"model": str(model), "refractory_s": 0.5, "merge_s": 1.0, "storm_alerts": 1000},
                "mqtt": {"host": "127.0.0.1", "port": port},
            },
        )
        with Receiver(port, folder / "received.sqlite3", site=SITE) as receiver:
            daemon.start()
            daemon.wait(len(sound) / RATE_HZ + 60)
            new = [a for a in receiver.payloads("alert") if a["phase"] == "new"]
            every = zip(receiver.payloads("alert"), receiver.arrived_s("alert"), strict=True)
            arrived_s = {(alert["alert_id"], alert["seq"]): at_s for alert, at_s in every}
    delays, onset_errors_ms = [], []
    for onset_s in at_s:
        true_sample = round(onset_s * RATE_HZ)
        mine = [a for a in new if abs(a["onset"]["sample"] - true_sample) < RATE_HZ]
        if mine:
            off_s = (mine[0]["onset"]["sample"] - true_sample) / RATE_HZ
            onset_errors_ms.append(abs(off_s) * 1e3)
            at_unix_s = arrived_s[mine[0]["alert_id"], mine[0]["seq"]]
            delays.append(at_unix_s - _unix(mine[0]["onset"]["utc"]) + off_s)
    return {
        "shots": shots,
        "found": len(delays),
        "onset_to_alert_p50_s": round(float(np.percentile(delays, 50)), 3),
        "onset_to_alert_p95_s": round(float(np.percentile(delays, 95)), 3),
        "onset_to_alert_max_s": round(max(delays), 3),
        "onset_error_p50_ms": round(float(np.percentile(onset_errors_ms, 50)), 2),
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
                    "audio": {"source": "file", "location": str(folder / "shots.wav"), "ring_s": 45.0},
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
            with contextlib.suppress(OSError, StopIteration):
                highest[0] = max(highest[0], rss_mib(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield highest
    finally:
        over.set()
        watcher.join()


def soak(folder: Path, model: Path, hours: float) -> dict[str, Any]:
    """The daemon plays an hour's file over and over, as fast as it can, and its memory is read after each."""
    hour = folder / "hours"
    hour.mkdir()
    chance = np.random.default_rng(5)
    minute = ambience(60.0, 16_000, chance).astype(np.float32)
    shot = _shot()[::3]
    minute[20 * 16_000 : 20 * 16_000 + len(shot)] += shot[: len(minute) - 20 * 16_000]
    with soundfile.SoundFile(hour / "00.wav", "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(minute.clip(-1, 1))
    for number in range(1, round(hours)):
        (hour / f"{number:02d}.wav").symlink_to(hour / "00.wav")
    with private_broker(folder) as port:
        daemon = RunningDaemon(
            folder,
            {
                "audio": {"source": "folder", "location": str(hour), "pace": "fast", "sample_rate_hz": 16_000},
                "detection": {"model": str(model)},
                "clips": {"quota_bytes": 50_000_000},
                "mqtt": {"host": "127.0.0.1", "port": port or 1},
            },
        )
        daemon.start()
        sizes: list[tuple[float, float]] = []
        hour_frames = 3600 * 16_000 // 3840  # windows an hour
        while daemon.running:
            time.sleep(0.5)
            with contextlib.suppress(OSError, StopIteration):
                sizes.append((time.monotonic(), rss_mib(daemon.pid)))
    began_s, ended_s = sizes[0][0], sizes[-1][0]
    per_hour_s = (ended_s - began_s) / max(1, round(hours))

    def at(hour_number: float) -> float:
        near = [s for t, s in sizes if abs((t - began_s) / per_hour_s - hour_number) < 0.5]
        return float(np.median(near))

    return {
        "hours": hours,
        "windows": round(hours) * hour_frames,
        "took_s": round(ended_s - began_s, 1),
        "rss_after_first_hour_mib": round(at(1.0), 2),
        "rss_at_end_mib": round(at(round(hours) - 0.5), 2),
        "growth_mib": round(at(round(hours) - 0.5) - at(1.0), 2),
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
