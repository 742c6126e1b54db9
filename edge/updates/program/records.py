"""What root's updater remembers, in files that the shell script before a start reads and writes too.

    /var/lib/ecosight-update/
        trial             ``new=b`` and ``back=a``: environment b is being tried, and a is the way back
        failed            the same, with ``why=…``: b must not run again as it is; there until the updater has noted it
        starts.UNIT       how often that unit was started in the trial since it was last well
        state.json        what is tried, what was refused and why, the highest floor that was ever seen
        status.json       what the daemon tells of it; the one file that everybody may read
        metadata/         TUF's memory
        wheels/           the verified copy, while it is needed

``failed`` is written before the way back is taken, and ``trial`` goes after it: whatever is cut off in between, the
next start or the next run of the updater finds it and goes on.
"""

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from edge.durable import commit_bytes, sync
from edge.updates import state_file
from edge.updates.program.environments import SLOTS

Phase = Literal["idle", "installing", "probation", "failed"]


class Status(BaseModel):
    """``status.json``: what an update of the program is doing."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    state: Phase = "idle"
    version: str = ""
    """Of the program that is being tried, or was."""
    error: str = ""
    """Why the last one did not stay."""
    at: AwareDatetime = datetime.fromtimestamp(0, UTC)


class Trial(BaseModel):
    """What ``trial`` or ``failed`` says."""

    model_config = ConfigDict(frozen=True)

    new: Literal["a", "b"]
    back: Literal["a", "b"]
    why: str = ""


class State(BaseModel):
    """``state.json``."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    target: str = ""
    """What is being tried."""
    version: str = ""
    refused: dict[str, str] = {}
    """Targets that did not stay, and why: they are not tried again."""
    floor: int = 0
    deaf_before: bool = False
    """The program before heard nothing either (see `watch`)."""


class Records:
    """``/var/lib/ecosight-update`` below ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.folder = root / "var" / "lib" / "ecosight-update"
        self.trust = self.folder / "metadata"
        self.wheels = self.folder / "wheels"

    def trial(self) -> Trial | None:
        return self._read("trial")

    def failed(self) -> Trial | None:
        return self._read("failed")

    def begin_trial(self, new: str, back: str) -> None:
        """From now on starts are counted."""
        for starts in self.folder.glob("starts.*"):
            starts.unlink()
        self._write("trial", f"new={new}\nback={back}\n")

    def fail(self, trial: Trial, why: str) -> None:
        """``new`` must not run again as it is. The way back is taken after this."""
        plain = " ".join(why.split())
        self._write("failed", f"new={trial.new}\nback={trial.back}\nwhy={plain}\n")

    def end_trial(self) -> None:
        """It is confirmed, or taken back."""
        self._remove("trial")
        for starts in self.folder.glob("starts.*"):
            starts.unlink()

    def forget_failure(self) -> None:
        """It stands in ``state.json`` now."""
        self._remove("failed")

    def was_well(self) -> None:
        """The starts so far do not count: the program has run well since."""
        for starts in self.folder.glob("starts.*"):
            starts.unlink()

    def state(self) -> State:
        """A damaged file is set aside and begun anew: the worst is that a bad program is tried once more."""
        path = self.folder / "state.json"
        try:
            return state_file.read(State, path)
        except ValueError:
            path.replace(path.with_suffix(".damaged"))
            return State()

    def keep(self, state: State) -> None:
        state_file.write(self.folder / "state.json", state)

    def tell(self, state: Phase, version: str = "", error: str = "") -> None:
        """For everybody who asks what the update is doing."""
        status = Status(state=state, version=version, error=error, at=datetime.now(UTC))
        path = self.folder / "status.json"
        state_file.write(path, status)
        path.chmod(0o644)

    def status(self) -> Status:
        """What was told last. Readable to everybody; never raises."""
        try:
            return state_file.read(Status, self.folder / "status.json")
        except (OSError, ValueError):
            return Status()

    def _read(self, name: str) -> Trial | None:
        try:
            text = (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        said = dict(line.partition("=")[::2] for line in text.splitlines())
        if said.get("new") not in SLOTS or said.get("back") not in SLOTS or said["new"] == said["back"]:
            # Never written so: what it meant cannot be known, and what runs goes on.
            self._remove(name)
            return None
        return Trial.model_validate(said)

    def _write(self, name: str, text: str) -> None:
        commit_bytes(self.folder / name, text.encode())

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder / name).unlink()
            sync(self.folder)
