"""A change that wants maintainers' signatures: prepared by one, signed by others, put in place once there are enough.

It waits in the repository itself (``pending/change.json``), so that everybody finds it; devices never read it. What
is believed of it are the metadata in it, not its words: `differences` tells a signer what they would sign.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.updates.release import MODELS_ROLE, ROLLOUT_ROLE, Channel, Rollout, TargetPath
from trainer.failing import harmless
from trainer.release import ReleaseError
from trainer.release.chain import OFFLINE, ROOT, TARGETS_ROLE, Chain, Kind, keys_of
from trainer.release.keys import Keyring, owner_of
from trainer.release.places import PENDING, Place
from trainer.release.placing import Online, Placing, holds_under, put
from trainer.release.stages import published

if TYPE_CHECKING:
    from tuf.api.metadata import Key, Metadata, VerificationResult

FILE = f"{PENDING}/change.json"


class Intent(BaseModel):
    """What the online keys shall say once the change is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: Channel
    kind: Kind
    target: TargetPath
    fraction: float = Field(ge=0, le=1)


class _Waiting(BaseModel):
    """Content of ``pending/change.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    what: str
    by: str
    at: AwareDatetime
    metadata: dict[str, str]
    intents: list[Intent] = []


@dataclass(frozen=True)
class Lacking:
    """What one role's metadata still wants."""

    role: str
    signatures: int
    """How many more, at least."""
    of: tuple[str, ...]
    """Whose would count."""

    def __str__(self) -> str:
        return f"{self.role} wants {self.signatures} more of: {', '.join(self.of)}"


@dataclass
class Change:
    """Metadata of offline roles, with what signatures they have."""

    what: str
    by: str
    at: datetime
    metadata: "dict[str, Metadata[Any]]"
    """By role."""
    intents: Sequence[Intent] = ()

    def sign(self, chain: Chain, keyring: Keyring) -> list[str]:
        """Sign with every key that is at hand and counts; returns whose signatures came. Raises ReleaseError."""
        came = []
        for role, metadata in self.metadata.items():
            wanted = {
                keyid: key for result in self._results(chain, role) for keyid, key in result.unsigned.items()
            }  # fmt: skip
            for signer in keyring.signers(wanted):
                metadata.sign(signer, append=True)
                came.append(f"{role}: {owner_of(signer.public_key)}")
        return came

    def lacking(self, chain: Chain) -> list[Lacking]:
        """What is not signed by enough yet; empty once it may go out."""
        found = []
        for role in self.metadata:
            for result in self._results(chain, role):
                if not result.verified:
                    names = tuple(sorted(owner_of(key) for key in result.unsigned.values()))
                    found.append(Lacking(role, result.missing, names))
        return list(dict.fromkeys(found))

    def keys(self, chain: Chain) -> "dict[str, Key]":
        """All keys whose signatures would count, by their ids."""
        return {
            keyid: key
            for role in self.metadata
            for result in self._results(chain, role)
            for keyid, key in (result.signed | result.unsigned).items()
        }

    def put(self, chain: Chain, online: Online) -> Chain:
        """Put it in place, and forget that it waited. Raises ReleaseError."""
        new = {role: one for role, one in self.metadata.items() if one.signed.version > chain.role(role).signed.version}
        rollouts: dict[Channel, Rollout] = {}
        for intent in self.intents:
            before = rollouts.get(intent.channel) or chain.rollout_of(intent.channel)
            rollouts[intent.channel] = published(before, intent.kind, intent.target, intent.fraction)
        if new or rollouts:
            placing = Placing(new.get(ROOT), new.get(TARGETS_ROLE), new.get(MODELS_ROLE), rollouts)
            chain = put(chain, placing, online)
        discard(chain.place)
        return chain

    def wait(self, place: Place) -> None:
        """Keep it in the repository until others have signed. Raises ReleaseError."""
        waiting = _Waiting(
            what=self.what,
            by=self.by,
            at=self.at,
            metadata={role: one.to_bytes().decode() for role, one in self.metadata.items()},
            intents=list(self.intents),
        )
        place.put(FILE, (waiting.model_dump_json(indent=1) + "\n").encode())

    def differences(self, chain: Chain) -> Iterator[str]:
        """What a signer would sign, line by line, taken from the metadata itself."""
        for role, metadata in self.metadata.items():
            before, after = chain.role(role).signed, metadata.signed
            yield f"{role}: version {before.version} → {after.version}, holds until {after.expires:%Y-%m-%d}"
            if role != ROOT:
                yield from _target_differences(before.targets, after.targets)
            for delegate in _delegates(role):
                yield from _key_differences(delegate, before, after)

    def _results(self, chain: Chain, role: str) -> "list[VerificationResult]":
        """All of these must be met before anything goes out."""
        metadata = self.metadata[role]
        payload, signatures = metadata.signed_bytes, metadata.signatures
        if metadata.signed.version <= chain.role(role).signed.version:
            return []  # in place already: the run that put it there was killed before it forgot the change
        old, new = chain.root.signed, self._root(chain)
        if role == ROOT:
            both = metadata.signed.get_root_verification_result(old, payload, signatures)
            return [both.first, both.second]
        if role == TARGETS_ROLE:
            results = [new.get_verification_result(role, payload, signatures)]
            if new is not old and not holds_under(new, chain.targets, chain.snapshot, chain.timestamp):
                results.append(old.get_verification_result(role, payload, signatures))
            return results
        targets = self.metadata.get(TARGETS_ROLE, chain.targets).signed
        return [targets.get_verification_result(role, payload, signatures)]

    def _root(self, chain: Chain) -> Any:
        waiting = self.metadata.get(ROOT)
        newer = waiting is not None and waiting.signed.version > chain.root.signed.version
        return waiting.signed if waiting is not None and newer else chain.root.signed


def waiting(place: Place) -> Change | None:
    """The change that waits for signatures. Raises ReleaseError: it is damaged."""
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    content = place.get(FILE)
    if content is None:
        return None
    try:
        found = _Waiting.model_validate_json(content)
        metadata: dict[str, Metadata[Any]] = {
            role: Metadata.from_bytes(text.encode()) for role, text in found.metadata.items()
        }
    except (ValidationError, DeserializationError) as error:
        raise ReleaseError(
            f"{place.name}/{FILE} is damaged; take it away with `ecosight-trainer release sign --discard` and prepare "
            "the change again"
        ) from error
    ordered = {role: metadata[role] for role in OFFLINE if role in metadata}
    return Change(harmless(found.what), harmless(found.by), found.at, ordered, found.intents)


def discard(place: Place) -> None:
    """Forget the change that waits. Raises ReleaseError."""
    place.remove(FILE)


def _delegates(role: str) -> tuple[str, ...]:
    return {ROOT: ("root", "targets", "snapshot", "timestamp"), TARGETS_ROLE: (MODELS_ROLE, ROLLOUT_ROLE)}.get(role, ())


def _target_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if new is None:
            yield f"  - {path}"
        elif old != new:
            custom = new.custom or {}
            number = f" number {custom['number']}," if "number" in custom else ""
            yield f"  {'+' if old is None else '~'} {path}:{number} {new.length} bytes, sha256 {new.hashes['sha256']}"


def _key_differences(delegate: str, before: Any, after: Any) -> Iterator[str]:
    old, new = keys_of(before, delegate), keys_of(after, delegate)
    for keyid in sorted(old.keys() - new.keys()):
        yield f"  - key of {delegate}: {owner_of(old[keyid])}"
    for keyid in sorted(new.keys() - old.keys()):
        yield f"  + key of {delegate}: {owner_of(new[keyid])}, {keyid}"
    thresholds = [one.get_delegated_role(delegate).threshold for one in (before, after)]
    if thresholds[0] != thresholds[1]:
        yield f"  ~ threshold of {delegate}: {thresholds[0]} → {thresholds[1]}"
