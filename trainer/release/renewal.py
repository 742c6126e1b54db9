"""Signatures that hold for longer: the online ones by a timer, those of maintainers by hand."""

from datetime import datetime, timedelta

from edge.updates.release import ROLLOUT_ROLE
from trainer.release.chain import OFFLINE, SNAPSHOT, Chain
from trainer.release.change import Change
from trainer.release.placing import Online, Placing, put
from trainer.release.rotation import renewed


def resign_online(chain: Chain, online: Online) -> Chain:
    """A new timestamp always; snapshot and rollout once half of their time is over. Raises ReleaseError."""
    rollout = _half_over(chain, ROLLOUT_ROLE, online)
    snapshot = rollout or _half_over(chain, SNAPSHOT, online)
    return put(chain, Placing(renew_rollout=rollout, renew_snapshot=snapshot), online)


def offline_change(chain: Chain, online: Online, by: str, at: datetime) -> Change:
    """The maintainers' roles with a later end, to be signed."""
    return Change(f"renew {', '.join(OFFLINE)}", by, at, renewed(chain, OFFLINE, online))


def _half_over(chain: Chain, role: str, online: Online) -> bool:
    left: timedelta = chain.role(role).signed.expires - online.now
    return left < (online.expires(role) - online.now) / 2
