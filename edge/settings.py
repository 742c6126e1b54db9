"""One typed tree of settings: YAML, then the environment, then secrets from files.

Parsed once, at the start; everything inside trusts it. A mistake is one message that names the file, the
line, the key, the value and the nearest valid key. The reference page is generated from these types.

    settings = load(Path("edge.yaml"))

Environment: ``ECOSIGHT_MQTT__HOST=broker.example`` sets ``mqtt.host`` (two underscores go one level down;
the value is read as YAML). Secrets never stand in the tree: a field that ends in ``_file`` names the file,
and a systemd credential of the field's name is used where the field is not set (``secret()``).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edge import settings_file
from edge.settings_file import Section, SettingsError, inconsistent

__all__ = ["EdgeSettings", "Section", "SettingsError", "load", "secret"]

TopicName = Annotated[str, Field(pattern=settings_file.PLAIN_NAME)]
"""A name that is safe in an MQTT topic, an ACL line, an S3 key and a file name."""

RESERVED_DEVICE_NAMES = frozenset({"models"})


class Location(Section):
    """Where the box hangs."""

    latitude_deg: float = Field(ge=-90, le=90)
    """Degrees north, WGS 84."""
    longitude_deg: float = Field(ge=-180, le=180)
    """Degrees east, WGS 84."""
    altitude_m: float | None = Field(default=None, ge=-500, le=9000)
    """Metres above the ellipsoid."""
    description: str = Field(default="", max_length=200)
    """How a ranger finds the place ("north ridge, third cedar")."""


class AudioSettings(Section):
    """Where sound comes from."""

    source: Literal["microphone", "file", "folder", "stdin", "url"] = "microphone"
    """Where sound comes from."""
    device: str = Field(default="default", pattern=settings_file.MICROPHONE)
    """Which microphone, as `ecosight-edge devices` prints it: `usb:VENDOR:PRODUCT:SERIAL`, `usb-port:1-1.2`,
    `card:NAME` or `default`. Never an index."""
    backend: Literal["auto", "alsa", "pulse"] = "auto"
    """Which PortAudio host to open. `auto` takes ALSA under systemd and what the system prefers elsewhere."""
    channel: int = Field(default=1, ge=1, le=64)
    """The channel to listen to, counted from 1."""
    sample_rate_hz: int = Field(default=48_000, ge=8_000, le=192_000)
    """Capture rate. Clips keep it; detection resamples to 16 kHz. Files bring their own rate."""
    location: str = ""
    """The file, the folder or the URL that `source` names; anything ffmpeg can read for `url`."""
    stdin_format: Literal["s16le", "s24le", "s32le", "f32le"] = "s16le"
    """Sample format of raw PCM on standard input (`source: stdin`), at `sample_rate_hz`."""
    stdin_channels: int = Field(default=1, ge=1, le=64)
    """Interleaved channels on standard input."""
    pace: Literal["real_time", "fast"] = "real_time"
    """Whether files are played at the speed of sound or as fast as possible."""
    ring_s: float = Field(default=45.0, ge=10, le=600)
    """Seconds of sound kept in memory, from which clips are cut."""
    retry_s: float = Field(default=5.0, gt=0, le=300)
    """Longest wait between two attempts to open the microphone."""
    no_audio_after_s: float = Field(default=5.0, ge=0.5, le=60)
    """Without usable samples for this long, `no_audio` is published."""

    @model_validator(mode="after")
    def _source_has_its_place(self) -> Self:
        if self.source in ("file", "folder", "url") and not self.location:
            raise inconsistent("location", f"source is {self.source!r}, so location must name the {self.source}")
        return self


class EnergyGate(Section):
    """Skipping the network in silence."""

    enabled: bool = False
    """Skip the network while the sound stays below the level. Saves current, may miss far shots."""
    level_dbfs: float = Field(default=-65.0, ge=-120, le=0)
    """Peak level of a hop under which the network is not run."""


class DetectionSettings(Section):
    """When sound becomes an event."""

    model: Path | None = None
    """Model file; no other comes over the air then. Without it, the one that did, then the newest in
    `STATE_DIR/models`, then the one that ships with the package."""
    hop_s: float = Field(default=0.24, ge=0.06, le=0.96)
    """Seconds between the starts of two windows; a multiple of 0.01 (one log-mel frame)."""
    threshold_offset: float = Field(default=0.0, ge=-0.5, le=0.5)
    """Added to the model's own thresholds at this site."""
    refractory_s: float = Field(default=1.0, ge=0, le=60)
    """After an event has ended, seconds of sound before the next one may begin."""
    merge_s: float = Field(default=3.0, ge=0, le=60)
    """Shots closer than this belong to one event (a burst)."""
    max_event_s: float = Field(default=30.0, ge=1, le=600)
    """An event that goes on for longer is ended, so that its final count is sent."""
    storm_alerts: int = Field(default=6, ge=1, le=1000)
    """More new alerts than this within `storm_s` are collapsed into one message with count, first and last."""
    storm_s: float = Field(default=60.0, gt=0, le=3600)
    """The span in which `storm_alerts` are counted."""
    energy_gate: EnergyGate = EnergyGate()

    @model_validator(mode="after")
    def _hop_is_whole_frames(self) -> Self:
        frames = self.hop_s / 0.01
        if abs(frames - round(frames)) > 1e-6:
            raise inconsistent("hop_s", f"{self.hop_s} is not a multiple of 0.01 s, the log-mel frame step")
        return self


class ClipSettings(Section):
    """The recordings that are kept of an event."""

    pre_roll_s: float = Field(default=3.0, ge=0, le=30)
    """Seconds of sound before the first onset."""
    post_roll_s: float = Field(default=3.0, ge=0, le=30)
    """Seconds of sound after the last shot."""
    max_s: float = Field(default=30.0, ge=1, le=300)
    """Longest clip; a longer event keeps its beginning."""
    quota_bytes: int = Field(default=2_000_000_000, ge=1_000_000)
    """Bytes that clips may take on disk; the oldest safe ones go first, unsent evidence last."""
    free_floor_bytes: int = Field(default=500_000_000, ge=0)
    """Free space that clips leave on the disk; while others take it, old clips go, as long as that reaches it."""


class PrivacySettings(Section):
    """What keeps voices on the device. Fails closed."""

    speech_limit: float = Field(default=0.3, ge=0, le=1)
    """A clip leaves the device only if its highest speech score, over the whole clip, is under this."""
    withheld: Literal["keep", "delete", "alert_only"] = "keep"
    """What happens to a clip that must not leave: keep it on the device, delete it, or send the alert alone
    (nothing is said of a clip)."""
    without_speech_score: Literal["refuse", "i_accept_uploading_clips_that_may_hold_voices"] = "refuse"
    """With a model that cannot hear speech, upload is refused unless this accepts it in so many words."""


class RecordingSettings(Section):
    """Recording on request, over MQTT. Off by default, logged, and behind the same privacy gate."""

    remote: bool = False
    """Whether the `record` command over MQTT is obeyed."""
    max_s: float = Field(default=30.0, gt=0, le=300)
    """Longest remote recording, at least 5 s less than `audio.ring_s`: it is cut from the ring."""
    per_day_s: float = Field(default=300.0, gt=0, le=86_400)
    """Remote recording in all, per day."""


class BrokerSettings(Section):
    """How to reach an MQTT broker."""

    host: str = "localhost"
    """Broker."""
    port: int = Field(default=1883, ge=1, le=65_535)
    """1883 without TLS, 8883 with it."""
    tls: bool = False
    """Encrypt, and check the broker's certificate."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    client_certificate_file: Path | None = None
    """Certificate that identifies the client (PEM)."""
    client_key_file: Path | None = None
    """Its private key (PEM)."""
    username: str | None = None
    """Broker user."""
    password_file: Path | None = None
    """File with the password."""

    @model_validator(mode="after")
    def _certificates_mean_tls(self) -> Self:
        for key in ("ca_file", "client_certificate_file", "client_key_file"):
            if getattr(self, key) is not None and not self.tls:
                raise inconsistent(key, "is set, but tls is false, so nothing would be encrypted; set tls: true")
        return self


class MqttSettings(BrokerSettings):
    """The broker, and when an alert counts as delivered."""

    client_certificate_file: Path | None = None
    """Certificate that identifies this device (PEM)."""
    username: str | None = None
    """Broker user; `site:device` where not set and a password is given."""
    password_file: Path | None = None
    """File with the password; or the systemd credential `mqtt_password`."""
    confirm: Literal["broker", "receipt"] = "broker"
    """When an alert counts as delivered: the broker took it, or a receiver committed it and said so on `receipt`."""
    receipt_timeout_s: float = Field(default=30.0, ge=1, le=3600)
    """With `confirm: receipt`, an alert without a receipt is sent again after this long."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """MQTT keep-alive."""
    reconnect_max_s: float = Field(default=60.0, ge=1, le=3600)
    """Longest pause between two attempts to connect."""
    home_assistant: bool = False
    """Publish Home Assistant discovery."""
    home_assistant_prefix: str = Field(default="homeassistant", pattern=settings_file.TOPIC)
    """Its discovery prefix."""


class S3Settings(Section):
    """Any S3-compatible object store."""

    bucket: str = Field(default="", max_length=63)
    """Bucket for clips."""
    endpoint_url: str | None = Field(default=None, pattern=settings_file.WEB_ADDRESS)
    """Any S3 endpoint; Amazon's where not set."""
    region: str = "us-east-1"
    """Region."""
    path_style: bool = False
    """Address the bucket in the path instead of the host name."""
    access_key_file: Path | None = None
    """File with the access key id; or the credential `s3_access_key`; or AWS's own variables."""
    secret_key_file: Path | None = None
    """File with the secret key; or the credential `s3_secret_key`; or AWS's own variables."""
    server_side_encryption: Literal["none", "AES256", "aws:kms"] = "AES256"
    """Encryption at rest that is asked for."""
    kms_key_id: str | None = None
    """Key for `aws:kms`."""


class MeteredSettings(Section):
    """A thin or paid link."""

    bytes_per_day: int | None = Field(default=None, ge=0)
    """Upload budget on a thin link; alerts always go."""
    clips_on_request: bool = False
    """Upload a clip only when it is asked for by command."""


class StorageSettings(Section):
    """Where clips go."""

    kind: Literal["folder", "s3", "none"] = "folder"
    """Where clips go once they pass the privacy gate."""
    folder: Path | None = None
    """For `folder`: where (`STATE_DIR/storage` where not set)."""
    s3: S3Settings = S3Settings()
    retry_max_s: float = Field(default=600.0, ge=1, le=86_400)
    """Longest pause between two attempts to upload."""
    timeout_s: float = Field(default=120.0, ge=5, le=3600)
    """Deadline for one run of the uploader; a folder that takes longer over one clip is reported."""
    metered: MeteredSettings = MeteredSettings()

    @model_validator(mode="after")
    def _s3_has_a_bucket(self) -> Self:
        if self.kind == "s3" and not self.s3.bucket:
            raise inconsistent("s3.bucket", "kind is 's3', so this must name the bucket")
        return self


class HealthSettings(Section):
    """What the device says about itself."""

    interval_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds between two `health` messages."""
    prometheus_port: int | None = Field(default=None, ge=1, le=65_535)
    """Serve metrics on 127.0.0.1 at this port."""
    deafening_db: float = Field(default=20.0, ge=6, le=80)
    """A noise floor this far below that of the first days is reported as a deafening microphone."""


class UpdateSettings(Section):
    """New models, programs and overlays over the air. `docs/how-to/release.md` tells the other side."""

    url: str | None = Field(default=None, pattern=settings_file.REPOSITORY)
    """Address of the release repository (http, https, s3 or file); no updates without one."""
    root: Path = Path("/etc/ecosight/root.json")
    """The root of trust that came with the device."""
    channel: Literal["stable", "beta", "canary"] = "stable"
    """How early this device tries what is new."""
    check_every_h: float = Field(default=6.0, gt=0, le=720)
    """Hours between two looks at the repository; a hint over MQTT makes it look at once."""
    shadow_s: float = Field(default=600.0, ge=0, le=86_400)
    """How long a new model listens beside the current one before it takes over."""
    probation_s: float = Field(default=3600.0, ge=0, le=604_800)
    """How long a new model is watched before it is confirmed."""
    download_timeout_s: float = Field(default=3600.0, ge=10, le=86_400)
    """Deadline for one run of the updater; the next one goes on where it ended."""
    largest_bytes: int = Field(default=400_000_000, ge=1_000_000)
    """The most that one release may take on disk."""
    overlays: bool = True
    """Whether signed overlays from maintainers are obeyed (threshold offset, hop, mute); what holds is in `model`."""
    programs: bool = True
    """Whether new versions of the program are asked for; root's updater installs them."""


class EdgeSettings(Section):
    """Everything the detector daemon can be told."""

    site: TopicName = "site"
    """The forest. First part of every topic and storage key."""
    device: TopicName = "device"
    """This box. Unique within the site."""
    place: Location | None = None
    """Where the box hangs."""
    state_dir: Path = Path("/var/lib/ecosight-edge")
    """Outbox and clips. Must survive a reboot."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged to standard error."""
    audio: AudioSettings = AudioSettings()
    detection: DetectionSettings = DetectionSettings()
    clips: ClipSettings = ClipSettings()
    privacy: PrivacySettings = PrivacySettings()
    recording: RecordingSettings = RecordingSettings()
    mqtt: MqttSettings = MqttSettings()
    storage: StorageSettings = StorageSettings()
    health: HealthSettings = HealthSettings()
    updates: UpdateSettings = UpdateSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.device in RESERVED_DEVICE_NAMES:
            raise inconsistent("device", f"{self.device!r} is a reserved name; choose another")
        need_s = self.clips.pre_roll_s + self.clips.max_s + 5
        if self.audio.ring_s < need_s:
            raise inconsistent(
                "audio.ring_s", f"{self.audio.ring_s} is too short for clips.pre_roll_s + clips.max_s + 5 = {need_s}"
            )
        longest_s = self.audio.ring_s - 5
        if self.recording.remote and self.recording.max_s > longest_s:
            raise inconsistent(
                "recording.max_s", f"{self.recording.max_s} is longer than audio.ring_s - 5 = {longest_s} can hold"
            )
        return self

    @property
    def storage_folder(self) -> Path:
        """Where the folder storage keeps clips."""
        return self.storage.folder or self.state_dir / "storage"


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> EdgeSettings:
    """Settings from a YAML file (all defaults without one) and the environment (``os.environ``).

    Raises:
        SettingsError: unreadable file, bad YAML, unknown key, wrong type, out of range.
    """
    return settings_file.read(EdgeSettings, path, os.environ if environment is None else environment)


def secret(name: str, file: Path | None, environment: Mapping[str, str] | None = None) -> str | None:
    """The secret in ``file``, else the systemd credential ``name``, else None.

    Raises:
        SettingsError: the file that the configuration names cannot be read or is empty.
    """
    return settings_file.secret(name, file, os.environ if environment is None else environment)
