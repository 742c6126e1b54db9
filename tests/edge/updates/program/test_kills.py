"""Power is cut between any two steps of an update of the program, and at random moments: what runs is whole, and the
next run ends it."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.updates.program.environments import Content
from edge.updates.program.records import Records
from tests.edge.updates.program.programs import BEFORE_START, MACHINE, UNIT, Device, health

DEAF = ".666"
"""Ends the versions of programs that hear nothing."""


class Remembered:
    """A unit that is well unless its version says that it is deaf, and stands in a file: it outlives the updater, as
    systemd does."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / "unit.json"

    def _now(self) -> dict[str, object]:
        return json.loads(self._file.read_text())  # type: ignore[no-any-return]

    @property
    def version(self) -> str:
        whole = Path(str(self._now()["python"])).parent.parent / ".whole"
        return Content.model_validate_json(whole.read_bytes()).version

    def running(self) -> list[str]:
        return [UNIT]

    def pid(self, unit: str) -> int | None:
        return int(str(self._now()["pid"]))

    def environment(self, unit: str) -> str | None:
        return str(self._now()["python"])

    def restart(self, unit: str) -> None:
        subprocess.run(["sh", BEFORE_START, unit, self._root], check=True, capture_output=True)
        program = (self._root / "opt/ecosight/bin/ecosight-edge").resolve()
        pid = int(str(self._now()["pid"])) + 1 if self._file.exists() else 1
        self._file.write_text(json.dumps({"pid": pid, "python": str(program.parent / "python")}))

    def health(self, unit: str):  # type: ignore[no-untyped-def]
        return health("no_audio" if self.version.endswith(DEAF) else "ok", 1, self.version)


class Cut(Device):
    """A device on which an update is cut off, whose folder can be put back as it was."""

    def run(self, die_at: int = 0, die_after: tuple[int, float] | None = None) -> list[str]:
        """One run of the updater in a process of its own, killed at its ``die_at``th step, or (so many steps, and
        seconds after that) ``die_after`` with all its children, as systemd kills a unit; the steps that it said."""
        said = self.root.parent / "steps"
        said.write_text("")
        units: Any = Remembered(self.root)

        def step(name: str) -> None:
            with said.open("a") as file:
                file.write(f"{name}\n")
            if len(said.read_text().splitlines()) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setsid()
                self.updater(units, step=step, sleep=lambda _: None).run()
                code = 0
            finally:
                os._exit(code)
        until_s = None
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if die_after and until_s is None and len(said.read_text().splitlines()) >= die_after[0]:
                until_s = time.monotonic() + die_after[1]
            if until_s is not None and time.monotonic() > until_s:
                with contextlib.suppress(ProcessLookupError):  # it has only just begun
                    os.killpg(child, signal.SIGKILL)
            time.sleep(0.002)
        assert os.waitstatus_to_exitcode(ended[1]) in (0, -signal.SIGKILL)
        return said.read_text().splitlines()

    def boot(self) -> None:
        """The unit starts after a power cut."""
        Remembered(self.root).restart(UNIT)

    def save(self) -> None:
        shutil.copytree(self.root / "var", self.root.parent / "saved")
        shutil.copy(self.root / "unit.json", self.root.parent)
        self._current = self.environments.current or ""

    def restore(self, unbuilt: bool = False) -> None:
        """As it was, but that environment b is left as it is, where it need not be built again."""
        shutil.rmtree(self.root / "var")
        shutil.copytree(self.root.parent / "saved", self.root / "var")
        shutil.copy(self.root.parent / "unit.json", self.root)
        self.environments.switch(self._current)
        if unbuilt:
            shutil.rmtree(self.environments.path("b"))

    @property
    def version(self) -> str:
        """Of the program that a start would run; it is whole."""
        content = self.environments.content(self.environments.current or "")
        assert content is not None
        return content.version

    @property
    def says(self) -> str:
        """What the program itself says that it is, once started."""
        program = self.environments.folder / "bin/ecosight-edge"
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    @property
    def unit_runs(self) -> str:
        """The version that the unit's process runs."""
        return Remembered(self.root).version


@pytest.fixture
def device(tmp_path: Path, empty_environment: Path) -> Iterator[Cut]:
    device = Cut(tmp_path, empty_environment, probation_s=0.0)
    device.boot()
    device.offer("2.0", number=2)
    yield device


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)], ids=["some", "every"])
def test_an_update_that_is_cut_off_at_any_step_ends_with_the_new_program(device: Cut, every: bool) -> None:
    device.save()
    steps = device.run(0)
    assert device.unit_runs == device.version == "2.0"
    assert len(steps) >= 13, steps
    # A build takes seconds, and the steps before it change nothing: of these, one amid it and the last.
    built = steps.index("built") + 1
    build = set(range(1, built)) if every else {steps.index(name) + 1 for name in ("made", "whole")}
    for place in sorted(build | set(range(built, len(steps) + 1))):
        device.restore(unbuilt=place in build)
        device.run(place)
        device.boot()
        assert device.version == device.unit_runs in ("1.0", "2.0"), steps[place - 1]
        device.run(0)
        assert (device.version, device.unit_runs) == ("2.0", "2.0"), steps[place - 1]
        records = Records(device.root)
        assert (records.trial(), records.failed(), records.state().refused) == (None, None, {}), steps[place - 1]
        assert records.status().state == "idle", steps[place - 1]
        assert not (device.state_dir / "updates/program-request").exists(), steps[place - 1]


def test_a_way_back_that_is_cut_off_at_any_step_ends_with_the_old_program(device: Cut) -> None:
    device.run(0)
    records = Records(device.root)
    # As if it were still on trial, and the script before a start had seen enough of it.
    state = records.state()
    state.target, state.version = "programs/2.0/x.json", "2.0"
    records.keep(state)
    records.begin_trial(new="b", back="a")
    trial = records.trial()
    assert trial is not None
    records.fail(trial, "it died")
    device.save()
    steps = device.run(0)
    assert (device.version, device.unit_runs) == ("1.0", "1.0")
    for place in range(1, len(steps) + 1):
        device.restore()
        device.run(place)
        if place % 2:  # a power cut; else only the updater was killed
            device.boot()
            assert device.unit_runs == "1.0", steps[place - 1]
        device.run(0)
        assert (device.version, device.unit_runs) == ("1.0", "1.0"), steps[place - 1]
        assert records.state().refused == {"programs/2.0/x.json": "it died"}
        assert (records.trial(), records.failed(), records.status().state) == (None, None, "failed")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
def test_kills_at_random_moments_leave_a_program_that_runs_and_an_update_that_ends(device: Cut, kills: int) -> None:
    """Every third program hears nothing, and must go again. Half of the kills are power cuts: the unit starts anew."""
    chance = random.Random(kills)
    steps = device.run()
    records, stays, number, killed = Records(device.root), "2.0", 2, Counter[str]()

    def published() -> tuple[str, str]:
        version = f"{number}{DEAF if number % 3 == 0 else '.0'}"
        target = device.offer(version, number=number)
        assert f'"fetched":{{"kind":"program","target":"{target}"' in device.said, device.said
        return version, target

    def settled() -> bool:
        return (
            target in records.state().refused
            if wanted.endswith(DEAF)
            else records.status().version == wanted and (records.status().state == "idle")
        )

    number += 1
    wanted, target = published()
    for _ in range(kills):
        # Building takes seconds, most others no time at all.
        place = chance.randrange(len(steps))
        after_s = chance.uniform(0.0, 2.0 if "copied" in steps[max(0, place - 4) : place] else 0.05)
        killed[["begun", *device.run(die_after=(place, after_s))][-1]] += 1
        if chance.random() < 0.5:
            device.boot()
            assert device.unit_runs == device.version
        assert device.says == device.version in (stays, wanted)
        assert device.unit_runs in (stays, wanted)
        if settled():
            device.run()  # whatever was left to be done
            stays = stays if wanted.endswith(DEAF) else wanted
            assert (device.version, device.unit_runs) == (stays, stays)
            number += 1
            wanted, target = published()
    device.run()
    assert settled()
    stays = stays if wanted.endswith(DEAF) else wanted
    assert (device.says, device.unit_runs, records.trial(), records.failed()) == (stays, stays, None, None)
    assert sorted(records.state().refused) == sorted(
        f"programs/{one}{DEAF}/{MACHINE}.json" for one in range(3, number + 1, 3)
    )
    print(f"{kills} kills, {number} programs, after: {dict(killed)}")


# --- the script before a start ---------------------------------------------------------------------------------------

TOOLS = ("readlink", "mv", "rm", "ln", "sync", "cat", "head")


class Bare:
    """A folder with two environments that are nothing but whole, for the script alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = Records(root)
        self.records.folder.mkdir(parents=True)
        self.opt = root / "opt/ecosight"
        for slot in "ab":
            (self.opt / slot / "bin").mkdir(parents=True)
            (self.opt / slot / ".whole").touch()
            (self.opt / slot / "bin/ecosight-edge").write_text("#!/bin/sh\n")
            (self.opt / slot / "bin/ecosight-edge").chmod(0o755)
        (self.opt / "current").symlink_to("b")
        self.log = root / "commands"

    def start(self, kill_at: int = 0, after: bool = False, unit: str = UNIT) -> int:
        """One start; every command that the script runs is a step, before or after which it can be killed."""
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        self.log.write_text("")
        for tool in TOOLS:
            real = shutil.which(tool)
            kill = f'[ "$(wc -l <{self.log})" = {kill_at} ] && kill -9 $PPID'
            lines = ["#!/bin/sh", f"echo {tool} >>{self.log}", "" if after else kill, f'{real} "$@"', "code=$?"]
            (tools / tool).write_text("\n".join([*lines, kill if after else "", "exit $code"]))
            (tools / tool).chmod(0o755)
        environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", BEFORE_START, unit, self.root], env=environment, capture_output=True, timeout=60)
        assert done.returncode in (0, -9), done.stderr
        return len(self.log.read_text().splitlines())

    @property
    def current(self) -> str:
        return str((self.opt / "current").readlink())


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path / "device")


def test_three_starts_are_tried_and_the_fourth_goes_back(bare: Bare) -> None:
    bare.records.begin_trial("b", "a")
    for _ in range(3):
        bare.start()
        assert bare.current == "b"
    bare.start()
    assert bare.current == "a"
    failed = bare.records.failed()
    assert failed is not None
    assert "started 3 times" in failed.why


def test_without_a_trial_starts_are_not_counted(bare: Bare) -> None:
    for _ in range(10):
        bare.start()
    assert bare.current == "b"
    assert not list(bare.records.folder.iterdir())


def test_two_units_count_their_starts_apart(bare: Bare) -> None:
    bare.records.begin_trial("b", "a")
    for _ in range(3):
        bare.start()
        bare.start(unit="ecosight-edge@north.service")
    assert bare.current == "b"
    bare.start(unit="ecosight-edge@north.service")
    assert bare.current == "a"


def test_an_environment_that_is_not_whole_is_left_for_the_other(bare: Bare) -> None:
    (bare.opt / "b/.whole").unlink()
    bare.start()
    assert bare.current == "a"


def test_with_no_whole_environment_the_link_stays_and_the_start_is_not_hindered(bare: Bare) -> None:
    for slot in "ab":
        (bare.opt / slot / ".whole").unlink()
    bare.start()
    assert bare.current == "b"


@pytest.mark.parametrize("content", ["", "new=b\n", "nonsense", "new=../../etc\nback=/\n", "\0\0\0"])
def test_a_damaged_note_neither_stops_the_start_nor_moves_anything(bare: Bare, content: str) -> None:
    for name in ("trial", "failed"):
        (bare.records.folder / name).write_text(content)
    (bare.records.folder / f"starts.{UNIT}").write_text("99999999999999999999x")
    bare.start()
    assert bare.current == "b"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_starts_that_are_cut_off_anywhere_still_end_with_the_way_back(bare: Bare, after: bool) -> None:
    """The cut is in the fourth start, which goes back; one start more, and it has gone back all the same."""
    bare.records.begin_trial("b", "a")
    for _ in range(3):
        bare.start()
    commands = bare.start()
    assert bare.current == "a"
    assert commands >= 10
    for place in range(1, commands + 1):
        shutil.rmtree(bare.root)
        bare = Bare(bare.root)
        bare.records.begin_trial("b", "a")
        for _ in range(3):
            bare.start()
        bare.start(kill_at=place, after=after)
        assert bare.current in "ab"
        assert (bare.opt / bare.current / "bin/ecosight-edge").exists()
        bare.start()
        assert bare.current == "a", place
        bare.start()
        assert bare.current == "a", place
