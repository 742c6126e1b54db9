"""What may be released: a model that passes the device's own checks, a program's wheels, an overlay."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from edge.plain_yaml import explain
from edge.settings import UpdateSettings
from edge.updates.fetching.limits import Limits
from edge.updates.program.wheels import WheelError, wheel_of
from edge.updates.release import ModelTarget, Overlay, OverlayTarget, ProgramTarget, Wheelhouse
from trainer.failing import said
from trainer.release import ReleaseError
from trainer.release.chain import Chain, Kind

LARGEST_BYTES: int = UpdateSettings().largest_bytes
"""Of one release, where a device was told nothing else."""
MACHINES = ("x86_64", "aarch64")


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
        paths = {wheel_target(name, content): content for name, content in wheels}
        files |= paths
        files[path] = Wheelhouse(version=version, machine=machine, wheels=sorted(paths)).model_dump_json().encode()
        whole_bytes = sum(len(content) for _, content in wheels)
        if whole_bytes > LARGEST_BYTES or len(files[path]) > Limits().manifest_bytes:
            raise ReleaseError(f"{folder} holds {whole_bytes} bytes; devices take {LARGEST_BYTES} at most")
        custom[path] = ProgramTarget(number=number, version=version).model_dump(mode="json")
    if len(versions) != 1:
        raise ReleaseError(
            f"these wheelhouses hold EcoSight {', '.join(sorted(versions))}; a release is of one version"
        )
    version = next(iter(versions))
    return Content("program", f"programs/{version}", f"program {version}", files, custom)


def overlay(path: Path, number: int) -> Content:
    """An overlay, written in YAML. Raises ReleaseError: not readable, an unknown key, a value out of bounds."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ReleaseError(f"{path}{explain(error)}") from error
    except (OSError, UnicodeDecodeError) as error:
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
    """Version, machine, and the wheels by their names."""
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder of wheels")
    try:
        files = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        wheels = [wheel_of(wheel_target(name, content)) for name, content in files]
    except OSError as error:
        raise ReleaseError(said(error)) from error
    except WheelError as error:
        name = str(error).partition(":")[0].rpartition("/")[2][65:]
        raise ReleaseError(f"{folder} holds what is no wheel: {name}; a device builds nothing") from error
    ours = {wheel.version for wheel in wheels if wheel.name == "ecosight"}
    if len(ours) != 1 or sum(wheel.name == "ecosight" for wheel in wheels) != 1:
        raise ReleaseError(f"{folder} must hold one wheel of ecosight, with those that it needs; it holds {len(ours)}")
    platforms = {platform for wheel in wheels for platform in wheel.platforms}
    machines = [machine for machine in MACHINES if any(name.endswith(f"_{machine}") for name in platforms)]
    others = sorted(name for name in platforms if name != "any" and not name.endswith(MACHINES))
    if len(machines) != 1 or others:
        seen = ", ".join(others or machines) or "none that names one"
        raise ReleaseError(f"{folder} must hold wheels of one kind of machine ({' or '.join(MACHINES)}); found {seen}")
    return next(iter(ours)), machines[0], files


def wheel_target(name: str, content: bytes) -> str:
    """Where a wheel lies among the targets."""
    return f"programs/wheels/{hashlib.sha256(content).hexdigest()}.{name}"
