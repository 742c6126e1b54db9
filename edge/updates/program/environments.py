"""Two virtual environments, one of which runs. For root's updater; the shell script before a start knows the same.

    /opt/ecosight/a, b              the environments; ``.whole`` in one says that it is complete, and of what
    /opt/ecosight/current           a link to the one that runs; changed with one rename
    /opt/ecosight/bin/ecosight-…    links through ``current``, which units and people use

An environment is never changed while it runs: the other one is emptied and filled, and it counts for nothing until its
``.whole`` is on disk.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.aside import aside
from edge.durable import commit_bytes, sync
from edge.updates.program.filling import FillError, compile_share, fill, shares
from edge.updates.program.wheels import Wheel

SLOTS = ("a", "b")
WHOLE = ".whole"
BUILD_S = 1800.0
"""Filling an environment on a slow card takes minutes; what hangs must end."""


class BuildError(RuntimeError):
    """An environment could not be filled. The text is for people."""


class Content(BaseModel):
    """What ``.whole`` says. Of an environment that a person installed, only the version is known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str = ""
    target: str = ""
    number: int = 0


class Environments:
    """``/opt/ecosight`` below ``root``."""

    def __init__(self, root: Path = Path("/"), python: str = "/usr/bin/python3") -> None:
        """``python`` is the system's own: one in a home folder cannot be seen by the service."""
        self.folder = root / "opt" / "ecosight"
        self.current_link = self.folder / "current"
        self._python = python

    @property
    def current(self) -> str | None:
        """The slot that runs; None where nothing is installed in this way."""
        try:
            name = self.current_link.readlink().name
        except OSError:
            return None
        return name if name in SLOTS else None

    @property
    def idle(self) -> str:
        """The other one."""
        return "b" if self.current == "a" else "a"

    def path(self, slot: str) -> Path:
        return self.folder / slot

    def content(self, slot: str) -> Content | None:
        """What is in it; None where it is not whole."""
        if not os.access(self.path(slot) / "bin" / "ecosight-edge", os.X_OK):
            return None
        try:
            text = (self.path(slot) / WHOLE).read_bytes()
        except OSError:
            return None
        try:
            return Content.model_validate_json(text)
        except ValidationError:  # made by the installer, or by a later version
            return Content()

    def build(
        self,
        staging: Path,
        wheels: Sequence[Wheel],
        content: Content,
        step: Callable[[str], None] = lambda name: None,
    ) -> str:
        """Fill the idle slot with ``wheels``, files in ``staging``, and with nothing else; returns the slot.

        Raises:
            BuildError: they cannot be installed. The slot is not whole then.
            OSError: the disk.
        """
        slot = self.idle
        folder = self.path(slot)
        self._empty(folder)
        step("emptied")
        # Without pip: the new environment brings no index and nobody who would ask one.
        _run([self._python, "-m", "venv", "--without-pip", str(folder)], "the environment cannot be made")
        step("made")
        aside(lambda: _fill(folder, staging, wheels), BuildError, BUILD_S)
        for share in shares(folder):
            aside(functools.partial(compile_share, share), BuildError, BUILD_S)
        step("filled")
        os.sync()  # thousands of files, once
        commit_bytes(folder / WHOLE, content.model_dump_json().encode())
        step("whole")
        return slot

    def switch(self, slot: str, step: Callable[[str], None] = lambda name: None) -> None:
        """Let ``slot`` be what runs from the next start on: one rename, on disk when this returns."""
        fresh = self.folder / ".current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(slot)
        step("linked")
        fresh.replace(self.current_link)
        sync(self.folder)

    def _empty(self, folder: Path) -> None:
        if folder.exists():
            (folder / WHOLE).unlink(missing_ok=True)
            sync(folder)
            shutil.rmtree(folder)


def _fill(folder: Path, staging: Path, wheels: Sequence[Wheel]) -> str:
    try:
        fill(folder, staging, wheels)
    except FillError as error:
        raise BuildError(str(error)) from error
    return ""


def _run(command: Sequence[str], doing: str) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}  # nothing of the caller's
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{doing}: not done after {BUILD_S:g} s") from error
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise BuildError(f"{doing}: {' / '.join(said[-3:]) or f'exit code {done.returncode}'}")
