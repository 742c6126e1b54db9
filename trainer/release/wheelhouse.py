"""Makes wheelhouses: this program and everything that it needs, a folder of wheels for each machine that devices have.

    made = make(repository, Path("wheelhouse"))      # wheelhouse/x86_64/*.whl, wheelhouse/aarch64/*.whl
    ecosight-trainer release publish --program wheelhouse/x86_64 --program wheelhouse/aarch64

One folder serves several Pythons; a device takes only what its own needs (`program.wheels`). pip chooses and
downloads, wheels only, in the versions of constraints.txt; needs a network.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edge.updates.program.wheels import Python, WheelError, needed
from edge.updates.release import Wheelhouse
from trainer.release import ReleaseError

MACHINES: tuple[str, ...] = get_args(Wheelhouse.model_fields["machine"].annotation)
PYTHONS: tuple[Python, ...] = ((3, 11), (3, 13))
"""What Raspberry Pi OS ships: 12 and 13. Other distributions' Pythons are named with ``--python``."""
OLDEST_GLIBC, NEWEST_GLIBC = 5, 36
"""Minor versions of glibc 2: what manylinux begins with (PEP 600), and what Debian 12 has."""
EXTRA = "s3"
"""What an installed device has beside the bare program (script/install-device)."""
_ANY_DIGEST = "0" * 64


@dataclass(frozen=True)
class Made:
    """Wheelhouses on disk."""

    folders: dict[str, Path]
    """By machine."""

    def bytes_for(self, machine: str, python: Python) -> int:
        """What a device downloads that has none of it. Raises WheelError: nothing for this Python."""
        folder = self.folders[machine]
        wheels = needed([f"programs/wheels/{_ANY_DIGEST}.{file.name}" for file in folder.iterdir()], machine, python)
        return sum((folder / wheel.file).stat().st_size for wheel in wheels)


def make(
    repository: Path,
    into: Path,
    machines: Sequence[str] = MACHINES,
    pythons: Sequence[Python] = PYTHONS,
    wheel: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Made:
    """Build the program's wheel from ``repository`` (or take ``wheel``) and download what it needs into ``into``.

    Raises:
        ReleaseError: ``into`` is not empty, or pip finds no set of wheels for one of the machines.
        OSError: the disk.
    """
    if into.exists() and any(into.iterdir()):
        raise ReleaseError(f"{into} is not empty; name a new folder")
    constraints = repository / "constraints.txt"
    if not constraints.is_file():
        raise ReleaseError(f"{constraints} is missing: run this in a checkout of the repository, or name one")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ecosight-wheelhouse-") as scratch:
        if wheel is None:
            say("building the program's wheel")
            wheel = _build(repository, Path(scratch))
        elif not wheel.is_file():
            raise ReleaseError(f"{wheel}: there is no such wheel")
        made = Made({machine: into / machine for machine in machines})
        for machine, folder in made.folders.items():
            folder.mkdir()
            shutil.copy2(wheel, folder)
            for python in pythons:
                say(f"what it needs on {machine} with Python {python[0]}.{python[1]}")
                _download(folder / wheel.name, constraints, machine, python, folder)
                try:
                    made.bytes_for(machine, python)
                except WheelError as error:
                    raise ReleaseError(f"{folder}: {error}") from error
    return made


def _build(repository: Path, into: Path) -> Path:
    _pip("wheel", "--no-deps", "--wheel-dir", str(into), str(repository), doing="the program's wheel cannot be built")
    return next(into.glob("ecosight-*.whl"))


def _download(wheel: Path, constraints: Path, machine: str, python: Python, into: Path) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    named = [part for platform in (*platforms, f"manylinux2014_{machine}") for part in ("--platform", platform)]
    version = f"{python[0]}.{python[1]}"
    options = ["--only-binary", ":all:", "--python-version", version, *named, "--constraint", str(constraints)]
    doing = f"nothing fits Python {version} on {machine}"
    _pip("download", *options, "--dest", str(into), f"{wheel}[{EXTRA}]", doing=doing)


def _pip(*arguments: str, doing: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("WARNING"))
        raise ReleaseError(f"{doing}:\n{said}")
