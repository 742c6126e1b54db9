"""One typed tree of settings: YAML, then the environment, then secrets from files.

Parsed once, at the start; everything inside trusts it. A mistake is one message that names the file, the
line, the key, the value and the nearest valid key. The reference page is generated from these types.

    settings = load(Path("edge.yaml"))

Environment: ``ECOSIGHT_MQTT__HOST=broker.example`` sets ``mqtt.host`` (two underscores go one level down;
the value is read as YAML). Secrets never stand in the tree: a field that ends in ``_file`` names the file,
and a systemd credential of the field's name is used where the field is not set (``secret()``).
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A name that is safe in an MQTT topic, an ACL line, an S3 key and a file name."""

ENVIRONMENT_PREFIX = "ECOSIGHT_"
RESERVED_DEVICE_NAMES = frozenset({"models"})
# Variables with our prefix that are not settings: they steer tests and scripts.
NOT_SETTINGS = frozenset({"ECOSIGHT_YAMNET", "ECOSIGHT_DATA", "ECOSIGHT_REQUIRE_ALL", "ECOSIGHT_CONFIG"})


class SettingsError(ValueError):
    """The configuration cannot be used. The text is meant for the person who wrote it."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Location(Section):
    latitude_deg: float = Field(ge=-90, le=90)
    """Degrees north, WGS 84."""
    longitude_deg: float = Field(ge=-180, le=180)
    """Degrees east, WGS 84."""
    altitude_m: float | None = Field(default=None, ge=-500, le=9000)
    """Metres above the ellipsoid."""
    description: str = Field(default="", max_length=200)
    """How a ranger finds the place ("north ridge, third cedar")."""


class AudioSettings(Section):
    source: Literal["microphone", "file", "folder", "stdin", "url"] = "microphone"
    """Where sound comes from."""
    device: str = "default"
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
    def _source_has_its_place(self) -> "AudioSettings":
        if self.source in ("file", "folder", "url") and not self.location:
            raise ValueError(f"source is {self.source!r}, so location must name the {self.source}")
        return self


class EnergyGate(Section):
    enabled: bool = False
    """Skip the network while the sound stays below the level. Saves current, may miss far shots."""
    level_dbfs: float = Field(default=-65.0, ge=-120, le=0)
    """Peak level of a hop under which the network is not run."""


class DetectionSettings(Section):
    model: Path | None = None
    """Model file. Without it, the newest installed model, then the one that ships with the package."""
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
    def _hop_is_whole_frames(self) -> "DetectionSettings":
        frames = self.hop_s / 0.01
        if abs(frames - round(frames)) > 1e-6:
            raise ValueError(f"hop_s {self.hop_s} is not a multiple of 0.01 s, the log-mel frame step")
        return self


class ClipSettings(Section):
    pre_roll_s: float = Field(default=3.0, ge=0, le=30)
    """Seconds of sound before the first onset."""
    post_roll_s: float = Field(default=3.0, ge=0, le=30)
    """Seconds of sound after the last shot."""
    max_s: float = Field(default=30.0, ge=1, le=300)
    """Longest clip; a longer event keeps its beginning."""
    quota_bytes: int = Field(default=2_000_000_000, ge=1_000_000)
    """Bytes that clips may take on disk; the oldest safe ones go first, unsent evidence last."""
    free_floor_bytes: int = Field(default=500_000_000, ge=0)
    """Free space that is always left on the disk."""


class PrivacySettings(Section):
    speech_limit: float = Field(default=0.3, ge=0, le=1)
    """A clip leaves the device only if its highest speech score, over the whole clip, is under this."""
    withheld: Literal["keep", "delete", "alert_only"] = "keep"
    """What happens to a clip that must not leave: keep it on the device, delete it, or send the alert alone
    (nothing is said of a clip)."""
    without_speech_score: Literal["refuse", "i_accept_uploading_clips_that_may_hold_voices"] = "refuse"
    """With a model that cannot hear speech, upload is refused unless this accepts it in so many words."""


class RecordingSettings(Section):
    remote: bool = False
    """Whether the `record` command over MQTT is obeyed."""
    max_s: float = Field(default=30.0, gt=0, le=300)
    """Longest remote recording."""
    per_day_s: float = Field(default=300.0, gt=0, le=86_400)
    """Remote recording in all, per day."""


class MqttSettings(Section):
    host: str = "localhost"
    """Broker."""
    port: int = Field(default=1883, ge=1, le=65_535)
    """1883 without TLS, 8883 with it."""
    tls: bool = False
    """Encrypt, and check the broker's certificate."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    client_certificate_file: Path | None = None
    """Certificate that identifies this device (PEM)."""
    client_key_file: Path | None = None
    """Its private key (PEM)."""
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
    home_assistant_prefix: str = "homeassistant"
    """Its discovery prefix."""


class S3Settings(Section):
    bucket: str = Field(default="", max_length=63)
    """Bucket for clips."""
    endpoint_url: str | None = None
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
    bytes_per_day: int | None = Field(default=None, ge=0)
    """Upload budget on a thin link; alerts always go."""
    clips_on_request: bool = False
    """Upload a clip only when it is asked for by command."""


class StorageSettings(Section):
    kind: Literal["folder", "s3", "none"] = "folder"
    """Where clips go once they pass the privacy gate."""
    folder: Path | None = None
    """For `folder`: where (`STATE_DIR/storage` where not set)."""
    s3: S3Settings = S3Settings()
    retry_max_s: float = Field(default=600.0, ge=1, le=86_400)
    """Longest pause between two attempts to upload."""
    timeout_s: float = Field(default=120.0, ge=5, le=3600)
    """Deadline for one run of the uploader."""
    metered: MeteredSettings = MeteredSettings()

    @model_validator(mode="after")
    def _s3_has_a_bucket(self) -> "StorageSettings":
        if self.kind == "s3" and not self.s3.bucket:
            raise ValueError("kind is 's3', so s3.bucket must name the bucket")
        return self


class HealthSettings(Section):
    interval_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds between two `health` messages."""
    prometheus_port: int | None = Field(default=None, ge=1, le=65_535)
    """Serve metrics on 127.0.0.1 at this port."""
    deafening_db: float = Field(default=20.0, ge=6, le=80)
    """A noise floor this far below that of the first days is reported as a deafening microphone."""


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

    @model_validator(mode="after")
    def _consistent(self) -> "EdgeSettings":
        if self.device in RESERVED_DEVICE_NAMES:
            raise ValueError(f"device {self.device!r} is a reserved name; choose another")
        need_s = self.clips.pre_roll_s + self.clips.max_s + 5
        if self.audio.ring_s < need_s:
            raise ValueError(
                f"audio.ring_s {self.audio.ring_s} is too short for clips.pre_roll_s + clips.max_s + 5 = {need_s}"
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
    environment = os.environ if environment is None else environment
    lines: dict[tuple[str, ...], int] = {}
    tree: dict[str, Any] = {}
    if path is not None:
        tree = _read_yaml(path, lines)
    origin = {key: f"{path}, line {line}" for key, line in lines.items()}
    for name, value in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS:
            continue
        keys = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"environment variable {name}: {value!r} is not YAML ({error})") from error
        _put(tree, keys, parsed, name)
        origin[keys] = f"environment variable {name}"
    try:
        return EdgeSettings.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(problem, origin, path) for problem in error.errors()]
        raise SettingsError("\n".join(problems)) from error


def secret(name: str, file: Path | None, environment: Mapping[str, str] | None = None) -> str | None:
    """The secret in ``file``, else the systemd credential ``name``, else None.

    Raises:
        SettingsError: the file that the configuration names cannot be read or is empty.
    """
    environment = os.environ if environment is None else environment
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if file is None and directory and (Path(directory) / name).is_file():
        file = Path(directory) / name
    if file is None:
        return None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secret {name}: cannot read {file}: {error}") from error
    if not text:
        raise SettingsError(f"secret {name}: {file} is empty")
    return text


def _read_yaml(path: Path, lines: dict[tuple[str, ...], int]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; start from configs/edge.yaml") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}, line 1: expected keys and values, found {type(tree).__name__} {tree!r}")
    for keys, line in _key_lines(node, ()):
        if keys in lines:
            raise SettingsError(
                f"{path}, line {line}: {'.'.join(keys)} is given twice; the first is on line {lines[keys]}"
            )
        lines[keys] = line
    return tree


def _key_lines(node: yaml.Node | None, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*keys, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _key_lines(value, inner)


def _put(tree: dict[str, Any], keys: tuple[str, ...], value: object, name: str) -> None:
    for key in keys[:-1]:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"environment variable {name}: {key} is a value, not a section")
        tree = inner
    tree[keys[-1]] = value


def _explain(problem: Any, origin: Mapping[tuple[str, ...], str], path: Path | None) -> str:
    keys = tuple(str(part) for part in problem["loc"])
    where = next((origin[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in origin), str(path or "defaults"))
    name = ".".join(keys) or "settings"
    if problem["type"] == "extra_forbidden":
        near = nearest_key(keys)
        hint = f"; did you mean {near}?" if near else ""
        return f"{where}: unknown key {name} (value {problem['input']!r}){hint}"
    if isinstance(problem["input"], BaseModel | dict):
        return f"{where}: {name}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{where}: {name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"


def nearest_key(keys: tuple[str, ...]) -> str | None:
    """The valid key, in dots, that looks most like ``keys``; None if nothing does."""
    valid = [".".join(path) for path, _ in walk_fields(EdgeSettings)]
    by_leaf = [name for name in valid if name.rsplit(".", 1)[-1] == keys[-1]]
    if by_leaf:
        return by_leaf[0]
    same_section = [name for name in valid if name.rpartition(".")[0] == ".".join(keys[:-1])]
    for candidates in (same_section, valid):
        close = difflib.get_close_matches(".".join(keys), candidates, n=1, cutoff=0.6)
        if close:
            return close[0]
    return None


def walk_fields(section: type[BaseModel], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of the tree as ``(path, pydantic FieldInfo)``, sections included, in the order of the types."""
    for name, field in section.model_fields.items():
        path = (*keys, name)
        yield path, field
        inner = section_of(field.annotation)
        if inner is not None:
            yield from walk_fields(inner, path)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field's annotation holds (``Location | None`` too), if it is one."""
    candidates = get_args(annotation) if get_origin(annotation) is not None else (annotation,)
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
