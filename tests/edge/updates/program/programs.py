"""Small programs in real wheels, a device in a folder that runs them, and what its daemon has downloaded.

Environments, installations, signatures, the fetch process and the shell script are the real ones; the program is one
page, and systemd is `Supervisor`.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from edge.delivery.messages import Health, ModelName, Moment
from edge.updates.program.environments import Content, Environments
from edge.updates.program.kind import REQUEST
from edge.updates.program.updater import ProgramUpdater
from edge.updates.release import Stage
from tests.edge.updates.simulated_repository import SimulatedRepository

REPOSITORY = Path(__file__).resolve().parents[4]
BEFORE_START = REPOSITORY / "systemd" / "before-start"
UNIT = "ecosight-edge.service"
MACHINE = os.uname().machine
SITE, DEVICE = "forest", "cedar"

PROGRAM = """
import sys, time
VERSION, BEHAVIOUR = {version!r}, {behaviour!r}
def app():
    if "--version" in sys.argv:
        print(VERSION)
    elif "doctor" in sys.argv:
        assert "--beside" in sys.argv
        if BEHAVIOUR == "sick":
            print("model FAILS the golden vectors do not come out")
            sys.exit(1)
    elif BEHAVIOUR == "dies":
        sys.exit(1)
    else:
        while True:
            time.sleep(60)
"""


def wheel(version: str, behaviour: str = "good") -> tuple[str, bytes]:
    """Name and content of a wheel that installs ``ecosight-edge``: good, sick, dies, broken (no program)."""
    info = f"ecosight-{version}.dist-info"
    files = {
        "tiny_edge.py": PROGRAM.format(version=version, behaviour=behaviour),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: ecosight\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\n"
        + ("" if behaviour == "broken" else "ecosight-edge = tiny_edge:app\n"),
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"ecosight-{version}-py3-none-any.whl", buffer.getvalue()


class Device:
    """A device below a folder, with version 1.0 in environment a, and a repository that it is told of."""

    def __init__(self, folder: Path, template: Path, probation_s: float = 1.0) -> None:
        """``template`` is an empty virtual environment: a copy takes a tenth of a second, a new one several."""
        self.root = folder / "device"
        self._template = template
        self.state_dir = self.root / "var/lib/ecosight-edge"
        self.repository = SimulatedRepository(folder / "repository")
        folder.mkdir(parents=True, exist_ok=True)
        copies = folder / "python3"
        copies.write_text(f'#!/bin/sh\ntest "$1 $2 $3" = "-m venv --without-pip" && exec cp -a "{template}" "$4"\n')
        copies.chmod(0o755)
        self.environments = Environments(self.root, python=str(copies))
        (self.state_dir / "updates").mkdir(parents=True)
        (self.root / "etc/ecosight").mkdir(parents=True)
        (self.root / "var/lib/ecosight-update").mkdir(parents=True)
        settings = {
            "site": SITE,
            "device": DEVICE,
            "state_dir": str(self.state_dir),
            "clips": {"free_floor_bytes": 0},
            "updates": {
                "root": str(self.repository.root_file),
                "probation_s": probation_s,
                "url": self.repository.folder.as_uri(),
            },
        }
        (self.root / "etc/ecosight/edge.yaml").write_text(json.dumps(settings))
        self.install_by_hand("1.0")

    def install_by_hand(self, version: str) -> None:
        """As the installer does it: into environment a, which runs then."""
        slot = self.environments.path("a")
        slot.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self._template, slot, symlinks=True)
        site = next((slot / "lib").glob("python3*")) / "site-packages"
        (site / "tiny_edge.py").write_text(PROGRAM.format(version=version, behaviour="good"))
        program = slot / "bin/ecosight-edge"
        program.write_text(f"#!{slot}/bin/python\nfrom tiny_edge import app\napp()\n")
        program.chmod(0o755)
        (slot / ".whole").write_text(Content(version=version).model_dump_json())
        self.environments.switch("a")
        (self.environments.folder / "bin").mkdir(exist_ok=True)
        (self.environments.folder / "bin/ecosight-edge").symlink_to("../current/bin/ecosight-edge")

    def offer(self, version: str, number: int, behaviour: str = "good", fraction: float = 1.0) -> str:
        """Publish a program, and let the daemon have downloaded it. Returns the target of its manifest."""
        name, content = wheel(version, behaviour)
        folder = self.repository.add_program(version, number, {name: content}, MACHINE)
        self.repository.choose("stable", program=Stage(wanted=folder, fraction=fraction))
        self.repository.publish()
        self.download()
        return f"{folder}/{MACHINE}.json"

    def download(self) -> None:
        """The fetch process, and the request that the daemon makes after it."""
        asked = {"kinds": ["program"], "into": str(self.state_dir / "updates/download"), "clock_synchronised": True}
        done = subprocess.run(
            [sys.executable, "-m", "edge.updates.fetching.fetch", "--config", self.root / "etc/ecosight/edge.yaml"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=120,
            cwd=REPOSITORY,
        )
        assert done.returncode in (0, 1), done.stderr
        self.said = done.stdout
        self.request()

    def request(self) -> None:
        (self.state_dir / REQUEST).touch()

    def before_start(self, unit: str = UNIT, **environment: str) -> subprocess.CompletedProcess[str]:
        """What systemd runs before each start."""
        return subprocess.run(
            ["sh", str(BEFORE_START), unit, str(self.root)],
            capture_output=True,
            text=True,
            timeout=30,
            env={"PATH": os.environ["PATH"], **environment},
        )

    @property
    def version(self) -> str:
        """Of the program that a start would run."""
        program = self.environments.folder / "bin/ecosight-edge"
        return subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()

    @property
    def refused(self) -> dict[str, str]:
        return self.updater(Supervisor(self)).records.state().refused

    def updater(self, units: "Supervisor", **more: object) -> ProgramUpdater:
        sleep = more.pop("sleep", None) or units.pass_time
        return ProgramUpdater(self.root, units, self.environments, synchronised=lambda: True, sleep=sleep, **more)  # type: ignore[arg-type]


class Supervisor:
    """systemd with one unit: the script before each start, the program as a process, a restart whenever it ends."""

    def __init__(self, device: Device, health: str = "ok") -> None:
        self._device = device
        self._process: subprocess.Popen[bytes] | None = None
        self._python = ""
        self.state = health
        self.starts = 0
        self._windows = 0

    def start(self) -> None:
        done = self._device.before_start()
        assert done.returncode == 0, done.stderr
        self.starts += 1
        program = self._device.environments.folder / "bin/ecosight-edge"
        self._python = program.resolve().read_text().partition("\n")[0].removeprefix("#!")
        self._process = subprocess.Popen([program, "run"], stderr=subprocess.DEVNULL)

    def pass_time(self, _: float) -> None:
        """While the updater sleeps, the service manager does its work."""
        if self._process is not None:
            try:
                self._process.wait(0.25)
                self.start()
            except subprocess.TimeoutExpired:
                pass

    def running(self) -> list[str]:
        return [UNIT] if self._process is not None else []

    def pid(self, unit: str) -> int | None:
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def environment(self, unit: str) -> str | None:
        return self._python or None

    def restart(self, unit: str) -> None:
        self.stop()
        self.start()

    def health(self, unit: str) -> Health | None:
        self._windows += 1
        return health(self.state, self._windows, self._device.version)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def health(state: str, windows: int, version: str) -> Health:
    moment = Moment.model_validate(
        {
            "utc": "2026-11-20T12:00:00Z",
            "clock_synchronised": True,
            "boot_id": "b",
            "boot_s": 1.0,
            "clock_epoch": 0,
            "sample": 0,
        }
    )
    fields = {
        "site": SITE,
        "device": DEVICE,
        "at": moment,
        "uptime_s": 1.0,
        "state": state,
        "windows": windows,
        "version": version,
    }
    return Health.model_validate({**fields, "model": ModelName(name="m", version="1")})
