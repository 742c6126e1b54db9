"""A unit that is really running: the daemon on quiet forest, a small model in slot a, and a repository to look at."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from edge.updates.model import state as states
from edge.updates.model.state import Held, State, slot_path
from edge.updates.offer import Release
from edge.updates.release import Stage
from tests.edge.updates.model.candidates import candidate
from tests.edge.updates.simulated_repository import Served, SimulatedRepository
from tests.running import RunningDaemon, end_all
from trainer.synthesis.scene import ambience

RATE = 16_000
PATIENCE_S = 240.0
"""For anything; the machine may have other things to do."""


class Unit(RunningDaemon):
    """See the module. ``shadow_s`` and ``probation_s`` are short."""

    program: ClassVar[tuple[str, ...]] = ("-m", "tests.edge.updates.model.daemon_of_tests")

    def __init__(self, folder: Path, quiet: Path, repository: SimulatedRepository, url: str, **updates: Any) -> None:
        super().__init__(
            folder,
            {
                "audio": {"source": "file", "location": str(quiet), "ring_s": 15.0},
                "mqtt": {"host": "127.0.0.1", "port": 9, "reconnect_max_s": 60},
                "storage": {"kind": "none"},
                "updates": {
                    "url": url,
                    "root": str(repository.root_file),
                    "shadow_s": 0.5,
                    "probation_s": 1.0,
                    **updates,
                },
            },
        )
        self.repository = repository

    def install(self, content: bytes) -> Release:
        """Put a model into slot a, as an update that was confirmed."""
        path = slot_path(self.state_dir, "a")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        release = release_of(content, number=1)
        states.write(self.state_dir, State(active="a", slots={"a": Held(release=release, confirmed=True)}))
        return release

    def publish(self, content: bytes, number: int, name: str = "loud", **stage: Any) -> Release:
        """Make this what everybody shall run."""
        release = release_of(content, number, name)
        if f"models/{name}-{release.version}.tflite" not in self.repository.targets_of("models").targets:
            self.repository.add_model(content, name, release.version, number=number)
        self.repository.choose("stable", model=Stage(**{"wanted": release.target, "fraction": 1.0, **stage}))
        self.repository.publish()
        return release

    @property
    def state(self) -> State:
        return states.look(self.state_dir)

    def until(self, true: Callable[[State], Any], what: str, timeout_s: float = PATIENCE_S) -> State:
        """Wait for the state on disk to be so."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if true(found := self.state):
                return found
            if self._process is not None and not self.running:
                raise AssertionError(f"{what}: the daemon ended\n{self.said()}")
            time.sleep(0.02)
        raise AssertionError(f"{what}: not within {timeout_s} s\n{self.state}\n{self.said()}")

    def confirmed(self, release: Release) -> State:
        return self.until(
            lambda s: s.phase == "idle" and s.active is not None and s.slots[s.active].release.sha256 == release.sha256
            and s.slots[s.active].confirmed,
            f"{release.version} confirmed",
        )  # fmt: skip


def release_of(content: bytes, number: int, name: str = "loud") -> Release:
    from edge.detection.model_file import parse

    file = parse(content)
    version = file.manifest.version
    return Release(
        kind="model",
        target=f"models/{name}-{version}.tflite",
        number=number,
        name=name,
        version=version,
        sha256=file.sha256,
        length=len(content),
    )


@pytest.fixture(scope="session")
def still_forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes without a shot, 16 kHz."""
    sound = ambience(20.0, RATE, np.random.default_rng(7), level=0.001).astype(np.float32)
    path = tmp_path_factory.mktemp("forest") / "still.wav"
    soundfile.write(path, np.tile(sound, 30), RATE, subtype="PCM_16")
    return path


@pytest.fixture
def unit(tmp_path: Path, still_forest: Path, repository: SimulatedRepository, server: Served) -> Iterator[Unit]:
    """With model 1 in slot a, and nothing published yet."""
    folder = tmp_path / "unit"
    folder.mkdir()
    unit = Unit(folder, still_forest, repository, server.url)
    unit.install(candidate("1"))
    yield unit
    end_all()
