"""What maintainers signed long ago is signed no more, before the list of it gets longer than devices read.

Devices read a role's metadata up to a bound (`fetching.limits`), some 700 models with their deltas. When a release
would bring the list near to it, the oldest releases leave it that no channel gives to devices. Their files stay where
they are; what a device runs goes on, and signed again they may be released again.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from edge.updates.release import Wheelhouse
from trainer.release import ReleaseError
from trainer.release.chain import KINDS, Chain, Release, stored

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, TargetFile, Targets

NEAR, ROOMY = 0.9, 0.7
"""Shares of the bound: above the one the oldest go, until the list is below the other."""
KEPT = 10
"""The newest of each kind stay, given to devices or not."""


def forget(
    chain: Chain, metadata: "Metadata[Targets]", given_out: Collection[str], most_bytes: int, room_bytes: int = 4096
) -> list[Release]:
    """Take the oldest releases out of ``metadata``, if it is too long; which they were.

    ``given_out``: what devices may be told to run, as rollouts name it. ``room_bytes``: for signatures to come.

    Raises:
        ReleaseError: it is too long, and nothing can go.
    """
    targets = metadata.signed.targets

    def length() -> int:
        return len(metadata.to_bytes()) + room_bytes

    if length() <= NEAR * most_bytes:
        return []
    old = [one for kind in KINDS for one in chain.releases(kind)[:-KEPT] if one.target not in given_out]
    gone = []
    for release in sorted(old, key=lambda one: (one.kind == "program", one.number)):
        if length() <= ROOMY * most_bytes:
            break
        for path in [path for path in targets if _belongs(path, release)]:
            del targets[path]
        if release.kind == "program":
            _forget_wheels(chain, targets)
        gone.append(release)
    if length() > most_bytes:
        raise ReleaseError(
            f"the list of what maintainers signed would have {length()} bytes, and devices read {most_bytes} at most; "
            f"all but the newest {KEPT} of each kind and what channels give to devices has left it already. Give "
            "the newest release to all on every channel, then do this again"
        )
    return gone


def _belongs(path: str, release: Release) -> bool:
    if release.kind == "program":
        return path.startswith(f"{release.target}/")
    return path == release.target or (path.startswith("deltas/") and path.endswith(f".{release.sha256}"))


def _forget_wheels(chain: Chain, targets: "dict[str, TargetFile]") -> None:
    """Wheels that no program names any more."""
    named: set[str] = set()
    for path in targets:
        if path.startswith("programs/") and not path.startswith("programs/wheels/"):
            content = chain.place.get(stored(path, targets[path]))
            if content is None:
                return  # nobody can say what it names
            named |= set(Wheelhouse.model_validate_json(content).wheels)
    for path in [path for path in targets if path.startswith("programs/wheels/") and path not in named]:
        del targets[path]
