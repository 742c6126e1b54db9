"""The ``health`` message: what the parts of the daemon say, what the board says, and what is wrong with it.

    reporter = Reporter(settings, sources)
    mqtt.publish_health(reporter.report())        # each minute

The daemon hands in a ``Sources`` of callables, so nothing here knows a part of it. Problems are short codes, each
explained in docs/reference/health.md; the first word says the part. With any problem the state is ``degraded``,
with one of ``no_audio`` it is ``no_audio``.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from edge import __version__
from edge.delivery.messages import Health, ModelName, Moment, Veto
from edge.settings import EdgeSettings
from edge.upkeep import board
from edge.upkeep.footprint import Footprint

log = logging.getLogger(__name__)

HOT_C = 80.0  # where a Pi begins to throttle (Raspberry Pi documentation, frequency management)
LOW_BATTERY_PERCENT = 20.0
SLOW_INFERENCE_OF_HOP = 0.5  # above this share of the hop, the detector soon cannot keep up
GROWING = {"samples_lost": "audio:samples_lost", "windows_skipped": "detection:windows_skipped"}
"""Counts that are a problem while they grow, with their codes."""


def _none() -> None:
    return None


def _zero() -> int:
    return 0


def _empty() -> Sequence[float]:
    return ()


def _no_problems() -> list[str]:
    return []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where each figure comes from. What the daemon does not pass stays None (or 0) in the message."""

    now: Callable[[], Moment]
    problems: Callable[[], list[str]] = _no_problems
    """Codes of the parts: ``no_audio:…``, ``mqtt:…``, ``storage:…``, ``outbox:…``, ``model:…``."""
    outbox_depth: Callable[[], int | None] = _none
    clips_bytes: Callable[[], int | None] = _none
    clips_waiting: Callable[[], int | None] = _none
    clips_evicted: Callable[[], int] = _zero
    clip_messages_dropped: Callable[[], int] = _zero
    bytes_sent_today: Callable[[], int | None] = _none
    samples_lost: Callable[[], int] = _zero
    gaps: Callable[[], int] = _zero
    overflows: Callable[[], int] = _zero
    overruns: Callable[[], int] = _zero
    newest_sample_age_s: Callable[[], float | None] = _none
    level_dbfs: Callable[[], float | None] = _none
    noise_floor_dbfs: Callable[[], float | None] = _none
    clock_drift_ppm: Callable[[], float | None] = _none
    inference_ms: Callable[[], Sequence[float]] = _empty
    """Durations of the recent windows; the message carries their percentiles."""
    hop_s: Callable[[], float | None] = _none
    windows: Callable[[], int] = _zero
    windows_skipped: Callable[[], int] = _zero
    windows_gated: Callable[[], int] = _zero
    alerts: Callable[[], int] = _zero
    alerts_muted: Callable[[], int] = _zero
    muted_until: Callable[[], datetime | None] = _none
    vetoed: Callable[[], int] = _zero
    newest_veto: Callable[[], Veto | None] = _none
    vetoes: Callable[[], int | None] = _none
    thresholds: Callable[[], dict[str, float]] = dict
    thresholds_raised: Callable[[], dict[str, float]] = dict
    commands_rejected: Callable[[], int] = _zero
    model: Callable[[], ModelName | None] = _none


class Reporter:
    """Assembles ``Health``. Holds what the last message said, to see samples being lost and CPU being used.

    ``report`` is called by one thread, ``look`` by any.
    """

    def __init__(
        self,
        settings: EdgeSettings,
        sources: Sources,
        root: Path = Path("/"),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._root = root
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._footprint = Footprint(root=root, monotonic_s=monotonic_s)
        self._problems: list[str] = []
        self.newest: Health | None = None
        """The last message, for the Prometheus endpoint."""

    def report(self) -> Health:
        """The message of this minute. A part that fails to answer becomes a problem, never an exception."""
        health = self._assemble(self._footprint.cpu_percent())
        self._log_changes(health.problems)
        self.newest = health
        return health

    def look(self) -> Health:
        """How it is now, for whoever asks between two messages; the next one is the same as if nobody had.

        The CPU is that of the last message.
        """
        return self._assemble(self.newest.cpu_percent if self.newest is not None else None)

    def _assemble(self, cpu_percent: float | None) -> Health:
        values, problems = self._ask_all()
        settings, at = self._settings, self._sources.now()
        inference_ms = values.pop("inference_ms", None) or ()
        values["inference_p50_ms"] = percentile(inference_ms, 50)
        values["inference_p95_ms"] = percentile(inference_ms, 95)
        values |= {
            "temperature_c": board.temperature_c(self._root),
            "throttled": board.throttled(self._root),
            "supply_v": board.supply_v(self._root),
            "battery_percent": board.battery_percent(self._root),
            "disk_free_bytes": board.disk_free_bytes(settings.state_dir),
            "cpu_percent": cpu_percent,
            "memory_mib": self._footprint.memory_mib(),
        }
        problems += board_problems(values["throttled"], values["temperature_c"], values["battery_percent"])
        problems += _load_problems(values, settings, at)
        problems += _growing_problems(values, self.newest)

        def message() -> Health:
            codes = sorted(set(problems))
            return Health(
                site=settings.site,
                device=settings.device,
                at=at,
                uptime_s=self._monotonic_s() - self._started_s,
                state=state_of(codes),
                problems=codes,
                version=__version__,
                **{name: value for name, value in values.items() if value is not None},
            )

        try:
            return message()
        except ValidationError as error:
            # A figure that no message can carry is a part in trouble, too.
            for field in {str(one["loc"][0]) for one in error.errors()} & set(values):
                log.error("health: %s is %r", field, values.pop(field))
                problems.append(f"health:unanswered:{field}")
            return message()

    def _ask_all(self) -> tuple[dict[str, Any], list[str]]:
        values: dict[str, Any] = {}
        failed = []
        for field in dataclasses.fields(self._sources):
            if field.name == "now":
                continue
            try:
                value = getattr(self._sources, field.name)()
            except Exception:
                # One part in trouble must not silence the others: this message may be the only sign of it.
                log.exception("health: %s does not answer", field.name)
                failed.append(f"health:unanswered:{field.name}")
                continue
            # The level of perfect silence is minus infinity, which JSON cannot say.
            values[field.name] = None if isinstance(value, float) and not math.isfinite(value) else value
        return values, list(values.pop("problems", None) or ()) + failed

    def _log_changes(self, problems: list[str]) -> None:
        before, now = set(self._problems), set(problems)
        for code in sorted(now - before):
            log.warning("problem: %s", code)
        for code in sorted(before - now):
            log.info("no longer: %s", code)
        self._problems = problems


def state_of(problems: Sequence[str]) -> Literal["ok", "degraded", "no_audio"]:
    """The one word that a dashboard colours."""
    if any(code == "no_audio" or code.startswith("no_audio:") for code in problems):
        return "no_audio"
    return "degraded" if problems else "ok"


def board_problems(throttled: str | None, temperature_c: float | None, battery_percent: float | None) -> list[str]:
    """Codes for what the board says."""
    flags = int(throttled, 16) if throttled else 0
    problems = []
    if flags & board.UNDER_VOLTAGE:
        problems.append("board:under_voltage")
    elif flags & board.UNDER_VOLTAGE_EARLIER:
        # Dips are shorter than a minute; only the sticky bit shows a supply that sags at every transmission.
        problems.append("board:under_voltage_earlier")
    if flags & (board.THROTTLED | board.FREQUENCY_CAPPED | board.SOFT_TEMPERATURE_LIMIT):
        problems.append("board:throttled")
    if temperature_c is not None and temperature_c >= HOT_C:
        problems.append("board:hot")
    if battery_percent is not None and battery_percent <= LOW_BATTERY_PERCENT:
        problems.append("board:battery_low")
    return problems


def _growing_problems(values: Mapping[str, Any], before: Health | None) -> list[str]:
    counts = {field: getattr(before, field) if before is not None else 0 for field in GROWING}
    return [code for field, code in GROWING.items() if values.get(field, 0) > counts[field]]


def _load_problems(values: Mapping[str, Any], settings: EdgeSettings, at: Moment) -> list[str]:
    problems = []
    free_bytes = values["disk_free_bytes"]
    if free_bytes is None:
        problems.append("disk:gone")
    elif free_bytes < settings.clips.free_floor_bytes:
        problems.append("disk:low")
    hop_s, p95_ms = values.get("hop_s"), values["inference_p95_ms"]
    if hop_s and p95_ms is not None and p95_ms > 1000 * hop_s * SLOW_INFERENCE_OF_HOP:
        problems.append("detection:slow")
    if not at.clock_synchronised:
        problems.append("clock:not_synchronised")
    return problems


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank); None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
