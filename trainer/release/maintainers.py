"""Who signs, and how many of them it takes: somebody comes, somebody leaves, in one change of all their roles.

A maintainer has a key of each of `OFFLINE`; they come and go together. A change of this kind is signed by as many of
the old root's keys and as many of the new one's as each of them wants.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edge.updates.release import MODELS_ROLE
from trainer.release import ReleaseError
from trainer.release.chain import OFFLINE, ROOT, TARGETS_ROLE, Chain, keys_of
from trainer.release.keys import OWNER
from trainer.release.placing import Online
from trainer.release.rotation import renewed

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key
    from tuf.api.metadata import Metadata


def names(chain: Chain) -> list[str]:
    """Everybody who has a key of any offline role."""
    return sorted({_owner(key) for role in OFFLINE for key in chain.keys(role).values()})


def thresholds(chain: Chain) -> dict[str, int]:
    """By offline role, how many signatures it takes."""
    return {role: _delegator(role, chain.root, chain.targets).get_delegated_role(role).threshold for role in OFFLINE}


def staffed(
    chain: Chain,
    online: Online,
    come: "Mapping[str, CryptoSigner] | None" = None,
    leaves: str | None = None,
    threshold: int | None = None,
) -> "dict[str, Metadata[Any]]":
    """Metadata of all offline roles, not signed yet. ``come``: a newcomer's keys by role; ``leaves``: an owner.

    Raises:
        ReleaseError: nobody of that name has a key, or so many signatures could never be had.
    """
    metadata = renewed(chain, OFFLINE, online)
    found = False
    for role in OFFLINE:
        delegator = _delegator(role, metadata[ROOT], metadata[TARGETS_ROLE])
        if come is not None:
            delegator.add_key(come[role].public_key, role)
        for keyid, key in keys_of(delegator, role).items():
            if leaves is not None and _owner(key) == leaves:
                delegator.revoke_key(keyid, role)
                found = True
        one = delegator.get_delegated_role(role)
        one.threshold = threshold or one.threshold
        count = len(keys_of(delegator, role))
        if one.threshold > count:
            raise ReleaseError(
                f"{role} wants {one.threshold} signatures, and {count} maintainer{'s' if count != 1 else ''} would be "
                f"left to give them; {'add somebody first' if count == 0 else f'give --threshold {count} or less'}"
            )
    if leaves is not None and not found:
        raise ReleaseError(f"{leaves} has no key; maintainers are {', '.join(names(chain))}")
    return metadata


def _owner(key: "Key") -> str:
    return str(key.unrecognized_fields.get(OWNER, key.keyid[:8]))


def _delegator(role: str, root: "Metadata[Any]", targets: "Metadata[Any]") -> Any:
    return targets.signed if role == MODELS_ROLE else root.signed
