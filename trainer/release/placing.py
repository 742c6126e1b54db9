"""New metadata into the repository, in an order that a crash at any point cannot break.

Everything but ``timestamp.json`` and the root lies under a name of its own, with a version or a digest, and devices
come to it from ``timestamp.json``: so files first, then versioned metadata, then the timestamp, which is the moment.
A new root goes first where what is there holds under it, else last, and then what is new must hold under the old one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.updates.fetching.limits import Limits
from edge.updates.release import MODELS_ROLE, ROLLOUT_ROLE, Channel, Rollout
from trainer.release import ReleaseError
from trainer.release.chain import (
    SNAPSHOT,
    TARGETS_ROLE,
    TIMESTAMP,
    TIMESTAMP_FILE,
    Chain,
    keys_of,
    load,
    root_file,
    stored,
)
from trainer.release.keys import online_signers
from trainer.release.places import METADATA, Place
from trainer.release.settings import ExpireDays

if TYPE_CHECKING:
    from tuf.api.metadata import Key, Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

DEVICES = Limits()
"""What devices read at most."""


@dataclass(frozen=True)
class Online:
    """What signs without a person, and for how long."""

    folder: Path
    expire_days: ExpireDays
    now: datetime

    def expires(self, role: str) -> datetime:
        """When what is signed now for a role runs out."""
        return self.now + timedelta(days=getattr(self.expire_days, role))


@dataclass
class Placing:
    """What shall be new. Offline roles come signed by their thresholds."""

    root: "Metadata[Root] | None" = None
    targets: "Metadata[Targets] | None" = None
    models: "Metadata[Targets] | None" = None
    rollouts: Mapping[Channel, Rollout] = field(default_factory=dict)
    renew_rollout: bool = False
    """Sign the rollout again although nothing in it changes."""
    renew_snapshot: bool = True
    """False: only the timestamp, where nothing else is new."""


def put_file(place: Place, path: str, content: bytes) -> None:
    """A target's file. Nobody sees it before metadata names it. Raises ReleaseError."""
    from tuf.api.metadata import TargetFile

    name = stored(path, TargetFile.from_data(path, content, ["sha256"]))
    if place.get(name) != content:
        place.put(name, content)


def put(chain: Chain, new: Placing, online: Online) -> Chain:
    """Sign what online keys sign, put it all in place, and return what is there then.

    Raises:
        ReleaseError: an online key is missing, somebody else was quicker, or a file cannot be written. Devices then
            see the repository as it was, or as it shall be.
    """
    place = chain.place
    root = new.root or chain.root
    targets = new.targets or chain.targets
    models = new.models or chain.models
    rollout = _rollout(chain, new, targets, online)
    files = {MODELS_ROLE: models, ROLLOUT_ROLE: rollout, TARGETS_ROLE: targets}
    changed = {name: one for name, one in files.items() if one is not chain.role(name)}
    snapshot = _snapshot(chain, root, files, online) if changed or new.renew_snapshot else chain.snapshot
    timestamp = _timestamp(chain, root, snapshot, online)
    root_first = holds_under(root.signed, chain.targets, chain.snapshot, chain.timestamp)
    if not root_first and not holds_under(chain.root.signed, targets, snapshot, timestamp):
        raise ReleaseError(
            "between the old root and the new one devices could read neither, since an old key has not signed what is "
            "new; rotate it with --lost, which keeps it listed until the next rotation"
        )
    _refuse_too_long(root, snapshot, *files.values())
    for name, metadata in changed.items():
        place.put(f"{METADATA}/{metadata.signed.version}.{name}.json", metadata.to_bytes())
    if snapshot is not chain.snapshot:
        place.put(f"{METADATA}/{snapshot.signed.version}.{SNAPSHOT}.json", snapshot.to_bytes())
    if place.get(TIMESTAMP_FILE) != chain.timestamp_bytes:
        raise ReleaseError(f"somebody else has just changed {place.name}; run it again")
    if new.root is not None and root_first:
        place.put(root_file(new.root.signed.version), new.root.to_bytes())
    place.put(TIMESTAMP_FILE, timestamp.to_bytes())
    if new.root is not None and not root_first:
        place.put(root_file(new.root.signed.version), new.root.to_bytes())
    return load(place)


def _refuse_too_long(root: "Metadata[Any]", snapshot: "Metadata[Any]", *targets: "Metadata[Any]") -> None:
    """Raises ReleaseError: devices would refuse to read it."""
    most = [(root, DEVICES.root_bytes), (snapshot, DEVICES.snapshot_bytes)]
    for metadata, limit in (*most, *((one, DEVICES.targets_bytes) for one in targets)):
        if (length := len(metadata.to_bytes())) > limit:
            raise ReleaseError(
                f"{metadata.signed.type} metadata would have {length} bytes, and devices read {limit} at most, so "
                "nothing was changed; drop the change with `ecosight-trainer release sign --discard`. `publish` makes "
                "room before it comes to this"
            )


def holds_under(root: "Root", targets: "Metadata[Any]", snapshot: "Metadata[Any]", timestamp: "Metadata[Any]") -> bool:
    """Whether devices that trust this root can read these."""
    of = ((TARGETS_ROLE, targets), (SNAPSHOT, snapshot), (TIMESTAMP, timestamp))
    return all(root.get_verification_result(role, one.signed_bytes, one.signatures).verified for role, one in of)


def first(place: Place, root: "Metadata[Root]", targets: "Metadata[Targets]", models: "Metadata[Targets]",
          online: Online) -> Chain:  # fmt: skip
    """The first metadata of all. Raises ReleaseError."""
    from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

    rollout = Metadata(Targets(expires=online.expires(ROLLOUT_ROLE)))
    _sign(rollout, ROLLOUT_ROLE, keys_of(targets.signed, ROLLOUT_ROLE), online)
    files = {MODELS_ROLE: models, ROLLOUT_ROLE: rollout, TARGETS_ROLE: targets}
    meta = {f"{name}.json": _meta(one) for name, one in files.items()}
    snapshot = Metadata(Snapshot(expires=online.expires(SNAPSHOT), meta=meta))
    _sign(snapshot, SNAPSHOT, keys_of(root.signed, SNAPSHOT), online)
    timestamp = Metadata(Timestamp(expires=online.expires(TIMESTAMP), snapshot_meta=_meta(snapshot)))
    _sign(timestamp, TIMESTAMP, keys_of(root.signed, TIMESTAMP), online)
    for name, one in files.items():
        place.put(f"{METADATA}/1.{name}.json", one.to_bytes())
    place.put(f"{METADATA}/1.{SNAPSHOT}.json", snapshot.to_bytes())
    place.put(TIMESTAMP_FILE, timestamp.to_bytes())
    place.put(root_file(1), root.to_bytes())
    return load(place)


def _rollout(chain: Chain, new: Placing, targets: "Metadata[Targets]", online: Online) -> "Metadata[Targets]":
    from tuf.api.metadata import TargetFile

    keys = keys_of(targets.signed, ROLLOUT_ROLE)
    if not new.rollouts and not new.renew_rollout and keys.keys() == chain.keys(ROLLOUT_ROLE).keys():
        return chain.rollout
    rollout = _copy(chain.rollout)
    for channel, document in new.rollouts.items():
        path = f"rollout/{channel}.json"
        content = document.model_dump_json(exclude_none=True).encode()
        put_file(chain.place, path, content)
        rollout.signed.targets[path] = TargetFile.from_data(path, content, ["sha256"])
    return _next(rollout, ROLLOUT_ROLE, keys, online)


def _snapshot(
    chain: Chain, root: "Metadata[Root]", files: "Mapping[str, Metadata[Targets]]", online: Online
) -> "Metadata[Snapshot]":
    snapshot = _copy(chain.snapshot)
    for name, one in files.items():
        snapshot.signed.meta[f"{name}.json"] = _meta(one)
    return _next(snapshot, SNAPSHOT, chain.keys(SNAPSHOT) | keys_of(root.signed, SNAPSHOT), online)


def _timestamp(
    chain: Chain, root: "Metadata[Root]", snapshot: "Metadata[Snapshot]", online: Online
) -> "Metadata[Timestamp]":
    timestamp = _copy(chain.timestamp)
    timestamp.signed.snapshot_meta = _meta(snapshot)
    return _next(timestamp, TIMESTAMP, chain.keys(TIMESTAMP) | keys_of(root.signed, TIMESTAMP), online)


def _next(metadata: "Metadata[Any]", role: str, keys: "Mapping[str, Key]", online: Online) -> "Metadata[Any]":
    metadata.signed.version += 1
    metadata.signed.expires = online.expires(role)
    return _sign(metadata, role, keys, online)


def _sign(metadata: "Metadata[Any]", role: str, keys: "Mapping[str, Key]", online: Online) -> "Metadata[Any]":
    metadata.signatures.clear()
    for signer in online_signers(online.folder, role, keys.values()):
        metadata.sign(signer, append=True)
    return metadata


def _copy(metadata: "Metadata[Any]") -> "Metadata[Any]":
    from tuf.api.metadata import Metadata

    return Metadata.from_bytes(metadata.to_bytes())


def _meta(metadata: "Metadata[Any]") -> "MetaFile":
    from tuf.api.metadata import MetaFile

    return MetaFile.from_data(metadata.signed.version, metadata.to_bytes(), ["sha256"])
