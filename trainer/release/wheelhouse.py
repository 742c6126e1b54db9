"""Makes a wheelhouse: this program and everything that it needs, for every machine and Python that devices have.

    made = make(repository, Path("wheelhouse"))      # wheelhouse/x86_64.json, wheelhouse/aarch64.json, wheelhouse/wheels/

The folder is laid out as the targets of a release are (`edge.updates.release`): ``<machine>.json`` becomes
``programs/<version>/<machine>.json``, and ``wheels/<sha256>.<file>`` becomes ``programs/wheels/<sha256>.<file>``. Wheels that
serve several Pythons or both machines are in it once.

pip chooses and downloads, wheels only, in the versions of constraints.txt; needs a network.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edge.updates.release import Wheelhouse
from edge.updates.wheels import Python, WheelError, needed

MACHINES: tuple[str, ...] = get_args(Wheelhouse.model_fields["machine"].annotation)
PYTHONS: tuple[Python, ...] = ((3, 11), (3, 13))
"""What Raspberry Pi OS ships: 12 and 13. Other distributions' Pythons are a question of their ``--python``."""
OLDEST_GLIBC, NEWEST_GLIBC = 5, 36
"""Minor versions of glibc 2: what manylinux begins with (PEP 600), and what Debian 12 has."""
EXTRA = "s3"
"""What an installed device has beside the bare program (script/install-device)."""


class WheelhouseError(RuntimeError):
    """It cannot be made, or is not what it should be. The text says why and what to do."""


@dataclass(frozen=True)
class Made:
    """A wheelhouse on disk."""

    folder: Path
    version: str
    documents: dict[str, Wheelhouse]
    """By machine."""
    files: dict[str, Path]
    """Every wheel by its target path."""

    def bytes_for(self, machine: str, python: Python) -> int:
        """What one device downloads that has none of it."""
        wheels = needed(self.documents[machine].wheels, machine, python)
        return sum(self.files[wheel.target].stat().st_size for wheel in wheels)


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
        WheelhouseError: ``into`` is not empty, or pip finds no set of wheels for one of the machines.
        OSError: the disk.
    """
    if into.exists() and any(into.iterdir()):
        raise WheelhouseError(f"{into} is not empty; name a new folder")
    constraints = repository / "constraints.txt"
    if not constraints.is_file():
        raise WheelhouseError(f"{constraints} is missing: run this in a checkout of the repository")
    with tempfile.TemporaryDirectory(prefix="ecosight-wheelhouse-") as scratch:
        if wheel is None:
            say("building the program's wheel")
            wheel = _build(repository, Path(scratch) / "own")
        elif not wheel.is_file():
            raise WheelhouseError(f"{wheel}: there is no such wheel")
        version = version_of(wheel)
        documents: dict[str, Wheelhouse] = {}
        for machine in machines:
            found: set[Path] = {wheel}
            for python in pythons:
                say(f"what it needs on {machine} with Python {python[0]}.{python[1]}")
                folder = Path(scratch) / f"{machine}-{python[0]}.{python[1]}"
                found |= _download(wheel, constraints, machine, python, folder)
            wheels = sorted({_keep(file, into / "wheels") for file in found})
            documents[machine] = Wheelhouse.model_validate({"version": version, "machine": machine, "wheels": wheels})
    for machine, document in documents.items():
        text = json.dumps(document.model_dump(mode="json"), indent=1) + "\n"
        (into / f"{machine}.json").write_text(text, encoding="utf-8")
    made = read(into)
    for machine in machines:
        for python in pythons:
            needed(made.documents[machine].wheels, machine, python)
    return made


def read(folder: Path) -> Made:
    """A wheelhouse that was made before, with every file checked against its digest.

    Raises:
        WheelhouseError: a document or a wheel is missing, damaged or of another version.
    """
    documents: dict[str, Wheelhouse] = {}
    files: dict[str, Path] = {}
    for machine in MACHINES:
        file = folder / f"{machine}.json"
        if not file.is_file():
            continue
        try:
            documents[machine] = Wheelhouse.model_validate_json(file.read_bytes())
        except ValueError as error:
            raise WheelhouseError(f"{file}: {error}") from error
        if documents[machine].machine != machine:
            raise WheelhouseError(f"{file} is for {documents[machine].machine}")
        for target in documents[machine].wheels:
            files[target] = folder / "wheels" / target.rpartition("/")[2]
    versions = {document.version for document in documents.values()}
    if len(versions) != 1:
        raise WheelhouseError(f"{folder}: expected one version, found {', '.join(sorted(versions)) or 'no wheelhouse'}")
    for target, path in files.items():
        if not path.is_file():
            raise WheelhouseError(f"{path} is missing; make the wheelhouse again")
        if _sha256(path) != target.rpartition("/")[2][:64]:
            raise WheelhouseError(f"{path} is not what its name says; make the wheelhouse again")
    return Made(folder, versions.pop(), documents, files)


def version_of(wheel: Path) -> str:
    """The version of the program in a wheel.

    Raises:
        WheelhouseError: it is not a wheel of EcoSight.
    """
    found = re.fullmatch(r"ecosight-([A-Za-z0-9][A-Za-z0-9_.]*)-py3-none-any\.whl", wheel.name)
    if found is None or not zipfile.is_zipfile(wheel):
        raise WheelhouseError(f"{wheel}: expected the program's wheel, ecosight-VERSION-py3-none-any.whl")
    return found[1]


def _build(repository: Path, into: Path) -> Path:
    _pip("wheel", "--no-deps", "--wheel-dir", str(into), str(repository), doing="the program's wheel cannot be built")
    return next(into.glob("ecosight-*.whl"))


def _download(wheel: Path, constraints: Path, machine: str, python: Python, into: Path) -> set[Path]:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    named = [part for platform in (*platforms, f"manylinux2014_{machine}") for part in ("--platform", platform)]
    version = f"{python[0]}.{python[1]}"
    options = ["--only-binary", ":all:", "--python-version", version, *named, "--constraint", str(constraints)]
    doing = f"nothing fits Python {version} on {machine}"
    _pip("download", *options, "--dest", str(into), f"{wheel}[{EXTRA}]", doing=doing)
    return {file for file in into.glob("*.whl") if file.name != wheel.name}


def _pip(*arguments: str, doing: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("WARNING"))
        raise WheelhouseError(f"{doing}:\n{said}")


def _keep(file: Path, into: Path) -> str:
    """Put a wheel under the name of its target; returns the target path."""
    name = f"{_sha256(file)}.{file.name}"
    into.mkdir(parents=True, exist_ok=True)
    if not (into / name).exists():
        shutil.copyfile(file, into / name)
    return f"programs/wheels/{name}"


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


__all__ = ["MACHINES", "PYTHONS", "Made", "WheelError", "WheelhouseError", "make", "read", "version_of"]
