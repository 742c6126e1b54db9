"""`release publish`, from what was named to what shall be signed."""

from collections.abc import Sequence
from pathlib import Path

from edge.updates.fetching import deltas
from trainer.release import contents
from trainer.release.chain import Kind
from trainer.release.change import Change
from trainer.release.contents import Content, next_number
from trainer.release.publishing import Asked, already_signed, prepare, refuse_repeat
from trainer.release.session import Session
from trainer.release.stages import published, signed


def change_for(
    opened: Session, asked: Asked, model: str | None, program: Sequence[Path], overlay: Path | None
) -> Change | None:
    """What maintainers shall sign; None: they had, and it is out. Raises ReleaseError."""
    if model is not None and not Path(model).exists():
        # By its name, then; that it was signed is for `signed` to say.
        _offer(opened, asked, "model", signed(opened.chain, "model", model).target)
        return None
    content = _read(opened, model, program, overlay)
    if already_signed(opened.chain, content):
        _offer(opened, asked, content.kind, content.target)
        return None
    opened.refuse_waiting()
    return prepare(opened.chain, content, asked, opened.online, deltas.make)


def _read(opened: Session, model: str | None, program: Sequence[Path], overlay: Path | None) -> Content:
    if model is not None:
        return contents.model(Path(model), next_number(opened.chain, "model"))
    if overlay is not None:
        return contents.overlay(overlay, next_number(opened.chain, "overlay"))
    return contents.program(program, next_number(opened.chain, "program"))


def _offer(opened: Session, asked: Asked, kind: Kind, target: str) -> None:
    refuse_repeat(opened.chain, asked, kind, target)
    rollout = opened.chain.rollout_of(asked.channel)
    opened.put_rollout(published(rollout, kind, target, asked.fraction))
