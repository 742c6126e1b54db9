"""One key in another's place, for any role; and metadata of offline roles with a later end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.updates.release import MODELS_ROLE, ROLLOUT_ROLE
from trainer.release import ReleaseError
from trainer.release.chain import OFFLINE, ROOT, TARGETS_ROLE, Chain
from trainer.release.keys import ID_DIGITS, OWNER, owner_of
from trainer.release.placing import Online

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key
    from tuf.api.metadata import Metadata


@dataclass(frozen=True)
class Rotation:
    """Which key goes."""

    role: str
    old: "Key"
    keep_old: bool
    """It is lost, not stolen: it stays listed until the next rotation, so that devices can read what it signed."""


def old_key(chain: Chain, role: str, name: str | None) -> "Key":
    """The key that is meant by its owner or the first digits of its id. Raises ReleaseError."""
    keys = chain.keys(role)
    meant = [
        key
        for key in keys.values()
        if name is None
        or key.unrecognized_fields.get(OWNER) == name
        or (len(name) >= ID_DIGITS and key.keyid.startswith(name))
    ]
    if len(meant) == 1:
        return meant[0]
    raise ReleaseError(
        f"{role} has {'several keys' if meant else 'no key'} {name or ''}: {', '.join(map(owner_of, keys.values()))}; "
        "name one with --key-of"
    )


def rotated(chain: Chain, rotation: Rotation, new: "CryptoSigner", online: Online) -> "dict[str, Metadata[Any]]":
    """Metadata of offline roles, not signed yet, in which the new key stands. What it signed itself is made anew."""
    role = rotation.role
    delegator = TARGETS_ROLE if role in (MODELS_ROLE, ROLLOUT_ROLE) else ROOT
    changed = {delegator}
    if role in (TARGETS_ROLE, MODELS_ROLE):
        changed.add(role)
    metadata = renewed(chain, [one for one in OFFLINE if one in changed], online)
    signed = metadata[delegator].signed
    signed.add_key(new.public_key, role)
    if not rotation.keep_old:
        signed.revoke_key(rotation.old.keyid, role)
    return metadata


def renewed(chain: Chain, roles: Sequence[str], online: Online) -> "dict[str, Metadata[Any]]":
    """The next version of offline roles, with a later end, not signed yet."""
    from tuf.api.metadata import Metadata

    found: dict[str, Metadata[Any]] = {}
    for role in roles:
        metadata: Metadata[Any] = Metadata.from_bytes(chain.role(role).to_bytes())
        metadata.signed.version += 1
        metadata.signed.expires = online.expires(role)
        metadata.signatures.clear()
        found[role] = metadata
    return found
