"""The contract on the wire: topics and payloads of ``ecosight/v1/{site}/{device}/…``.

Every payload is JSON with ``schema_version``. Fields are only added, never renamed or given another meaning;
a contract test freezes their names, and the JSON Schemas in ``docs/reference/`` are generated from these
types. Imports nothing but pydantic and the standard library, so that a dashboard can use it alone.

A message is known by ``(alert_id, seq)``: one counter per alert over its ``alert`` and ``clip`` messages, so a
repeat can be dropped by anyone. Phases only move forward: ``new`` → ``update`` → ``end`` (or ``interrupted``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
ROOT = "ecosight/v1"

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Phase = Literal["new", "update", "end", "interrupted"]
ClipState = Literal["kept", "uploaded", "withheld", "evicted", "failed"]


@dataclass(frozen=True)
class Topics:
    """The topics of one device."""

    site: str
    device: str

    def of(self, leaf: str) -> str:
        return f"{ROOT}/{self.site}/{self.device}/{leaf}"

    @property
    def availability(self) -> str:
        return self.of("availability")

    @property
    def alert(self) -> str:
        return self.of("alert")

    @property
    def clip(self) -> str:
        return self.of("clip")

    @property
    def receipt(self) -> str:
        return self.of("receipt")

    @property
    def health(self) -> str:
        return self.of("health")

    @property
    def model(self) -> str:
        return self.of("model")

    def hint(self, channel: str) -> str:
        """Where releases of a channel are announced to the whole site."""
        return f"{ROOT}/{self.site}/models/{channel}"

    @property
    def location(self) -> str:
        return self.of("location")

    @property
    def command(self) -> str:
        return self.of("command")

    @property
    def response(self) -> str:
        return self.of("response")


class Payload(BaseModel):
    """What every payload shares."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1

    def to_json(self) -> bytes:
        """The payload as compact UTF-8 JSON."""
        return self.model_dump_json().encode()


class Moment(BaseModel):
    """One instant, as well as the device knows it. A Pi has no clock of its own: trust ``utc`` only if
    ``clock_synchronised``; within one boot, ``boot_s`` always orders and measures."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    utc: AwareDatetime
    """Wall clock, UTC."""
    clock_synchronised: bool
    """Whether the wall clock had been set from outside when ``utc`` was written."""
    clock_epoch: int = Field(ge=0)
    """Raised by one whenever the wall clock was stepped; 0 until the first synchronisation of a boot."""
    boot_id: str
    """Kernel boot id."""
    boot_s: float = Field(ge=0)
    """Seconds since boot (CLOCK_BOOTTIME)."""
    sample: int = Field(ge=0)
    """Frame index at the capture rate since the daemon started listening; 0 where no sound is meant."""


class ModelName(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    sha256: str = ""


class Place(BaseModel):
    model_config = ConfigDict(frozen=True)

    latitude_deg: float
    longitude_deg: float
    altitude_m: float | None = None
    description: str = ""


class Collapsed(BaseModel):
    """Alerts that a storm folded into one message."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    count: int = Field(ge=1)
    """Events in this message."""
    first: Moment
    """Onset of the first."""
    last: Moment
    """Onset of the last."""


class Alert(Payload):
    """``alert``, QoS 1: something a ranger must know."""

    alert_id: Identifier
    seq: int = Field(ge=0)
    phase: Phase
    test: bool = False
    """True for a drill: show it, act on it only as practice."""
    site: str
    device: str
    label: str
    """What was heard, in the model's own label (``gun_shot``)."""
    score: float
    """Highest score of the event so far. A score, not a probability."""
    threshold: float
    """The threshold that it passed."""
    onset: Moment
    """The first shot, refined from the waveform to a few milliseconds."""
    duration_s: float = Field(ge=0)
    """From the first onset to the end of the last shot heard so far."""
    shots: int = Field(ge=0)
    """Shots counted so far."""
    level_dbfs: float | None = None
    """Peak level of the event."""
    model: ModelName
    place: Place | None = None
    clock_corrected: bool = False
    """This message repeats an earlier state with a corrected time."""
    collapsed: Collapsed | None = None
    reason: str = ""
    """Why, for ``interrupted``."""
    muted: bool = False
    """It began while maintainers had muted the device. Such alerts are never sent; they stand beside their clips."""


class Clip(Payload):
    """``clip``, QoS 1: where the evidence of an alert is and what became of it."""

    alert_id: Identifier
    seq: int = Field(ge=0)
    site: str
    device: str
    state: ClipState
    key: str
    """``site/device/YYYY/MM/DD/alert_id.flac``, fixed when the clip was committed."""
    sha256: str = ""
    size_bytes: int = Field(default=0, ge=0)
    duration_s: float = Field(default=0, ge=0)
    sample_rate_hz: int = Field(default=0, ge=0)
    onset_s: float = Field(default=0, ge=0)
    """The first onset, in seconds from the start of the clip."""
    reason: str = ""
    """Why, for ``withheld``, ``evicted`` and ``failed``."""
    test: bool = False


class Receipt(Payload):
    """``receipt``, QoS 1, to the device: a receiver has committed an alert (``confirm: receipt``)."""

    alert_id: Identifier
    seq: int = Field(ge=0)
    receiver: str = Field(default="", max_length=64)


class Availability(Payload):
    """``availability``, retained; ``offline`` is the last will."""

    state: Literal["online", "offline"]
    boot_id: str = ""


class ModelReport(Payload):
    """``model``, retained: what runs, and what an update is doing."""

    installed: ModelName
    labels: list[str] = []
    state: Literal["idle", "downloading", "verifying", "trial", "probation", "failed"] = "idle"
    """``trial``: the new model listens beside the current one. ``probation``: it runs, and may still be taken back."""
    error: str = ""
    """Why the last update did not stay, or the model that was to run could not."""
    offered: ModelName | None = None
    """What the repository wants this device to run, where that is something else."""
    progress: float | None = Field(default=None, ge=0, le=1)
    """Of the present state."""
    pinned: bool = False
    """Somebody on the device asked for the model to stay as it is."""
    checked_at: AwareDatetime | None = None
    """When the repository last answered."""
    channel: str = ""
    program: str = ""
    """Version of the program."""
    program_offered: str = ""
    program_state: Literal["idle", "installing", "probation", "failed"] = "idle"
    """``probation``: the new program runs, and may still be taken back."""
    program_error: str = ""
    """Why the last update of the program did not stay, or could not be installed."""
    overlay: str = ""
    """Id of the signed overlay that holds, empty for none."""
    overlay_error: str = ""
    """Why the last overlay does not hold."""
    muted_until: AwareDatetime | None = None
    """The overlay lets no alerts go out before this instant."""


class ModelHint(Payload):
    """``ecosight/v1/{site}/models/{channel}``, retained: a release exists. What may run, only signatures say."""

    channel: str
    at: AwareDatetime


class LocationReport(Payload):
    """``location``, retained."""

    place: Place


class Veto(BaseModel):
    """An event that was no alert, because a ranger had marked one that sounded like it as false."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    at: Moment
    label: str
    score: float
    marked: str
    """The ``alert_id`` that was marked."""
    distance: float
    """From it; the model's rule says how near is near."""


class Health(Payload):
    """``health``, latest only, never on disk. None where the board does not say."""

    site: str
    device: str
    at: Moment
    uptime_s: float
    state: Literal["ok", "degraded", "no_audio"]
    problems: list[str] = []
    """Short codes, each with its meaning in the reference (``no_audio:silent``, ``mqtt:refused:135``, …)."""
    temperature_c: float | None = None
    throttled: str | None = None
    """The Pi's ``throttled`` flags in hex."""
    supply_v: float | None = None
    battery_percent: float | None = None
    cpu_percent: float | None = None
    """CPU of the unit since the last message; 100 is one core."""
    memory_mib: float | None = None
    """Resident memory of the daemon and its children."""
    disk_free_bytes: int | None = None
    clips_bytes: int | None = None
    outbox_depth: int | None = None
    clips_waiting: int | None = None
    clips_evicted: int = 0
    clip_messages_dropped: int = 0
    """Clip messages that were never sent, because too many waited; what became of the clips they did not change."""
    bytes_sent_today: int | None = None
    samples_lost: int = 0
    gaps: int = 0
    """Stretches of lost or missing sound since the start."""
    overflows: int = 0
    """Times that the sound driver said it had dropped samples."""
    overruns: int = 0
    """Times that sound had left the ring before it was read."""
    newest_sample_age_s: float | None = None
    level_dbfs: float | None = None
    noise_floor_dbfs: float | None = None
    clock_drift_ppm: float | None = None
    inference_p50_ms: float | None = None
    inference_p95_ms: float | None = None
    hop_s: float | None = None
    windows: int = 0
    windows_skipped: int = 0
    """Never scored: the detector could not keep up."""
    windows_gated: int = 0
    """Spared the network by `detection.energy_gate`."""
    alerts: int = 0
    alerts_muted: int = 0
    """Of these, how many were not sent because maintainers had muted the device."""
    muted_until: AwareDatetime | None = None
    """No alerts go out before this instant."""
    vetoed: int = 0
    """Events that were no alerts, because they were near a sound marked as false."""
    newest_veto: Veto | None = None
    vetoes: int | None = None
    """Sounds marked as false that events are compared with."""
    thresholds: dict[str, float] = {}
    """Of each alert label, in force now."""
    thresholds_raised: dict[str, float] = {}
    """Log-odds by which the site's own background has raised them; empty where the model has no rule for it."""
    commands_rejected: int = 0
    model: ModelName | None = None
    version: str = ""


class Command(BaseModel):
    """``command``, QoS 1, never retained, to the device. Unknown fields are refused: a typo must not half work."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    id: Identifier
    """Chosen by the sender; the answer carries it, and a repeat is not carried out twice."""
    command: Literal["status", "drill", "record", "restart", "upload", "mark", "update"]
    expires: AwareDatetime
    """After this instant the command is refused."""
    arguments: dict[str, Any] = {}


class Response(Payload):
    """``response``, QoS 1, with the command's MQTT 5 correlation data."""

    id: str
    command: str = ""
    ok: bool
    error: str = ""
    result: dict[str, Any] = {}


def storage_key(site: str, device: str, alert_id: str, at: datetime) -> str:
    """The idempotent key of a clip. ``at`` must be in UTC."""
    return f"{site}/{device}/{at:%Y/%m/%d}/{alert_id}.flac"


PAYLOADS: dict[str, type[BaseModel]] = {
    "alert": Alert,
    "availability": Availability,
    "clip": Clip,
    "command": Command,
    "health": Health,
    "hint": ModelHint,
    "location": LocationReport,
    "model": ModelReport,
    "receipt": Receipt,
    "response": Response,
}
"""Every payload by the last part of its topic."""
