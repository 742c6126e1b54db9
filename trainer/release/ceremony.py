"""The first keys and the first metadata, and the page that tells people what to do with them.

Every maintainer has three keys on a medium of their own: ``root`` and ``targets`` (who may sign what; a few times in a
year) and ``models`` (what may run; at each release). The online keys stay where releases are widened and re-signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.durable import commit_bytes, make_folder
from edge.updates.release import MODELS_PATHS, MODELS_ROLE, ROLLOUT_PATHS, ROLLOUT_ROLE
from trainer.release import ReleaseError
from trainer.release.chain import (
    OFFLINE,
    ONLINE,
    ROOT,
    SNAPSHOT,
    TARGETS_ROLE,
    TIMESTAMP,
    TIMESTAMP_FILE,
    Chain,
    root_file,
)
from trainer.release.keys import make, write_encrypted, write_online
from trainer.release.places import Place
from trainer.release.placing import Online, first
from trainer.release.settings import ReleaseSettings

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ONLINE_OWNER = "online"


@dataclass(frozen=True)
class Maintainer:
    """Somebody who signs."""

    name: str
    medium: Path
    """A folder of their own: a stick that nobody else has."""


@dataclass(frozen=True)
class Ceremony:
    """What was made."""

    chain: Chain
    keys: Mapping[str, tuple[tuple[str, Path], ...]]
    """By whose they are: role and file."""
    threshold: int


def hold(
    settings: ReleaseSettings,
    place: Place,
    maintainers: Mapping[Maintainer, str],
    threshold: int,
    now: datetime,
) -> Ceremony:
    """Make all keys and the first metadata; ``maintainers`` with their passphrases.

    Raises:
        ReleaseError: a repository or a key is there already, the threshold cannot be met, names are not their own.
        OSError: a medium cannot be written.
    """
    _refuse(place, maintainers, threshold)
    signers = {role: {one: make(one.name) for one in maintainers} for role in OFFLINE}
    online = {role: make(ONLINE_OWNER) for role in ONLINE}
    files: dict[str, tuple[tuple[str, Path], ...]] = {}
    for one, passphrase in maintainers.items():
        files[one.name] = tuple(
            (role, write_encrypted(one.medium, role, signers[role][one], passphrase)) for role in OFFLINE
        )
    files[ONLINE_OWNER] = tuple((role, write_online(settings.online_keys, role, online[role])) for role in ONLINE)
    chain = _sign(settings, place, {role: list(signers[role].values()) for role in OFFLINE}, online, threshold, now)
    make_folder(settings.trusted_root.parent)
    commit_bytes(settings.trusted_root, chain.root.to_bytes())
    return Ceremony(chain, files, threshold)


def _refuse(place: Place, maintainers: Mapping[Maintainer, str], threshold: int) -> None:
    count = len(maintainers)
    if not 1 <= threshold <= count:
        raise ReleaseError(f"--threshold {threshold} cannot be met by {count} maintainer{'s' if count > 1 else ''}")
    if len({one.name for one in maintainers}) < count or ONLINE_OWNER in {one.name for one in maintainers}:
        raise ReleaseError(f"every maintainer wants a name of their own, and none is called {ONLINE_OWNER!r}")
    if len({one.medium.resolve() for one in maintainers}) < count:
        raise ReleaseError("every maintainer wants a medium of their own: two keys on one stick are stolen together")
    if place.get(root_file(1)) is not None or place.get(TIMESTAMP_FILE) is not None:
        raise ReleaseError(f"{place.name} holds a repository already; nothing was changed")


def _sign(
    settings: ReleaseSettings,
    place: Place,
    offline: "Mapping[str, list[CryptoSigner]]",
    online: "Mapping[str, CryptoSigner]",
    threshold: int,
    now: datetime,
) -> Chain:
    from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

    until = {role: now + timedelta(days=getattr(settings.expire_days, role)) for role in OFFLINE}
    root = Root(expires=until[ROOT], consistent_snapshot=True)
    for role in (ROOT, TARGETS_ROLE):
        for signer in offline[role]:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = threshold
    for role in (SNAPSHOT, TIMESTAMP):
        root.add_key(online[role].public_key, role)
    models_keys = [signer.public_key for signer in offline[MODELS_ROLE]]
    rollout_key = online[ROLLOUT_ROLE].public_key
    delegations = Delegations(
        keys={key.keyid: key for key in (*models_keys, rollout_key)},
        roles={
            MODELS_ROLE: DelegatedRole(
                MODELS_ROLE, [key.keyid for key in models_keys], threshold, True, list(MODELS_PATHS)
            ),
            ROLLOUT_ROLE: DelegatedRole(ROLLOUT_ROLE, [rollout_key.keyid], 1, True, list(ROLLOUT_PATHS)),
        },
    )
    metadata: dict[str, Metadata[Any]] = {
        ROOT: Metadata(root),
        TARGETS_ROLE: Metadata(Targets(expires=until[TARGETS_ROLE], delegations=delegations)),
        MODELS_ROLE: Metadata(Targets(expires=until[MODELS_ROLE])),
    }
    for role, one in metadata.items():
        for signer in offline[role]:
            one.sign(signer, append=True)
    keys = Online(settings.online_keys, settings.expire_days, now)
    return first(place, metadata[ROOT], metadata[TARGETS_ROLE], metadata[MODELS_ROLE], keys)
