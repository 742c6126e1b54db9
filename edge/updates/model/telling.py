"""What `ecosight-edge model history|rollback|pin|unpin|update` say and do."""

from collections.abc import Iterator
from pathlib import Path

from edge import state_lock
from edge.settings import EdgeSettings
from edge.updates.model import person, state

PATIENCE_S = 60.0
"""The daemon looks every five seconds; going back to another model verifies it first."""


class NotDone(RuntimeError):  # noqa: N818 -- an answer, not a fault
    """The daemon did not do it. The text says why."""


def history(state_dir: Path, configured: Path | None) -> Iterator[str]:
    """Lines for a person: what happened, oldest first, and how it stands.

    Raises:
        ValueError, OSError: the state cannot be read.
    """
    now = state.read(state_dir)
    for past in now.history:
        name = f"{past.name} {past.version}".strip()
        yield f"{past.at:%Y-%m-%d %H:%M:%SZ}  {past.event:<11}  {name:<24}  {past.sha256[:12]:<12}  {past.why}".rstrip()
    if not now.history:
        yield "no model has come over the air yet"
    if configured is not None:
        yield f"runs: {configured}, which detection.model in the configuration names; no updates"
    elif now.active is not None and now.active in now.slots:
        release = now.slots[now.active].release
        yield f"runs: {release.name} {release.version}, in slot {now.active}"
    if now.candidate is not None:
        yield f"under way: {now.candidate.name} {now.candidate.version}: {now.phase}"
    if now.error:
        yield f"the last update did not stay: {now.error}"
    if now.pinned:
        yield "pinned: the model stays; `ecosight-edge model unpin` lets updates go on"


def wish(settings: EdgeSettings, action: person.Action) -> str:
    """Ask the daemon, and return what it answered. Raises NotDone, OSError."""
    if not settings.state_dir.is_dir():
        raise NotDone(f"there is no state folder {settings.state_dir}; start the daemon first")
    asked = person.ask(settings.state_dir, action)
    if not state_lock.held(settings.state_dir):
        return "no daemon runs here; its next start will do it"
    answer = person.wait_for(settings.state_dir, asked, PATIENCE_S)
    if answer is None:
        raise NotDone(f"the daemon has not answered within {PATIENCE_S:g} s; its log says more")
    if not answer.ok:
        raise NotDone(answer.text)
    return answer.text
