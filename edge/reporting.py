"""What the daemon says of itself: health each minute and whenever the sound comes or goes, and the metrics page."""

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge.delivery.messages import Health
from edge.durable import commit_bytes
from edge.upkeep import health
from edge.upkeep.metrics import MetricsServer

if TYPE_CHECKING:
    from edge.daemon import Daemon

FIRST_REPORT_S = 2.0
"""The first message goes out this long after the start: by then the microphone and the broker have answered."""


HEALTH_FILE = "health.json"


def _leave_for_this_machine(report: Health) -> None:
    """The newest health, for whoever watches on the device: in the unit's runtime directory, which is memory."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    if folder:
        with contextlib.suppress(OSError):
            commit_bytes(Path(folder) / HEALTH_FILE, report.to_json())


class Reporting:
    """Run by the main thread."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self.reporter = health.Reporter(daemon.settings, _sources(daemon))
        self.due_at_once = False
        """Set by any thread when something happened that nobody should wait a minute for."""
        self.configuration_refused = False
        """A reload brought a configuration that cannot be used; the old one goes on."""
        self._due_s = time.monotonic() + FIRST_REPORT_S
        port = daemon.settings.health.prometheus_port
        self._metrics = MetricsServer(port, lambda: self.reporter.newest) if port is not None else None

    @property
    def problems(self) -> list[str]:
        """Of the metrics page."""
        return self._metrics.problems if self._metrics is not None else []

    @property
    def due_in_s(self) -> float:
        """Until the next message."""
        return max(0.0, self._due_s - time.monotonic())

    def start(self) -> None:
        if self._metrics is not None:
            self._metrics.start()

    def tick(self) -> None:
        """Publish if it is time."""
        now_s = time.monotonic()
        if self.due_at_once or now_s >= self._due_s:
            self.due_at_once = False
            self._due_s = now_s + self._daemon.settings.health.interval_s
            report = self.reporter.report()
            self._daemon.mqtt.publish_health(report)
            _leave_for_this_machine(report)

    def stop(self) -> None:
        if self._metrics is not None:
            self._metrics.stop()


def problems(daemon: "Daemon") -> list[str]:
    """The codes of all parts; what they mean stands in docs/reference/health.md."""
    found = [daemon.capture.problem] if daemon.capture.problem else []
    found += ["muted"] if daemon.mute() else []
    found += daemon.choice.problems + daemon.site.problems + daemon.outbox.problems + daemon.mqtt.problems
    found += daemon.clips.problems + daemon.storage.problems + daemon.reporting.problems
    found += daemon.updates.problems
    found += [f"watchdog:hung:{name}" for name in daemon.watchdog.hung]
    if daemon.reporting.configuration_refused:
        found.append("configuration:refused")
    return found


def _sources(daemon: "Daemon") -> health.Sources:
    return health.Sources(
        now=daemon.clock.now,
        problems=lambda: problems(daemon),
        outbox_depth=lambda: daemon.outbox.depth,
        clips_bytes=daemon.outbox.clip_bytes,
        clips_waiting=lambda: daemon.storage.waiting,
        clips_evicted=lambda: daemon.clips.evicted,
        clip_messages_dropped=lambda: daemon.outbox.clip_messages_dropped,
        bytes_sent_today=lambda: daemon.mqtt.bytes_sent_today + daemon.storage.bytes_sent_today,
        samples_lost=lambda: daemon.ring.lost_frames,
        gaps=lambda: daemon.ring.gap_count,
        overflows=lambda: daemon.capture.overflows,
        overruns=lambda: daemon.ring.overruns,
        newest_sample_age_s=lambda: time.monotonic() - daemon.ring.newest_at_s,
        level_dbfs=lambda: daemon.liveness.level_dbfs,
        noise_floor_dbfs=lambda: daemon.liveness.noise_floor_dbfs,
        clock_drift_ppm=lambda: daemon.clock.drift_ppm,
        inference_ms=lambda: list(daemon.detector.inference_ms),
        hop_s=lambda: daemon.settings.detection.hop_s,
        windows=lambda: daemon.detector.windows,
        windows_skipped=lambda: daemon.detector.skipped,
        windows_gated=lambda: daemon.detector.gated,
        alerts=lambda: daemon.desk.alerts,
        alerts_muted=lambda: daemon.desk.alerts_muted,
        muted_until=lambda: daemon.mute.until,
        vetoed=lambda: daemon.desk.vetoed,
        newest_veto=lambda: daemon.desk.newest_veto,
        vetoes=lambda: daemon.site.marks.in_force if daemon.site.marks.wanted else None,
        thresholds=lambda: {label: round(value, 4) for label, value in daemon.site.thresholds().items()},
        thresholds_raised=lambda: {label: round(value, 3) for label, value in daemon.site.raised().items()},
        commands_rejected=lambda: daemon.commands.rejected,
        model=lambda: daemon.choice.model.name,
    )
