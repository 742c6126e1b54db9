"""What `script/demo` runs: broker, daemon and a subscriber, and what they did. Everything lands in demo-out/."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import soundfile
import yaml
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge.bench import BrokerError, private_broker
from edge.delivery.messages import ROOT, Alert, Clip
from trainer.synthesis.scene import Annotation, write_scene

HOME = Path(__file__).resolve().parent.parent
OUT = HOME / "demo-out"
SITE, DEVICE = "demo", "cedar"
SCENE_SEED = 1
console = Console(highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/demo", description="Shots in a forest, alerts on a screen.")
    parser.add_argument("recording", nargs="?", type=Path, help="a recording of yours (default: a made scene)")
    parser.add_argument("--fast", action="store_true", help="as fast as possible instead of the speed of sound")
    options = parser.parse_args()
    if options.recording is not None and not options.recording.is_file():
        return _refused(f"{options.recording}: no such recording")
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    recording, annotations = _scene() if options.recording is None else (options.recording.resolve(), None)
    try:
        with private_broker(OUT) as port:
            if port is None:
                return _refused("mosquitto is not installed (apt-get install mosquitto)")
            viewer = Viewer(port, fast=options.fast)
            code = _listen(_configure(port, recording, options.fast))
            viewer.settle()
    except BrokerError as error:
        return _refused(str(error))
    if code != 0:
        return _refused(_last_words() or f"the daemon ended with exit code {code}; its log is {OUT / 'daemon.log'}", 1)
    viewer.summary(recording, annotations)
    return 0 if viewer.alerts or annotations is None else 1


def _refused(message: str, code: int = 2) -> int:
    """One line, however long: a terminal wraps it, a pipe need not. Nothing in it is markup."""
    Console(stderr=True, highlight=False).print(Text(message, style="red"), soft_wrap=True)
    return code


def _last_words() -> str:
    """What the daemon said as it refused to start; empty if it did not end on such a message."""
    _, found, message = (OUT / "daemon.log").read_text(errors="replace").rpartition("ecosight-edge: ")
    return message.strip() if found else ""


def _scene() -> tuple[Path, list[Annotation]]:
    path = OUT / "scene.wav"
    return path, write_scene(path, SCENE_SEED)


def _configure(port: int, recording: Path, fast: bool) -> Path:
    tree = {
        "site": SITE,
        "device": DEVICE,
        "state_dir": str(OUT / "state"),
        "audio": {"source": "file", "location": str(recording), "pace": "fast" if fast else "real_time"},
        "clips": {"free_floor_bytes": 0},
        "mqtt": {"host": "127.0.0.1", "port": port},
    }
    path = OUT / "edge.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def _listen(config: Path) -> int:
    """Run the real daemon until its recording has ended and everything is delivered."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
    command = [str(Path(sys.executable).with_name("ecosight-edge")), "run", "--config", str(config)]
    with (OUT / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(command, stderr=log, env=environment)
        try:
            return daemon.wait()
        except KeyboardInterrupt:
            daemon.send_signal(signal.SIGTERM)
            return daemon.wait(timeout=10)


class Viewer:
    """A subscriber, as a ranger's phone is one: prints what arrives and remembers it."""

    def __init__(self, port: int, fast: bool) -> None:
        self.alerts: dict[str, Alert] = {}
        self.clips: dict[str, Clip] = {}
        self.latencies_s: dict[str, float] = {}
        self._fast = fast
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "demo-viewer", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/{SITE}/+/+", qos=1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def settle(self) -> None:
        """Take what is still on its way, then leave."""
        time.sleep(0.3)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        arrived = datetime.now(UTC)
        leaf = message.topic.rsplit("/", 1)[-1]
        if leaf == "alert":
            alert = Alert.model_validate_json(message.payload)
            if alert.phase == "new":
                self._say_new(alert, (arrived - alert.onset.utc).total_seconds())
            elif alert.phase == "end":
                console.print(f"  [dim]{arrived:%H:%M:%S}[/] ended: {_shots(alert.shots)} in {alert.duration_s:.1f} s")
            self.alerts[alert.alert_id] = alert
        elif leaf == "clip":
            clip = Clip.model_validate_json(message.payload)
            self.clips[clip.alert_id] = clip
            said = f"  [dim]{arrived:%H:%M:%S}[/] clip {clip.state}: {clip.duration_s:.1f} s, {clip.key}"
            console.print(said, soft_wrap=True)
        elif leaf == "availability":
            console.print(f"  [dim]{arrived:%H:%M:%S}[/] {DEVICE} is {json.loads(message.payload)['state']}")

    def _say_new(self, alert: Alert, latency_s: float) -> None:
        text = f"  [dim]{datetime.now(UTC):%H:%M:%S}[/] [bold red]{alert.label}[/] score {alert.score:.2f}"
        if not self._fast:
            self.latencies_s[alert.alert_id] = latency_s
            text += f", [bold]{latency_s:.2f} s after the shot[/]"
        console.print(text)

    def summary(self, recording: Path, annotations: list[Annotation] | None) -> None:
        """What arrived, and where it is."""
        rate_hz = soundfile.info(recording).samplerate
        alerts = sorted(self.alerts.values(), key=lambda a: a.onset.sample)
        table = Table(title="Alerts")
        for heading in ("onset in the recording", "label", "score", "shots", "onset to alert"):
            table.add_column(heading, justify="right")
        for alert in alerts:
            delay_s = self.latencies_s.get(alert.alert_id)
            table.add_row(
                f"{alert.onset.sample / rate_hz:.3f} s",
                alert.label,
                f"{alert.score:.2f}",
                str(alert.shots),
                "" if delay_s is None else f"{delay_s:.2f} s",
            )
        console.print(table)
        if annotations is not None:
            shots = sum(len(a.onsets_s) for a in annotations if a.shot)
            console.print(f"The scene has {shots} shots; {sum(a.shots for a in alerts)} were counted.")
        if self.latencies_s:
            middle = sorted(self.latencies_s.values())[len(self.latencies_s) // 2]
            console.print(f"Onset to alert: median {middle:.2f} s, worst {max(self.latencies_s.values()):.2f} s.")
        console.print("Clips, each with its JSON beside it:")
        for clip in (self.clips[a.alert_id] for a in alerts if a.alert_id in self.clips):
            place = str(_clip_file(clip)) if clip.state == "uploaded" else f"{clip.state} {clip.reason}"
            console.print(f"  {place}", soft_wrap=True)
        console.print(f"Log, configuration and sound: {OUT.relative_to(HOME)}/")


def _shots(count: int) -> str:
    return "1 shot" if count == 1 else f"{count} shots"


def _clip_file(clip: Clip) -> Path:
    return (OUT / "state" / "storage" / clip.key).relative_to(HOME)


if __name__ == "__main__":
    sys.exit(main())
