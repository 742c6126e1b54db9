"""The fetch process as the daemon starts it, on a device in a folder of its own."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge.settings import EdgeSettings, load
from edge.updates.fetching.fetch import Run
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace
from edge.updates.offer import Failure, Fetched, Line, Offer, Progress, Request

REPOSITORY = Path(__file__).resolve().parents[3]
QUICK = Limits(pause_s=0.01, attempts=3)
"""As on a device, but for the pauses."""
IMPATIENT = dataclasses.replace(QUICK, slow_window_s=0.6, slowest_bytes_per_s=50_000, silence_s=2)
"""For servers that are slow, so that tests need not wait for a minute."""
WITH_LIMITS = """
import json, sys
from edge.updates.fetching import fetch
from edge.updates.fetching.limits import Limits
fetch.LOOK_EVERY_S = 0.1
code = fetch.main(sys.argv[2:], Limits(**json.loads(sys.argv[1])))
print(*(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


@dataclass
class Answer:
    """All that one process said."""

    code: int
    said: str
    lines: list[Line] = field(default_factory=list)

    @property
    def peak_kib(self) -> int:
        """Largest resident size of the process."""
        return int(self.said.rpartition("VmHWM:")[2].split()[0])

    @property
    def offer(self) -> Offer | None:
        found = [line.offer for line in self.lines if line.offer]
        assert len(found) <= 1, self.lines
        assert not found or self.lines[0].offer, "the offer comes first"
        return found[0] if found else None

    @property
    def fetched(self) -> list[Fetched]:
        return [line.fetched for line in self.lines if line.fetched]

    @property
    def progress(self) -> list[Progress]:
        return [line.progress for line in self.lines if line.progress]

    @property
    def errors(self) -> list[Failure]:
        return [line.error for line in self.lines if line.error]

    @property
    def error(self) -> str:
        """The code of the only error; empty where there was none."""
        assert len(self.errors) <= 1, self.errors
        return self.errors[0].code if self.errors else ""


class Device:
    """``folder`` holds its configuration, its state and its downloads."""

    def __init__(self, folder: Path, url: str, root: Path, limits: Limits = QUICK, **updates: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.into = folder / "download"
        self.metadata = folder / "state" / "updates" / "metadata"
        self.config = folder / "edge.yaml"
        self.limits = limits
        self.tree: dict[str, Any] = {
            "site": "forest",
            "device": "cedar",
            "state_dir": str(folder / "state"),
            "clips": {"free_floor_bytes": 0},
            "updates": {"url": url, "root": str(root), **updates},
        }

    def request(self, kinds: Sequence[str] = ("model", "program", "overlay"), **more: Any) -> str:
        return json.dumps({"kinds": list(kinds), "into": str(self.into), "clock_synchronised": True, **more})

    def command(self) -> list[str]:
        self.config.write_text(yaml.safe_dump(self.tree))
        limits = json.dumps(dataclasses.asdict(self.limits))
        return [sys.executable, "-c", WITH_LIMITS, limits, "--config", str(self.config)]

    def start(self, kinds: Sequence[str] = ("model", "program", "overlay"), **more: Any) -> subprocess.Popen[str]:
        """The process, with its request given."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")}
        process = subprocess.Popen(
            self.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**inherited, "PYTHONPATH": str(REPOSITORY)},
        )
        assert process.stdin is not None
        process.stdin.write(self.request(kinds, **more) + "\n")
        process.stdin.flush()
        return process

    def fetch(self, kinds: Sequence[str] = ("model", "program", "overlay"), **more: Any) -> Answer:
        """The same run without the cost of a process. A traceback fails the test: whatever happens, a device says it in
        one line."""
        return self.run(self.settings(), kinds, **more)

    def settings(self) -> EdgeSettings:
        """As its configuration says."""
        self.config.write_text(yaml.safe_dump(self.tree))
        return load(self.config, {})

    def run(
        self, settings: EdgeSettings, kinds: Sequence[str] = ("model", "program", "overlay"), **more: Any
    ) -> Answer:
        """`fetch`, of which this file writes nothing."""
        request = Request.model_validate_json(self.request(kinds, **more))
        answers = io.StringIO()
        pace = Pace(self.limits, settings.updates.download_timeout_s)
        code = Run(settings, request, answers, self.limits).run(pace)
        return Answer(code, "", [Line.model_validate_json(line) for line in answers.getvalue().splitlines()])

    def fetch_in_a_process(self, kinds: Sequence[str] = ("model", "program", "overlay"), **more: Any) -> Answer:
        """The process from start to end."""
        process = self.start(kinds, **more)
        out, said = process.communicate(timeout=120)
        assert "Traceback" not in said, said
        return Answer(process.returncode, said, [Line.model_validate_json(line) for line in out.splitlines()])

    def look(self, **more: Any) -> Answer:
        """Downloads nothing."""
        return self.fetch([], **more)

    def set(self, section: str, **values: Any) -> None:
        self.tree[section] = {**self.tree.get(section, {}), **values}
