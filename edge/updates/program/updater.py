"""Root's updater: from what the daemon has downloaded to a program that runs, or back.

    python -m edge.updates.program.updater     # by ecosight-update.service, when the daemon asks or a trial goes on

look (signatures, floor, machine, Python, disk) → copy the wheels → build the idle environment → try it beside the
running daemon → note the trial → switch → restart → watch → confirm, or go back and note why. It has no network. Every
step is on disk before the next; a run that was cut off anywhere is gone on with, or undone, by the next one, and the
shell script before each start (systemd/before-start) goes back without asking any Python. What takes memory, TUF and
the installation, is done in children (`edge.aside`): this process waits for a whole probation beside the detector.

The daemon's request says nothing but "look": what is wanted, the signed metadata say.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from edge.aside import aside
from edge.durable import make_folder
from edge.settings import EdgeSettings, SettingsError, load
from edge.updates.program.environments import BuildError, Content, Environments
from edge.updates.program.kind import REQUEST
from edge.updates.program.records import Records, Trial
from edge.updates.program.signed_copy import CopyError, SignedCopy
from edge.updates.program.trying import RefusedError, in_my_place, try_beside
from edge.updates.program.watch import LOOK_S, Systemd, Units, Watch, slot_of
from edge.updates.program.wheels import Wheel, WheelError, needed, unpacked_bytes
from edge.updates.release import ProgramTarget, Wheelhouse

log = logging.getLogger(__name__)

CONFIGURATION = Path("etc/ecosight/edge.yaml")
LOOK_DEADLINE_S = 600.0
COPY_DEADLINE_S = 1800.0
UNPACKED_RATIO = 1.5
"""Installed wheels with their compiled files, to what their archives say."""
SPARE_BYTES = 100_000_000


class Look(BaseModel):
    """What the child that asks TUF found. The floor counts even where the rest cannot be used."""

    floor: int
    wanted: tuple[str, ProgramTarget, Wheelhouse] | None = None
    error: str = ""


class ProgramUpdater:
    """See the module. ``root`` is ``/`` but in tests; ``step`` is told of every step as it has been done."""

    def __init__(
        self,
        root: Path,
        units: Units,
        environments: Environments | None = None,
        step: Callable[[str], None] = lambda name: None,
        sleep: Callable[[float], None] = time.sleep,
        synchronised: Callable[[], bool] | None = None,
        environment: Mapping[str, str] | None = None,
        try_program: Callable[[str, Path], None] | None = None,
    ) -> None:
        self.root = root
        self.records = Records(root)
        self.environments = environments or Environments(root)
        self._units = units
        self._step = step
        self._sleep = sleep
        self._synchronised = synchronised or _synchronised
        self._environment = environment if environment is not None else {}
        self._try_program = try_program

    def run(self) -> None:
        """One run: what was cut off, then what is asked."""
        make_folder(self.records.folder)
        self.records.folder.chmod(0o755)
        self._settle_failure()
        trial = self.records.trial()
        try:
            settings = load(self.root / CONFIGURATION, self._environment)
        except SettingsError as error:
            # Nothing new on a device whose configuration cannot be read; what is being tried is still watched.
            settings = EdgeSettings()
            log.error("%s", error)
            self.records.tell("failed", error=str(error))
            if trial is None:
                (settings.state_dir / REQUEST).unlink(missing_ok=True)
                return
        if trial is None and os.path.lexists(settings.state_dir / REQUEST):
            trial = self._take(settings)
        if trial is not None:
            self._watch(trial, settings)

    def _take(self, settings: EdgeSettings) -> Trial | None:
        trial = None
        try:
            trial = self._install(settings)
        except (CopyError, WheelError, BuildError, RefusedError, OSError) as error:
            log.error("the program stays as it is: %s", error)
            self.records.tell("failed", error=str(error))
        except Exception as error:
            log.exception("the program stays as it is")
            self.records.tell("failed", error=f"a fault in the updater: {error!r}")
        # Last: whoever waits for what was told must not wait for ever, and only what is asked for is begun anew.
        (settings.state_dir / REQUEST).unlink(missing_ok=True)
        self._step("request removed")
        return trial

    def _install(self, settings: EdgeSettings) -> Trial | None:
        if not self._synchronised():
            raise CopyError("the clock is not set, so nobody can say whether the signatures have expired")
        state = self.records.state()
        look = Look.model_validate_json(aside(lambda: self._look(settings), CopyError, LOOK_DEADLINE_S))
        floor = max(state.floor, look.floor)
        if floor != state.floor:
            state.floor = floor
            self.records.keep(state)
        if look.error:
            raise CopyError(look.error)
        self._step("looked")
        current = self.environments.current
        if look.wanted is None or current is None:
            self.records.tell("idle")
            return None
        target, release, house = look.wanted
        running = self.environments.content(current)
        if running is not None and (target == running.target or release.version == running.version):
            self.records.tell("idle", release.version)
            return None
        if target in state.refused:
            self.records.tell("failed", release.version, state.refused[target])
            return None
        if release.number < floor:
            raise CopyError(f"{target} is release {release.number}; maintainers allow none under {floor}")
        self.records.tell("installing", release.version)
        content = Content(version=release.version, target=target, number=release.number)
        slot = self.environments.idle
        if self.environments.content(slot) != content:
            slot = self._build(settings, needed(house.wheels, os.uname().machine), content)
        self._step("built")
        try:
            if self._try_program is not None:
                self._try_program(target, self.environments.path(slot))
            else:
                try_beside(self.environments.path(slot), self.root / CONFIGURATION, self._environment)
        except RefusedError as error:
            state.refused[target] = str(error)
            self.records.keep(state)
            raise
        self._step("tried")
        state.target, state.version = target, release.version
        state.deaf_before = any(
            health is None or health.state == "no_audio"
            for health in (self._units.health(unit) for unit in self._units.running())
        )
        self.records.keep(state)
        self._step("noted")
        self.records.begin_trial(slot, current)
        self._step("trial began")
        return self.records.trial()

    def _look(self, settings: EdgeSettings) -> str:
        copy = SignedCopy(settings, self.records.trust, settings.updates.root.read_bytes())
        floor = copy.floor().program
        try:
            return Look(floor=floor, wanted=copy.wanted()).model_dump_json()
        except CopyError as error:
            return Look(floor=floor, error=str(error)).model_dump_json()

    def _copy(self, settings: EdgeSettings, wheels: list[Wheel]) -> str:
        copy = SignedCopy(settings, self.records.trust, settings.updates.root.read_bytes())
        self._need(sum(copy.length(wheel.target) for wheel in wheels), self.records.wheels)
        for wheel in wheels:
            copy.copy(wheel.target, self.records.wheels / wheel.file)
        return ""

    def _build(self, settings: EdgeSettings, wheels: list[Wheel], content: Content) -> str:
        staging = self.records.wheels
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            aside(lambda: self._copy(settings, wheels), CopyError, COPY_DEADLINE_S)
            self._step("copied")
            unpacked = sum(unpacked_bytes(staging / wheel.file) for wheel in wheels)
            self._need(int(unpacked * UNPACKED_RATIO), self.environments.folder)
            return self.environments.build(staging, wheels, content, self._step)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _need(self, size_bytes: int, folder: Path) -> None:
        disk = os.statvfs(folder)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < size_bytes + SPARE_BYTES:
            raise CopyError(
                f"disk_full: {folder} has {free_bytes / 1e6:.0f} MB free; "
                f"{(size_bytes + SPARE_BYTES) / 1e6:.0f} MB are needed"
            )

    def _watch(self, trial: Trial, settings: EdgeSettings) -> None:
        """Go on with a trial, from the switch to its end."""
        state = self.records.state()
        if self.environments.current != trial.new:
            self.environments.switch(trial.new, self._step)
        self._step("switched")
        self.records.tell("probation", state.version)
        self._leave(trial.back)
        self._step("restarted")
        watch = Watch(
            self._units, settings.updates.probation_s, state.deaf_before, state.version, self.records.was_well
        )
        while True:
            if self.records.failed() is not None:
                self._settle_failure()
                return
            if self.records.trial() != trial:
                return  # somebody has installed by hand meanwhile
            verdict = watch.look()
            if verdict == "":
                # Told first: while the trial stands, the updater is started again; after it, nobody would tell.
                self.records.tell("idle", state.version)
                self._step("told")
                self.records.end_trial()
                log.info("program %s is confirmed", state.version)
                self._step("confirmed")
                return
            if verdict is not None:
                self.records.fail(trial, verdict)
                self._step("failure noted")
                self._settle_failure()
                return
            self._sleep(LOOK_S)

    def _settle_failure(self) -> None:
        """After a failure that this run or the script before a start has noted: the way back, and why."""
        failed = self.records.failed()
        if failed is None:
            return
        if self.environments.current == failed.new and self.environments.content(failed.back) is not None:
            self.environments.switch(failed.back, self._step)
            self._step("switched back")
        state = self.records.state()
        why = failed.why or "it did not stay up"
        if state.target:
            state.refused[state.target] = why
        version, state.target, state.version = state.version, "", ""
        self.records.keep(state)
        self._step("refusal noted")
        self._leave(failed.new)
        self._step("restarted")
        self.records.end_trial()
        self._step("trial ended")
        self.records.tell("failed", version, why)
        self.records.forget_failure()
        log.error("program %s was taken back: %s", version, why)

    def _leave(self, slot: str) -> None:
        """Restart the units that still run out of ``slot``, or out of an installation without slots."""
        for unit in self._units.running():
            python = self._units.environment(unit)
            if python is not None and slot_of(python) in (slot, None):
                self._units.restart(unit)


def _synchronised() -> bool:
    from edge.audio.system_time import SystemTime

    return SystemTime().synchronised()


def main(arguments: Sequence[str]) -> int:
    """``arguments``: none, or what `trying` found: the target that was tried, and why it is refused, or nothing."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("tuf").setLevel("WARNING")

    def alone(target: str, environment: Path) -> None:
        if list(arguments[:1]) != [target]:
            again = [sys.executable, "-I", "-m", "edge.updates.program.updater"]
            in_my_place(target, environment, Path("/") / CONFIGURATION, again)
        if arguments[1]:
            raise RefusedError(arguments[1])

    ProgramUpdater(Path("/"), Systemd(), try_program=alone).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
