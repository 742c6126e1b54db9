"""Who shall run what: from what a channel wants now to what it shall want. Nothing is signed here."""

from edge.updates.release import Rollout, Stage
from trainer.release import ReleaseError
from trainer.release.chain import Chain, Kind, Release


def stage_of(rollout: Rollout, kind: Kind) -> Stage:
    """What the channel wants of a kind. Raises ReleaseError: nothing."""
    stage: Stage | None = getattr(rollout, kind)
    if stage is None:
        raise ReleaseError(
            f"no {kind} was released on {rollout.channel} yet; begin with `ecosight-trainer release publish`"
        )
    return stage


def published(rollout: Rollout, kind: Kind, target: str, fraction: float) -> Rollout:
    """``target`` for a share of the channel; the others keep, or go back to, what all of them had last."""
    stage: Stage | None = getattr(rollout, kind)
    if stage is None:
        otherwise = None
    elif stage.wanted == target:
        otherwise = stage.otherwise
    else:
        # A release that some were trying is not what the others shall have.
        otherwise = stage.wanted if stage.fraction >= 1 else stage.otherwise
    return _with(rollout, kind, Stage(wanted=target, fraction=fraction, otherwise=otherwise))


def widened(rollout: Rollout, kind: Kind, fraction: float) -> Rollout:
    """The same release for a larger share. Raises ReleaseError: it would be smaller, or it is paused."""
    stage = stage_of(rollout, kind)
    if stage.paused:
        raise ReleaseError(f"{kind} on {rollout.channel} is paused; go on with `ecosight-trainer release resume` first")
    if fraction < stage.fraction:
        raise ReleaseError(
            f"{stage.wanted} is at {stage.fraction:.0%} on {rollout.channel}, and {fraction:.0%} is less; a release is "
            "widened, paused or withdrawn"
        )
    return _with(rollout, kind, stage.model_copy(update={"fraction": fraction}))


def paused(rollout: Rollout, kind: Kind, paused: bool) -> Rollout:
    """Nobody changes anything any more, or they do again. Raises ReleaseError: nothing is there to pause."""
    return _with(rollout, kind, stage_of(rollout, kind).model_copy(update={"paused": paused}))


def withdrawn(rollout: Rollout, kind: Kind, chain: Chain, to: str | None = None) -> tuple[Rollout, Release]:
    """The older release for all, paused or not; and which it is.

    Raises:
        ReleaseError: there is nothing older, or ``to`` is not signed, is what shall go, or lies under the floor.
    """
    stage = stage_of(rollout, kind)
    if to is None and stage.otherwise is None:
        raise ReleaseError(
            f"there is nothing older than {stage.wanted} on {rollout.channel} that devices could go back to; name a "
            "release with --to, or publish what shall run in its place"
        )
    release = signed(chain, kind, to) if to is not None else chain.release(stage.otherwise or "")
    if release is None:
        raise ReleaseError(f"{stage.otherwise} is not signed any more; name a release with --to")
    if release.target == stage.wanted:
        raise ReleaseError(f"{release.target} is what {rollout.channel} wants now; name another with --to")
    refuse_under_floor(chain, release)
    return _with(rollout, kind, Stage(wanted=release.target, fraction=1.0)), release


def signed(chain: Chain, kind: Kind, name: str) -> Release:
    """The signed release that is meant by its target, its version or its number. Raises ReleaseError."""
    every = chain.releases(kind)
    meant = [one for one in every if name in (one.target, one.version, one.title, str(one.number))]
    if len(meant) == 1:
        return meant[0]
    there = ", ".join(f"{one.number} = {one.target}" for one in every[-5:]) or "none"
    raise ReleaseError(f"maintainers signed {'several' if meant else 'no'} {kind}s {name!r}; the newest: {there}")


def refuse_under_floor(chain: Chain, release: Release) -> None:
    """Raises ReleaseError: devices would not take it."""
    floor = getattr(chain.floor(), release.kind)
    if release.number < floor:
        raise ReleaseError(
            f"{release.target} has number {release.number}, and the floor is {floor}: devices would refuse it"
        )


def _with(rollout: Rollout, kind: Kind, stage: Stage) -> Rollout:
    return rollout.model_copy(update={kind: stage})
