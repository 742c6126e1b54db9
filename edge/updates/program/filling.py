"""Wheels into an empty environment: unpacked, compiled, and looked at whether they fit together.

    fill(Path("/opt/ecosight/b"), Path("wheels"), wheels)
    for share in shares(Path("/opt/ecosight/b")):
        compile_share(share)

What pip does with ``--no-deps --require-hashes`` and ``pip check``, done by the two libraries that the authors of pip
keep for it (`installer`, `packaging`): pip takes 97 MiB for the wheels of this program, and 87 to come into an
environment. This takes some 20, and executes nothing of what it installs. For children of root's updater.
"""

import compileall
import platform
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

from edge.digest import sha256_of
from edge.updates.program.wheels import Wheel, normalised

LARGEST_COMPILED_BYTES = 400_000
"""Compiling a source file takes 50 times its size. What is larger (generated tables and tests of libraries, never
loaded here) is left to whoever imports it."""
SHARE_BYTES = 400_000
"""Of sources that one child compiles: what it has taken for one file it does not give back for the next."""


class FillError(RuntimeError):
    """The wheels cannot be installed, or do not fit together. The text is for people."""


def fill(environment: Path, folder: Path, wheels: Iterable[Wheel]) -> None:
    """Install ``wheels``, files in ``folder``, into a virtual environment of this very Python that holds nothing yet.

    Raises:
        FillError: a wheel is not the one that was signed, is damaged, or needs what is not there.
        OSError: the disk.
    """
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    root = str(environment.absolute())
    bases = dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), root)
    scheme = sysconfig.get_paths("venv", vars=bases)
    site = Path(scheme["purelib"])
    if not site.is_dir():
        version = platform.python_version()
        raise FillError(f"the wheels are for Python {version}, and the system's Python is another one")
    destination = SchemeDictionaryDestination(
        # As pip: of two wheels with one file the later one has it.
        scheme,
        interpreter=str(environment.absolute() / "bin" / "python"),
        script_kind="posix",
        overwrite_existing=True,
    )
    for wheel in wheels:
        path = folder / wheel.file
        if sha256_of(path) != wheel.sha256:
            raise FillError(f"{wheel.file} is not the file that was signed")
        try:
            with WheelFile.open(path) as source:
                source.validate_record()
                install(source, destination, additional_metadata={"INSTALLER": b"ecosight\n"})
        except (InstallerError, zipfile.BadZipFile, ValueError, KeyError, AssertionError) as error:
            raise FillError(f"{wheel.file} cannot be installed: {' '.join(str(error).split())}") from error
    misfits = list(_misfits(site))
    if misfits:
        raise FillError(f"the wheels do not fit together: {' / '.join(misfits[:3])}")


def shares(environment: Path) -> list[list[Path]]:
    """What is to be compiled in an environment, in shares for one child each."""
    found: list[list[Path]] = []
    left_bytes = 0
    for source in sorted((environment / "lib").rglob("*.py")):
        size_bytes = source.stat().st_size
        if size_bytes > LARGEST_COMPILED_BYTES:
            continue
        if size_bytes > left_bytes:
            found.append([])
            left_bytes = SHARE_BYTES
        found[-1].append(source)
        left_bytes -= size_bytes
    return found


def compile_share(sources: Iterable[Path]) -> str:
    """What cannot be compiled (templates, code for later Pythons) is for whoever imports it, as with pip."""
    for source in sources:
        compileall.compile_file(source, quiet=2)
    return ""


def _misfits(site: Path) -> Iterable[str]:
    """What ``pip check`` would say, and of projects for other Pythons."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    there = {normalised(found.name): found for found in distributions(path=[str(site)])}
    version = ".".join(map(str, sys.version_info[:3]))
    for name, found in sorted(there.items()):
        try:
            pythons = SpecifierSet(*found.metadata.get_all("Requires-Python", [])[:1])
            needs = [Requirement(line) for line in found.requires or []]
        except (InvalidRequirement, InvalidSpecifier) as error:
            yield f"what {name} needs cannot be read: {error}"
            continue
        if not pythons.contains(version, prereleases=True):
            yield f"{name} needs Python {pythons}, this is {version}"
        for need in needs:
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            other = there.get(normalised(need.name))
            if other is None:
                yield f"{name} needs {need.name}, which is not there"
            elif not need.specifier.contains(other.version, prereleases=True):
                yield f"{name} needs {need.name} {need.specifier}, this is {other.version}"
