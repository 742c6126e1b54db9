"""A signed overlay: the few settings that maintainers may change on devices without a new program.

Layers, the later over the earlier: defaults, the configuration file, the overlay, the environment. The file is what the
device was set up with; the overlay is how maintainers correct it from afar; the environment (a drop-in of the unit) is
how a person on the device has the last word. ``updates.overlays: false`` refuses them altogether.

    settings = laid_over(load(path), os.environ)        # what the daemon runs with

Trial: the settings that come of it are valid. Then it holds, on probation: a start counter and what the daemon says of
itself decide, and what does not stay is taken back by itself. State is one small file, written before each step:
``STATE_DIR/updates/overlay.json``. An overlay without fields takes back what an earlier one has set.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.delivery.messages import Moment
from edge.settings import EdgeSettings
from edge.settings_file import environment_name
from edge.updates import state_file
from edge.updates.release import Overlay, Sha256, TargetPath

log = logging.getLogger(__name__)

NAME = "overlay.json"
KEYS = {"threshold_offset": "detection.threshold_offset", "hop_s": "detection.hop_s"}
"""Fields of an overlay, and the settings that they change. ``mute_until`` is no setting: nothing else can mute."""
MOST_STARTS = 3
FAILURES_KEPT = 20


class Held(BaseModel):
    """An overlay that holds, or held."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: TargetPath
    sha256: Sha256
    overlay: Overlay


class Failed(BaseModel):
    """One that did not stay: it is not tried again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target: TargetPath
    sha256: Sha256
    why: str
    at: AwareDatetime


class OverlayState(BaseModel):
    """``overlay.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    phase: Literal["idle", "probation"] = "idle"
    held: Held | None = None
    before: Held | None = None
    """On probation: what held until then."""
    starts: int = Field(default=0, ge=0)
    """Of the daemon on probation, since the last that was seen to be healthy."""
    watched_s: float = Field(default=0.0, ge=0)
    alarms_per_h: float = Field(default=0.0, ge=0)
    """Before it held."""
    failed: list[Failed] = Field(default=[], max_length=1000)
    error: str = ""
    """Why the last one did not stay."""

    def why_failed(self, sha256: str) -> str | None:
        return next((one.why for one in self.failed if one.sha256 == sha256), None)


class InvalidOverlayError(ValueError):
    """The settings that come of an overlay cannot be used. The text is for people."""


def read(state_dir: Path) -> OverlayState:
    """What holds on this device. A file that is damaged holds nothing: the configuration alone is always good."""
    path = state_dir / "updates" / NAME
    try:
        return state_file.read(OverlayState, path)
    except (OSError, ValueError) as error:
        log.error("%s cannot be used, so no overlay holds: %s", path, error)
        return OverlayState()


def write(state_dir: Path, state: OverlayState) -> None:
    """Raises OSError; the file is as it was then."""
    state_file.write(state_dir / "updates" / NAME, state)


def laid_over(settings: EdgeSettings, environment: Mapping[str, str]) -> EdgeSettings:
    """The settings with the overlay that holds on this device, if any. Never raises."""
    held = read(settings.state_dir).held
    if held is None or not settings.updates.overlays:
        return settings
    try:
        return with_overlay(settings, held.overlay, environment)
    except InvalidOverlayError as error:
        log.error("%s is not obeyed: %s", held.target, error)
        return settings


def with_overlay(settings: EdgeSettings, overlay: Overlay, environment: Mapping[str, str]) -> EdgeSettings:
    """The settings that come of an overlay, checked as those of a file are.

    Raises:
        InvalidOverlayError: together they make no valid settings.
    """
    tree: dict[str, Any] = settings.model_dump()
    for key, value in changes(overlay, environment).items():
        section, _, name = key.partition(".")
        tree[section][name] = value
    try:
        return EdgeSettings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (*first["loc"], first.get("ctx", {}).get("key", "")) if part)
        raise InvalidOverlayError(f"overlay {overlay.id}: {where}: {first['msg']}") from error


def changes(overlay: Overlay, environment: Mapping[str, str]) -> dict[str, float]:
    """The settings that an overlay changes, by their keys in dots; not those that the environment sets."""
    values = {key: getattr(overlay, field) for field, key in KEYS.items()}
    return {
        key: value for key, value in values.items() if value is not None and environment_name(key) not in environment
    }


class Mute:
    """Whether maintainers have muted this device. Asked when an event begins, and for health: both are rare."""

    def __init__(self, settings: EdgeSettings, now: Callable[[], Moment]) -> None:
        self._settings, self._now = settings, now

    @property
    def until(self) -> datetime | None:
        """No alerts go out before this; None where none is muted now.

        A device that does not know the time is not muted: an alert too many is better than one too few.
        """
        if not self._settings.updates.overlays:
            return None
        held = read(self._settings.state_dir).held
        until = held.overlay.mute_until if held is not None else None
        now = self._now()
        return until if until is not None and now.clock_synchronised and now.utc < until else None

    def __call__(self) -> bool:
        return self.until is not None


def begin(state_dir: Path, held: Held, alarms_per_h: float) -> OverlayState:
    """Let an overlay hold, on probation. Raises OSError."""
    state = read(state_dir)
    # On probation still: what was good is what held before that.
    before = state.before if state.phase == "probation" else state.held
    fresh = state.model_copy(
        update={
            "phase": "probation",
            "held": held,
            "before": before,
            "starts": 0,
            "watched_s": 0.0,
            "alarms_per_h": alarms_per_h,
            "error": "",
        }
    )
    write(state_dir, fresh)
    return fresh


def confirm(state_dir: Path) -> OverlayState:
    """It stays. Raises OSError."""
    fresh = read(state_dir).model_copy(update={"phase": "idle", "before": None, "starts": 0, "watched_s": 0.0})
    write(state_dir, fresh)
    return fresh


def refuse(state_dir: Path, held: Held, why: str) -> OverlayState:
    """It does not hold, or not any more, and is not tried again. Raises OSError."""
    state = read(state_dir)
    failed = Failed(target=held.target, sha256=held.sha256, why=why[:500], at=datetime.now(UTC))
    change: dict[str, Any] = {"failed": [*state.failed, failed][-FAILURES_KEPT:], "error": why[:500]}
    if state.held == held:
        change |= {"phase": "idle", "held": state.before, "before": None, "starts": 0, "watched_s": 0.0}
    fresh = state.model_copy(update=change)
    write(state_dir, fresh)
    log.error("overlay %s was taken back: %s", held.overlay.id, why)
    return fresh


def count_start(state_dir: Path) -> None:
    """At each start of the process, before the settings are used: the fourth on probation goes back. Never raises."""
    state = read(state_dir)
    if state.phase != "probation" or state.held is None:
        return
    try:
        if state.starts >= MOST_STARTS:
            refuse(state_dir, state.held, f"the daemon was started {state.starts} times and did not stay up")
        else:
            write(state_dir, state.model_copy(update={"starts": state.starts + 1}))
    except OSError as error:
        log.error("starts on probation cannot be counted: %s", error)
