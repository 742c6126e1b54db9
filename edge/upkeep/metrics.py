"""A Prometheus endpoint on 127.0.0.1: the newest ``health`` message as text. Off by default.

    server = MetricsServer(settings.health.prometheus_port, lambda: reporter.newest)
    server.start()

Nothing is measured at a scrape: a scrape costs the rendering of some forty lines. Text format 0.0.4
(prometheus.io, "Exposition formats").
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge.delivery.messages import Health

if TYPE_CHECKING:
    import http.server

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_TIMEOUT_S = 5.0
STOP_S = 0.2
"""A scrape that is being answered is answered well within it."""
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Metric:
    """How one field of ``Health`` is exposed, in Prometheus' base units (seconds, bytes, ratios as they stand)."""

    field: str
    name: str
    kind: Literal["gauge", "counter"]
    help: str
    scale: float = 1.0


METRICS = (
    Metric("uptime_s", "ecosight_uptime_seconds", "gauge", "Since the daemon started."),
    Metric("temperature_c", "ecosight_temperature_celsius", "gauge", "Temperature of the processor."),
    Metric("supply_v", "ecosight_supply_volts", "gauge", "Voltage that feeds the board."),
    Metric("battery_percent", "ecosight_battery_ratio", "gauge", "Charge of the battery, 0 to 1.", 0.01),
    Metric("cpu_percent", "ecosight_cpu_ratio", "gauge", "CPU of the daemon and its children; 1 is one core.", 0.01),
    Metric("memory_mib", "ecosight_memory_bytes", "gauge", "Memory of the daemon and its children.", MIB),
    Metric("disk_free_bytes", "ecosight_disk_free_bytes", "gauge", "Free space in the state folder."),
    Metric("clips_bytes", "ecosight_clips_bytes", "gauge", "Bytes that clips take on disk."),
    Metric("outbox_depth", "ecosight_outbox_depth_messages", "gauge", "Messages that wait for the broker."),
    Metric("clips_waiting", "ecosight_clips_waiting", "gauge", "Clips that wait for the storage."),
    Metric("clips_evicted", "ecosight_clips_evicted_total", "counter", "Clips that were evicted for want of space."),
    Metric(
        "clip_messages_dropped",
        "ecosight_clip_messages_dropped_total",
        "counter",
        "Clip messages that were never sent, because too many waited.",
    ),
    Metric("bytes_sent_today", "ecosight_sent_today_bytes", "gauge", "Bytes sent since midnight UTC."),
    Metric("samples_lost", "ecosight_samples_lost_total", "counter", "Frames that were lost, at the capture rate."),
    Metric("gaps", "ecosight_gaps_total", "counter", "Stretches of lost or missing sound."),
    Metric("overflows", "ecosight_driver_overflows_total", "counter", "Times that the sound driver dropped samples."),
    Metric("overruns", "ecosight_ring_overruns_total", "counter", "Times that sound left the ring unread."),
    Metric("newest_sample_age_s", "ecosight_newest_sample_age_seconds", "gauge", "Age of the newest sample."),
    Metric("level_dbfs", "ecosight_level_dbfs", "gauge", "Level of the sound."),
    Metric("noise_floor_dbfs", "ecosight_noise_floor_dbfs", "gauge", "Noise floor of the sound."),
    Metric("clock_drift_ppm", "ecosight_clock_drift_ppm", "gauge", "Sound card's clock against the system's."),
    Metric("inference_p50_ms", "ecosight_inference_p50_seconds", "gauge", "Median time for one window.", 0.001),
    Metric("inference_p95_ms", "ecosight_inference_p95_seconds", "gauge", "95th percentile for one window.", 0.001),
    Metric("hop_s", "ecosight_hop_seconds", "gauge", "Time between the starts of two windows."),
    Metric("windows", "ecosight_windows_total", "counter", "Windows that were scored."),
    Metric("windows_skipped", "ecosight_windows_skipped_total", "counter", "Windows lost by a detector that was late."),
    Metric(
        "windows_gated", "ecosight_windows_gated_total", "counter", "Windows that the energy gate spared the network."
    ),
    Metric("alerts", "ecosight_alerts_total", "counter", "Alerts since the daemon started."),
    Metric("vetoed", "ecosight_vetoed_total", "counter", "Events near a sound that was marked as false."),
    Metric("vetoes", "ecosight_vetoes", "gauge", "Sounds marked as false."),
    Metric("alerts_muted", "ecosight_alerts_muted_total", "counter", "Alerts not sent because the device is muted."),
    Metric("commands_rejected", "ecosight_commands_rejected_total", "counter", "Commands that were refused."),
)


def render(health: Health | None) -> str:
    """The exposition of a health message; before the first, only that the daemon is up."""
    lines: list[str] = []

    def expose(name: str, kind: str, meaning: str, samples: list[tuple[dict[str, str], float]]) -> None:
        lines.extend((f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{_labels(labels)} {_value(value)}" for labels, value in samples)

    expose("ecosight_up", "gauge", "The daemon runs.", [({}, 1)])
    if health is None:
        return "\n".join(lines) + "\n"
    unit = {"site": health.site, "device": health.device}
    values: dict[str, Any] = dict(health)
    for metric in METRICS:
        value = values[metric.field]
        if value is not None:
            expose(metric.name, metric.kind, metric.help, [(unit, value * metric.scale)])
    for name, meaning, by_label in (
        ("ecosight_threshold", "Score that counts as heard, now.", health.thresholds),
        ("ecosight_threshold_raised", "Log-odds by which the site has raised it.", health.thresholds_raised),
    ):
        if by_label:
            expose(name, "gauge", meaning, [(unit | {"label": label}, value) for label, value in by_label.items()])
    if health.throttled is not None:
        flags = int(health.throttled, 16)
        expose("ecosight_throttled_flags", "gauge", "The Pi's throttled flags as a number.", [(unit, flags)])
    expose(
        "ecosight_state",
        "gauge",
        "1 for the state that the daemon is in.",
        [(unit | {"state": state}, float(health.state == state)) for state in ("ok", "degraded", "no_audio")],
    )
    problems = [(unit | {"code": code}, 1.0) for code in health.problems]
    expose("ecosight_problem", "gauge", "1 for each problem; docs/reference/health.md explains the codes.", problems)
    synchronised = float(health.at.clock_synchronised)
    expose("ecosight_clock_synchronised", "gauge", "1 when the wall clock is set.", [(unit, synchronised)])
    expose("ecosight_health_timestamp_seconds", "gauge", "When this was measured.", [(unit, health.at.utc.timestamp())])
    model = {"model": health.model.name, "model_version": health.model.version} if health.model else {}
    expose("ecosight_info", "gauge", "Versions.", [(unit | {"version": health.version} | model, 1)])
    return "\n".join(lines) + "\n"


class MetricsServer:
    """Serves ``/metrics`` from a thread of its own between ``start`` and ``stop``. Only this machine can reach it."""

    def __init__(self, port: int, newest: Callable[[], Health | None]) -> None:
        """``port`` 0 takes a free one; ``self.port`` says which after ``start``."""
        self.port = port
        self.problems: list[str] = []
        self._newest = newest
        self._server: http.server.HTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._stop = -1

    def start(self) -> None:
        """A port that is taken is a problem (``metrics:port_taken``), never a reason not to listen for shots."""
        import http.server

        newest = self._newest

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = REQUEST_TIMEOUT_S  # a client that says nothing must not keep the thread

            def do_GET(self) -> None:
                if self.path.partition("?")[0] not in ("/metrics", "/"):
                    self.send_error(404, "only /metrics is here")
                    return
                body = render(newest()).encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
                log.debug("metrics: " + format, *args)

        try:
            self._server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        except OSError as error:
            log.error("metrics are not served: 127.0.0.1:%d: %s", self.port, error)
            self.problems = ["metrics:port_taken"]
            return
        self.problems = []
        self.port = int(self._server.server_address[1])
        self._server.timeout = 0
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._serve, args=(self._server,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the port back. A client that has not said what it wants keeps the thread, and nobody else."""
        if self._server is None or self._thread is None:
            return
        self._stopping = True
        os.eventfd_write(self._stop, 1)
        self._thread.join(STOP_S)
        self._server.server_close()
        if not self._thread.is_alive():
            os.close(self._stop)
        self._server = self._thread = None

    def _serve(self, server: "http.server.HTTPServer") -> None:
        # Not serve_forever(): that polls for its end, which wakes the board and keeps stop() waiting.
        while not self._stopping:
            select.select([server.fileno(), self._stop], [], [])
            if not self._stopping:
                server.handle_request()


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(escaped) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _value(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
