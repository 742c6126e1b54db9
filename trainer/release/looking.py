"""`release status`: what is released, who runs it, what waits, and when signatures run out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge.updates.release import Rollout, Stage
from trainer.release import ReleaseError, fleet
from trainer.release.chain import KINDS, OFFLINE, ONLINE
from trainer.release.session import Say, Session

if TYPE_CHECKING:
    from trainer.release.broker import Device


def heard(opened: Session, seconds: float, say: Say) -> "list[Device]":
    """What devices say; nothing, and said why, where they cannot be heard."""
    from trainer.release.broker import listen

    if opened.settings.broker is None:
        say("no broker in release.yaml: devices cannot be heard")
        return []
    try:
        return listen(opened.settings.broker, seconds)
    except ReleaseError as error:
        say(f"devices cannot be heard: {error}")
        return []


def document(opened: Session, devices: "Sequence[Device]", lacking: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """For scripts."""
    return fleet.document(opened.chain, devices, lacking)


def show(opened: Session, devices: "Sequence[Device]", lacking: Mapping[str, Sequence[str]]) -> None:
    """For people."""
    from rich.console import Console

    chain = opened.chain
    console = Console(highlight=False, markup=False)
    console.print(fleet.rollout_table(chain, devices))
    if devices:
        console.print(fleet.device_table(devices, opened.now))
    floor = chain.floor()
    console.print(f"floor: model {floor.model}, program {floor.program}, overlay {floor.overlay}")
    ends = (f"{role} {chain.role(role).signed.expires:%Y-%m-%d}" for role in (*OFFLINE, *ONLINE))
    console.print(f"signatures hold until: {', '.join(ends)}")
    for role in chain.expired(opened.now):
        console.print(f"RUN OUT: {role}; devices keep what they run and take nothing new")
    for what, roles in lacking.items():
        console.print(f"waits for signatures: {what}")
        for one in roles:
            console.print(f"  {one}")


def in_words(rollout: Rollout) -> str:
    """A line for each thing that a channel wants."""
    lines = []
    for kind in KINDS:
        stage: Stage | None = getattr(rollout, kind)
        if stage is not None:
            others = f"; the others: {stage.otherwise or 'as they are'}" if stage.fraction < 1 else ""
            paused = ", paused" if stage.paused else ""
            lines.append(f"{rollout.channel}: {stage.wanted} for {stage.fraction:.0%}{paused}{others}")
    return "\n".join(lines)
