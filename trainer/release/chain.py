"""The metadata that is there: every file read, every signature and digest checked, from the trusted root to the leaves.

What is expired is not refused here, since it must be read to be renewed; `Chain.expired` says it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from edge.updates.release import (
    FLOOR,
    MODELS_ROLE,
    ROLLOUT_ROLE,
    Channel,
    Floor,
    ModelTarget,
    OverlayTarget,
    ProgramTarget,
    Rollout,
)
from trainer.release import ReleaseError
from trainer.release.places import METADATA, TARGETS, Place

if TYPE_CHECKING:
    from tuf.api.metadata import Key, Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

Kind = Literal["model", "program", "overlay"]
KINDS: tuple[Kind, ...] = ("model", "program", "overlay")
CHANNELS: tuple[Channel, ...] = ("stable", "beta", "canary")
ROOT, TARGETS_ROLE, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
OFFLINE = (ROOT, TARGETS_ROLE, MODELS_ROLE)
"""Roles of maintainers."""
ONLINE = (ROLLOUT_ROLE, SNAPSHOT, TIMESTAMP)
"""Roles that sign without a person."""
TIMESTAMP_FILE = f"{METADATA}/timestamp.json"
_PREFIXES: dict[str, tuple[Kind, type[ModelTarget | ProgramTarget | OverlayTarget]]] = {
    "models": ("model", ModelTarget),
    "programs": ("program", ProgramTarget),
    "overlays": ("overlay", OverlayTarget),
}
_Document = TypeVar("_Document", bound=BaseModel)


@dataclass(frozen=True)
class Release:
    """Something that maintainers signed and that a channel may want."""

    kind: Kind
    target: str
    """As a rollout names it: for programs, the folder."""
    number: int
    title: str
    """Name and version, for people."""
    version: str
    sha256: str = ""
    """Of the file; programs have several."""
    length: int = 0


@dataclass(frozen=True)
class Chain:
    """All current metadata of a repository, verified."""

    place: Place
    root: "Metadata[Root]"
    timestamp: "Metadata[Timestamp]"
    snapshot: "Metadata[Snapshot]"
    targets: "Metadata[Targets]"
    models: "Metadata[Targets]"
    rollout: "Metadata[Targets]"
    timestamp_bytes: bytes

    def role(self, name: str) -> "Metadata[Any]":
        """The metadata of a role by its name."""
        metadata: dict[str, Metadata[Any]] = {
            ROOT: self.root,
            TARGETS_ROLE: self.targets,
            MODELS_ROLE: self.models,
            ROLLOUT_ROLE: self.rollout,
            SNAPSHOT: self.snapshot,
            TIMESTAMP: self.timestamp,
        }
        return metadata[name]

    def keys(self, role: str) -> "dict[str, Key]":
        """The keys that may sign a role now, by their ids."""
        delegator = self.targets.signed if role in (MODELS_ROLE, ROLLOUT_ROLE) else self.root.signed
        return keys_of(delegator, role)

    def expired(self, now: datetime, *roles: str) -> list[str]:
        """Which of the roles (all, if none is named) hold no more."""
        return [role for role in roles or (*OFFLINE, *ONLINE) if self.role(role).signed.expires <= now]

    def releases(self, kind: Kind) -> list[Release]:
        """Everything of a kind that is signed, oldest first. Raises ReleaseError."""
        found: dict[str, Release] = {}
        for path, file in self.models.signed.targets.items():
            if (release := _release_of(path, file)) is not None and release.kind == kind:
                found[release.target] = release
        return sorted(found.values(), key=lambda one: one.number)

    def release(self, target: str) -> Release | None:
        """What is signed under the target that a rollout names."""
        return next((one for kind in KINDS for one in self.releases(kind) if one.target == target), None)

    def floor(self) -> Floor:
        """The floor that holds. Raises ReleaseError."""
        file = self.models.signed.targets.get(FLOOR)
        return Floor() if file is None else _document(Floor, FLOOR, self._content(FLOOR, file))

    def rollout_of(self, channel: Channel) -> Rollout:
        """What a channel wants; nothing, where nothing was said yet. Raises ReleaseError."""
        path = f"rollout/{channel}.json"
        file = self.rollout.signed.targets.get(path)
        return Rollout(channel=channel) if file is None else _document(Rollout, path, self._content(path, file))

    def missing_files(self) -> Iterator[str]:
        """Signed files that are not there, or not as long as they were signed."""
        for metadata in (self.models, self.rollout):
            for path, file in metadata.signed.targets.items():
                size = self.place.size(stored(path, file))
                if size != file.length:
                    how = "is missing" if size is None else f"has {size} bytes, not {file.length}"
                    yield f"{stored(path, file)} {how}"

    def _content(self, path: str, file: "TargetFile") -> bytes:
        name = stored(path, file)
        content = self.place.get(name)
        if content is None:
            raise _damaged(self.place, name, "is missing")
        _fits(self.place, name, file, content)
        return content


def stored(path: str, file: "TargetFile") -> str:
    """Where a target's file is: its digest stands before its name (consistent snapshots, TUF specification 6.2)."""
    folder, slash, name = path.rpartition("/")
    return f"{TARGETS}/{folder}{slash}{file.hashes['sha256']}.{name}"


def keys_of(delegator: "Root | Targets", role: str) -> "dict[str, Key]":
    """The keys that a root or a targets role names for another."""
    return {keyid: delegator.get_key(keyid) for keyid in delegator.get_delegated_role(role).keyids}


def load(place: Place, trusted_root: bytes | None = None) -> Chain:
    """Read and verify a repository; with ``trusted_root``, from there.

    Raises:
        ReleaseError: there is none, it is damaged (which file, and how), or it is another's.
    """
    from tuf.api.metadata import Snapshot, Targets, Timestamp

    root = _newest_root(place, trusted_root)
    stamp_bytes = place.get(TIMESTAMP_FILE)
    if stamp_bytes is None:
        raise _damaged(place, TIMESTAMP_FILE, "is missing")
    timestamp = _parse(Timestamp, place, TIMESTAMP_FILE, stamp_bytes)
    _signed_by(place, TIMESTAMP_FILE, root.signed, TIMESTAMP, timestamp)
    meta = timestamp.signed.snapshot_meta
    snapshot = _versioned(Snapshot, place, SNAPSHOT, meta, root.signed)
    of = snapshot.signed.meta
    names = (TARGETS_ROLE, MODELS_ROLE, ROLLOUT_ROLE)
    if absent := [name for name in names if f"{name}.json" not in of]:
        raise _damaged(place, f"{METADATA}/{meta.version}.{SNAPSHOT}.json", f"does not name {', '.join(absent)}")
    targets = _versioned(Targets, place, TARGETS_ROLE, of[f"{TARGETS_ROLE}.json"], root.signed)
    models = _versioned(Targets, place, MODELS_ROLE, of[f"{MODELS_ROLE}.json"], targets.signed)
    rollout = _versioned(Targets, place, ROLLOUT_ROLE, of[f"{ROLLOUT_ROLE}.json"], targets.signed)
    return Chain(place, root, timestamp, snapshot, targets, models, rollout, stamp_bytes)


def _newest_root(place: Place, trusted: bytes | None) -> "Metadata[Root]":
    from tuf.api.metadata import Metadata, Root

    name = root_file(1)
    content = trusted or place.get(name)
    if content is None:
        raise ReleaseError(
            f"no release repository in {place.name}; make one with `ecosight-trainer release init`, or correct "
            "`repository` in release.yaml"
        )
    root = _parse(Root, place, "root.json" if trusted else name, content)
    _signed_by(place, name, root.signed, ROOT, root)
    if trusted and place.get(root_file(root.signed.version)) != trusted:
        raise ReleaseError(
            f"{place.name} is not the repository that root.json is of: {root_file(root.signed.version)} is another or "
            "missing; do not sign anything in it before you know why"
        )
    while (content := place.get(name := root_file(root.signed.version + 1))) is not None:
        newer: Metadata[Root] = _parse(Root, place, name, content)
        _signed_by(place, name, root.signed, ROOT, newer)
        _signed_by(place, name, newer.signed, ROOT, newer)
        if newer.signed.version != root.signed.version + 1:
            raise _damaged(place, name, f"says that it is version {newer.signed.version}")
        root = newer
    return root


def root_file(version: int) -> str:
    return f"{METADATA}/{version}.{ROOT}.json"


def _versioned(kind: type[Any], place: Place, role: str, meta: Any, delegator: "Root | Targets") -> "Metadata[Any]":
    name = f"{METADATA}/{meta.version}.{role}.json"
    content = place.get(name)
    if content is None:
        raise _damaged(place, name, "is missing")
    _fits(place, name, meta, content)
    metadata = _parse(kind, place, name, content)
    _signed_by(place, name, delegator, role, metadata)
    if metadata.signed.version != meta.version:
        raise _damaged(place, name, f"says that it is version {metadata.signed.version}")
    return metadata


def _parse(kind: type[Any], place: Place, name: str, content: bytes) -> "Metadata[Any]":
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
    except DeserializationError as error:
        raise _damaged(place, name, "is no TUF metadata") from error
    if not isinstance(metadata.signed, kind):
        raise _damaged(place, name, f"is metadata of another role ({metadata.signed.type})")
    return metadata


def _signed_by(place: Place, name: str, delegator: "Root | Targets", role: str, metadata: "Metadata[Any]") -> None:
    from tuf.api.exceptions import UnsignedMetadataError

    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError) as error:
        raise _damaged(place, name, "is not signed by enough of its keys") from error


def _fits(place: Place, name: str, file: Any, content: bytes) -> None:
    from tuf.api.exceptions import LengthOrHashMismatchError

    try:
        file.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise _damaged(place, name, "is not what was signed (length or digest)") from error


def _document(kind: type[_Document], path: str, content: bytes) -> _Document:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ReleaseError(f"{path} is signed, but is no {kind.__name__}: {error.errors()[0]['msg']}") from error


def _release_of(path: str, file: "TargetFile") -> Release | None:
    prefix, _, rest = path.partition("/")
    if prefix not in _PREFIXES or rest.startswith("wheels/"):
        return None
    kind, type_ = _PREFIXES[prefix]
    try:
        custom = type_.model_validate_json(json.dumps(file.custom or {}))
    except ValidationError as error:
        raise ReleaseError(f"{path} is signed, but without its number or version") from error
    sha256, length = file.hashes["sha256"], file.length
    if isinstance(custom, ModelTarget):
        return Release(kind, path, custom.number, f"{custom.name} {custom.version}", custom.version, sha256, length)
    if isinstance(custom, ProgramTarget):
        return Release(kind, path.rpartition("/")[0], custom.number, f"program {custom.version}", custom.version)
    name = rest.removesuffix(".json")
    return Release(kind, path, custom.number, f"overlay {name}", name, sha256, length)


def _damaged(place: Place, name: str, how: str) -> ReleaseError:
    return ReleaseError(
        f"the repository is damaged: {place.name}/{name} {how}; bring that file back from a copy of the repository"
    )
