"""What comes over the air beside models, for the daemon's thread of updates."""

from typing import TYPE_CHECKING

from edge.updates.overlay_kind import OverlayKind
from edge.updates.program_kind import ProgramKind

if TYPE_CHECKING:
    from edge.daemon import Daemon


def other_kinds(daemon: "Daemon") -> tuple[OverlayKind, ProgramKind]:
    """For ``Updates(daemon, slots, others)``. Asks nothing of the daemon before it runs."""
    overlays = OverlayKind(
        daemon.settings,
        alerts=lambda: daemon.desk.alerts,
        windows=lambda: (daemon.detector.windows, daemon.detector.skipped),
    )
    return overlays, ProgramKind(daemon.settings)
