"""What the retained ``model`` topic says: what runs, what is wanted, and what an update is doing."""

from typing import TYPE_CHECKING

from edge import __version__
from edge.delivery.messages import ModelName, ModelReport

if TYPE_CHECKING:
    from edge.daemon import Daemon
    from edge.updates.model.candidate import Candidate
    from edge.updates.model.slots import Slots

STEP = 0.05
"""Progress is told in steps of this: each is a message on a thin link."""


class Reporter:
    """Publishes when something has changed. Used by the thread of updates."""

    def __init__(self, daemon: "Daemon", slots: "Slots", candidate: "Candidate") -> None:
        self._daemon = daemon
        self._slots = slots
        self._candidate = candidate
        self._said: ModelReport | None = None

    def publish(self, downloaded: float | None = None) -> None:
        """Say how it is now; ``downloaded`` is the progress of a download."""
        report = self.report(downloaded)
        if report != self._said:
            self._daemon.mqtt.publish_retained("model", report.to_json())
            self._said = report

    def report(self, downloaded: float | None = None) -> ModelReport:
        daemon, state = self._daemon, self._slots.state
        model, updates = daemon.choice.model, daemon.settings.updates
        refused = "; ".join(daemon.choice.refused)
        wanted = state.candidate or state.offered
        progress = downloaded if state.phase == "downloading" else self._candidate.progress
        error = refused or state.error
        return ModelReport(
            installed=model.name,
            labels=list(model.manifest.labels),
            state="failed" if error and state.phase == "idle" else state.phase,
            error=error,
            offered=ModelName(name=wanted.name, version=wanted.version, sha256=wanted.sha256)
            if wanted is not None and wanted.sha256 != model.sha256
            else None,
            progress=None if progress is None else round(progress // STEP * STEP, 2),
            pinned=state.pinned or daemon.settings.detection.model is not None,
            checked_at=state.checked_at,
            channel=updates.channel if updates.url is not None else "",
            program=__version__,
            program_offered=daemon.program.offered_version,
            program_state=daemon.program.status.state,
            program_error=daemon.program.status.error if daemon.program.status.state == "failed" else "",
            overlay=daemon.overlay.holds,
            overlay_error=daemon.overlay.state.error,
            muted_until=daemon.overlay.muted_until,
        )
