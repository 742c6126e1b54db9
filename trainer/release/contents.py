"""What may be released: a model that passes the device's own checks, a program's wheels, an overlay."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from edge.updates.release import ModelTarget, Overlay, OverlayTarget, ProgramTarget, Wheelhouse
from trainer.failing import said
from trainer.release import ReleaseError
from trainer.release.chain import Chain, Kind

LARGEST_WHEEL_BYTES = 200_000_000
MACHINES = ("x86_64", "aarch64")
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-\d[^-]*)?-[^-]+-[^-]+-(?P<platform>[^-]+)\.whl")


@dataclass(frozen=True)
class Content:
    """Files of one release, with what is said of them."""

    kind: Kind
    target: str
    """As a rollout names it."""
    title: str
    files: Mapping[str, bytes]
    """By target path."""
    custom: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Of the paths that carry a number."""


def next_number(chain: Chain, kind: Kind) -> int:
    """One above everything of the kind that was ever signed."""
    return max((one.number for one in chain.releases(kind)), default=0) + 1


def model(path: Path, number: int) -> Content:
    """A model file, or the folder of one (``models/<version>/``), checked as a device does.

    Raises:
        ReleaseError: there is none, it does not pass, or it says nothing about itself.
    """
    from edge.detection.model_file import ModelFileError, read
    from edge.detection.verify import verify
    from trainer.models.package import MODEL

    file = path / MODEL if path.is_dir() else path
    try:
        found = read(file)
        sha256 = verify(file)
        content = file.read_bytes()
    except ModelFileError as error:
        raise ReleaseError(str(error)) from error
    except OSError as error:
        raise ReleaseError(said(error)) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ReleaseError(f"{file} changed while it was checked")
    name, version = found.manifest.name, found.manifest.version
    target = f"models/{name}-{version}.tflite"
    custom = ModelTarget(number=number, name=name, version=version)
    return Content("model", target, f"{name} {version}", {target: content}, {target: custom.model_dump(mode="json")})


def program(folders: Sequence[Path], number: int) -> Content:
    """Wheelhouses: folders of wheels, one for each kind of machine.

    Raises:
        ReleaseError: no wheels, wheels of another machine, no EcoSight or two of it, or several versions.
    """
    files: dict[str, bytes] = {}
    custom: dict[str, dict[str, Any]] = {}
    versions: dict[str, Path] = {}
    for folder in folders:
        version, machine, wheels = _wheelhouse(folder)
        versions[version] = folder
        path = f"programs/{version}/{machine}.json"
        if path in files:
            raise ReleaseError(f"{folder} is the second wheelhouse for {machine}; give one for each kind of machine")
        paths = {f"programs/wheels/{hashlib.sha256(content).hexdigest()}.{name}": content for name, content in wheels}
        files |= paths
        files[path] = Wheelhouse(version=version, machine=machine, wheels=sorted(paths)).model_dump_json().encode()
        custom[path] = ProgramTarget(number=number, version=version).model_dump(mode="json")
    if len(versions) != 1:
        raise ReleaseError(f"these wheelhouses hold EcoSight {', '.join(sorted(versions))}; a release is of one version")
    version = next(iter(versions))
    return Content("program", f"programs/{version}", f"program {version}", files, custom)


def overlay(path: Path, number: int) -> Content:
    """An overlay, written in YAML. Raises ReleaseError: not readable, an unknown key, a value out of bounds."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReleaseError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(tree, dict):
        raise ReleaseError(f"{path} is no overlay: expected `id:` and settings")
    known = [name for name in Overlay.model_fields if name != "schema_version"]
    # Devices pass over what they do not know; whoever writes it must be told.
    if unknown := sorted(set(map(str, tree)) - set(known)):
        raise ReleaseError(f"{path}: unknown key {', '.join(unknown)}; an overlay has {', '.join(known)}")
    try:
        found = Overlay.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ReleaseError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    target = f"overlays/{found.id}.json"
    content = found.model_dump_json(exclude_defaults=True).encode()
    custom = OverlayTarget(number=number).model_dump(mode="json")
    return Content("overlay", target, f"overlay {found.id}", {target: content}, {target: custom})


def _wheelhouse(folder: Path) -> tuple[str, Any, list[tuple[str, bytes]]]:
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder of wheels")
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not paths:
        raise ReleaseError(f"{folder} is empty; expected wheels (`pip download --only-binary :all: …`)")
    parsed = [(path, _WHEEL.fullmatch(path.name)) for path in paths]
    if strange := [path.name for path, found in parsed if found is None]:
        raise ReleaseError(f"{folder} holds what is no wheel: {', '.join(strange[:5])}; a device builds nothing")
    if large := [path.name for path, _ in parsed if path.stat().st_size > LARGEST_WHEEL_BYTES]:
        raise ReleaseError(f"{folder}: {large[0]} is larger than {LARGEST_WHEEL_BYTES} bytes")
    wheels = [found for _, found in parsed if found is not None]
    ours = [found["version"] for found in wheels if found["name"].lower() == "ecosight"]
    if len(ours) != 1:
        raise ReleaseError(f"{folder} holds {len(ours) or 'no'} wheels of ecosight; a wheelhouse holds one")
    platforms = {found["platform"] for found in wheels}
    machines = [machine for machine in MACHINES if any(platform.endswith(machine) for platform in platforms)]
    others = sorted(name for name in platforms if name != "any" and not name.endswith(MACHINES))
    if len(machines) != 1 or others:
        seen = ", ".join(others or machines) or "none that names one"
        raise ReleaseError(f"{folder} must hold wheels of one kind of machine ({' or '.join(MACHINES)}); found {seen}")
    try:
        return ours[0], machines[0], [(path.name, path.read_bytes()) for path, _ in parsed]
    except OSError as error:
        raise ReleaseError(said(error)) from error


