"""Wheels: which of a wheelhouse a device needs, by their file names, and what they take.

A wheelhouse serves every Python in use on one machine, so that a maintainer publishes one thing; a device takes
only what its own Python can install. Standard library only: the process that downloads asks this too.

File names: "File name convention" of the wheel format, packaging.python.org/specifications/binary-distribution-format.
"""

import re
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[0-9][A-Za-z0-9._+!]*)(-[0-9][A-Za-z0-9._]*)?"
    r"-(?P<python>[a-z0-9_.]+)-(?P<abi>[a-z0-9_.]+)-(?P<platform>[A-Za-z0-9_.]+)\.whl"
)
_TARGET = re.compile(r"programs/wheels/(?P<sha256>[0-9a-f]{64})\.(?P<file>[^/]+\.whl)")

Python = tuple[int, int]


class WheelError(ValueError):
    """A wheelhouse that this device cannot install. The text says why."""


@dataclass(frozen=True)
class Wheel:
    """One wheel of a wheelhouse."""

    target: str
    sha256: str
    file: str
    """Its own name, which says what is in it."""
    name: str
    """As the project calls itself, normalised ("Names and normalization" of the same specifications)."""
    version: str
    pythons: frozenset[str]
    abis: frozenset[str]
    platforms: frozenset[str]

    def fits(self, python: Python, machine: str) -> bool:
        """Whether that Python on a 64-bit Linux ``machine`` can install it."""
        if not any(platform == "any" or platform.endswith(f"_{machine}") for platform in self.platforms):
            return False
        own = f"cp{python[0]}{python[1]}"
        if own in self.pythons or {"py3", f"py{python[0]}{python[1]}"} & self.pythons:
            return bool({"none", "abi3", own} & self.abis)
        # abi3: made for one Python 3, good for every later one (PEP 425).
        stable = [int(tag[3:]) for tag in self.pythons if re.fullmatch(r"cp3[0-9]+", tag)]
        return "abi3" in self.abis and any(minor <= python[1] for minor in stable)


def wheel_of(target: str) -> Wheel:
    """The wheel behind a target path ``programs/wheels/<sha256>.<file name>``.

    Raises:
        WheelError: it is no such path.
    """
    found = _TARGET.fullmatch(target)
    parts = _NAME.fullmatch(found["file"]) if found else None
    if found is None or parts is None:
        raise WheelError(f"{target}: expected programs/wheels/<sha256>.<name of a wheel>")
    return Wheel(
        target,
        found["sha256"],
        found["file"],
        normalised(parts["name"]),
        parts["version"],
        *(frozenset(parts[tag].split(".")) for tag in ("python", "abi", "platform")),
    )


def normalised(name: str) -> str:
    """A project's name as comparisons want it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(targets: Iterable[str], machine: str, python: Python | None = None) -> list[Wheel]:
    """The wheels that ``python`` (this one where not given) installs on ``machine``, one of every project.

    Raises:
        WheelError: the wheelhouse has nothing for this Python, or is ambiguous.
    """
    python = python or (sys.version_info[0], sys.version_info[1])
    wheels = [wheel_of(target) for target in targets]
    fitting: dict[str, Wheel] = {}
    for wheel in wheels:
        if wheel.fits(python, machine):
            other = fitting.get(wheel.name)
            if other is not None and other.version != wheel.version:
                raise WheelError(f"the wheelhouse holds {wheel.name} {other.version} and {wheel.version}")
            # Of two builds of one version the one made for this Python alone is the closer one.
            if other is None or f"cp{python[0]}{python[1]}" in wheel.abis:
                fitting[wheel.name] = wheel
    # Markers may leave a project out on some Pythons (backports), but never one that has wheels for single Pythons.
    missing = {w.name for w in wheels if w.name not in fitting and _for_single_pythons(w)}
    if missing:
        served = sorted({tag for w in wheels if w.name in missing for tag in w.pythons if tag.startswith("cp3")})
        raise WheelError(
            f"nothing for Python {python[0]}.{python[1]} on {machine}: {', '.join(sorted(missing))} "
            f"{'is' if len(missing) == 1 else 'are'} there for {', '.join(served) or 'other machines'} only"
        )
    return sorted(fitting.values(), key=lambda wheel: wheel.name)


def _for_single_pythons(wheel: Wheel) -> bool:
    return any(abi.startswith("cp3") for abi in wheel.abis)


def unpacked_bytes(wheel: Path) -> int:
    """Size of what is in a wheel.

    Raises:
        WheelError: it is no ZIP file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise WheelError(f"{wheel.name} is signed, but it is no wheel") from error
