"""What an update of the model is at, in one small file that is written before each step.

``STATE_DIR/updates/state.json``, by the daemon alone; others only read. Phases of a candidate:

    idle → downloading → verifying → trial → probation → idle
                             └──────────┴────────┴──→ idle, and the target is among those that failed

``active`` is the slot whose model runs; None: it came another way (a file of one's own, or the one that ships).
"""

import logging
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge.updates import state_file
from edge.updates.offer import Release
from edge.updates.release import Floor, Sha256, TargetPath

log = logging.getLogger(__name__)

Slot = Literal["a", "b"]
Phase = Literal["idle", "downloading", "verifying", "trial", "probation"]
SLOTS: tuple[Slot, Slot] = ("a", "b")
FOLDER = "updates"
NAME = "state.json"
FAILURES_KEPT = 20
HISTORY_KEPT = 50
DIE_AT = "ECOSIGHT_DIE_AT"
"""For tests: the process kills itself at the step of this name, as a power cut would."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class Held(_Kept):
    """What stands in a slot."""

    release: Release
    confirmed: bool = False
    """It has passed a probation here."""


class Failed(_Kept):
    """A release that is not tried again, unless a person asks or the repository names another first."""

    target: TargetPath
    sha256: Sha256
    why: str
    at: AwareDatetime


class Past(_Kept):
    """One line of the history."""

    at: AwareDatetime
    event: Literal["switched", "confirmed", "failed", "rolled_back", "pinned", "unpinned", "withdrawn"]
    name: str = ""
    version: str = ""
    sha256: str = ""
    why: str = ""


class Before(_Kept):
    """How the model did that ran before the one on probation."""

    alarms_per_h: float = Field(default=0.0, ge=0)
    hits: float = Field(default=0.0, ge=0, le=1)
    """Share of the windows at or above a threshold."""
    inference_ms: float | None = None
    path: Path | None = None
    """Its file, so that it can listen on beside the new one."""


class State(_Kept):
    """See the module."""

    schema_version: Literal[1] = 1
    phase: Phase = "idle"
    candidate: Release | None = None
    """What is being tried; none while idle."""
    active: Slot | None = None
    slots: dict[Slot, Held] = {}
    previous: Slot | None = None
    """On probation: where to go back to."""
    before: Before = Before()
    attempts: int = Field(default=0, ge=0)
    """Times that a trial of the candidate was begun."""
    starts: int = Field(default=0, ge=0)
    """Starts of the daemon on probation, since the last that was seen to be healthy."""
    starts_in_all: int = Field(default=0, ge=0)
    """The same, healthy or not."""
    watched_s: float = Field(default=0.0, ge=0)
    """Sound heard on probation by earlier starts."""
    failed: list[Failed] = Field(default=[], max_length=1000)
    error: str = ""
    """Why the last update did not stay."""
    pinned: bool = False
    floor: Floor = Floor()
    offered: Release | None = None
    checked_at: AwareDatetime | None = None
    history: list[Past] = Field(default=[], max_length=1000)

    def why_failed(self, release: Release) -> str | None:
        """What was wrong with this very file when it was tried; None if it was not, or stayed."""
        return next((one.why for one in reversed(self.failed) if one.sha256 == release.sha256), None)

    def holding(self, sha256: str) -> Slot | None:
        """The slot with this file in it, once confirmed."""
        return next(
            (slot for slot, held in self.slots.items() if held.release.sha256 == sha256 and held.confirmed), None
        )

    def past(self, event: str, release: Release | None, why: str = "") -> dict[str, Any]:
        """The change that adds a line to the history."""
        line: dict[str, Any] = {"at": datetime.now(UTC), "event": event, "why": why[:500]}
        if release is not None:
            line |= {"name": release.name, "version": release.version, "sha256": release.sha256}
        return {"history": [*self.history, Past.model_validate(line)][-HISTORY_KEPT:]}


def folder(state_dir: Path) -> Path:
    """Everything of updates but the slots themselves."""
    return state_dir / FOLDER


def slot_path(state_dir: Path, slot: Slot) -> Path:
    return state_dir / "models" / f"slot_{slot}.tflite"


def read(state_dir: Path) -> State:
    """The state as it stands on disk. A fresh one where there is none, or none that can be read.

    Raises:
        ValueError: the file is there and damaged.
        OSError: it is there and cannot be read.
    """
    return state_file.read(State, folder(state_dir) / NAME)


def look(state_dir: Path) -> State:
    """Like ``read``, for those who only want to know which model runs; a fresh state where nothing can be said."""
    try:
        return read(state_dir)
    except (OSError, ValueError):
        return State()


def write(state_dir: Path, state: State) -> None:
    """Raises OSError; the file is as it was then."""
    state_file.write(folder(state_dir) / NAME, state)


def set_aside(state_dir: Path) -> Path | None:
    """Rename a damaged file, so that a fresh one can be begun. None where it cannot be renamed."""
    damaged = folder(state_dir) / NAME
    for number in range(1, 100):
        aside = damaged.with_name(f"{NAME}.damaged-{number}")
        if not aside.exists():
            try:
                damaged.rename(aside)
            except OSError:
                break
            return aside
    return None


def step(name: str) -> None:
    """Between two steps of an update. Tests end the process here (`DIE_AT`)."""
    if os.environ.get(DIE_AT) == name:
        os.kill(os.getpid(), signal.SIGKILL)
