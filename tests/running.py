"""The real daemon as a process of its own, for tests that kill it and watch it."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, ClassVar

import yaml

SITE, DEVICE = "forest", "cedar"


class RunningDaemon:
    """``ecosight-edge run`` on a configuration of its own, in a folder of its own."""

    program: ClassVar[tuple[str, ...]] = ("-m", "edge")
    """What the interpreter runs."""

    started: ClassVar["list[RunningDaemon]"] = []
    """All of them, so that a test that fails leaves none behind (`end_all`)."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.log = folder / "daemon.log"
        self.config = folder / "edge.yaml"
        self._tree = {
            "site": SITE,
            "device": DEVICE,
            "state_dir": str(self.state_dir),
            "clips": {"pre_roll_s": 1.0, "post_roll_s": 1.0, "max_s": 8.0, "free_floor_bytes": 0},
            "audio": {"ring_s": 15.0},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(settings)

    def configure(self, settings: dict[str, Any]) -> None:
        """Change the configuration file; sections are merged."""
        for key, value in settings.items():
            if isinstance(value, dict):
                self._tree[key] = {**self._tree.get(key, {}), **value}
            else:
                self._tree[key] = value
        self.config.write_text(yaml.safe_dump(self._tree))

    def start(self, environment: dict[str, str] | None = None, stdin: int | None = None) -> None:
        RunningDaemon.started.append(self)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.program, "run", "--config", str(self.config)],
                stdin=stdin,
                stdout=log,
                stderr=log,
                env={**inherited, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """What ``start(stdin=subprocess.PIPE)`` opened."""
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut ends it: at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """The exit code once its recording has ended."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.state_dir / 'outbox.sqlite3'}?mode=ro", uri=True)


def end_all() -> None:
    """Kill whatever a test left running."""
    while RunningDaemon.started:
        RunningDaemon.started.pop().kill()
