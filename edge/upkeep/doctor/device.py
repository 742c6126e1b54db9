"""Checks of the device itself: model, clock, disk."""

import os
import pwd
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.settings import EdgeSettings
from edge.upkeep import board
from edge.upkeep.doctor.examination import Outcome, bad, doubtful, good

if TYPE_CHECKING:
    from edge.detection.model import Model

EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this the program did not exist: an earlier wall clock is wrong for certain."""
LATEST = datetime(2099, 1, 1, tzinfo=UTC)
SERVICE_USER = "ecosight"
GET_TIME = "connect to a network with NTP, or set it by hand: `sudo timedatectl set-time 'YYYY-MM-DD HH:MM:SS'`"


def verified(path: Path) -> "Model":
    """The model, checked in a child. Raises ModelFileError."""
    from edge.detection.model import load
    from edge.detection.verify import verify

    verify(path)
    return load(path, verify=False)


def check_model(settings: EdgeSettings, verified: Callable[[Path], "Model"] = verified) -> Outcome:
    """The model that the daemon would run, verified as at its start: digest, front end, golden vectors."""
    from edge.detection.choice import HOW_TO_GET_ONE, candidates
    from edge.detection.model_file import ModelFileError

    configured = settings.detection.model
    if configured is not None and not configured.exists():
        return bad(f"{configured}: no such file", "correct detection.model, or leave it out")
    path = next((path for path in candidates(configured, settings.state_dir) if path.exists()), None)
    if path is None:
        return bad("there is no model", HOW_TO_GET_ONE)
    try:
        model = verified(path)
    except ModelFileError as error:
        return bad(str(error), f"install the model again at {path}")
    detail = f"{model.name.name} {model.name.version}: {', '.join(model.alert_labels)} ({path})"
    if not model.has_speech and settings.storage.kind != "none" and settings.privacy.without_speech_score == "refuse":
        return doubtful(
            f"{detail}; it cannot hear speech, so no clip will leave the device",
            "use a model with a speech score, or accept it in privacy.without_speech_score",
        )
    return good(detail)


def check_clock(now: datetime, synchronised: bool) -> Outcome:
    """Whether the wall clock is set, and whether its year can be true. A Pi without network has no idea."""
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if not EARLIEST <= now < LATEST:
        return bad(f"{said} cannot be right; TLS and S3 fail with a wrong clock", GET_TIME)
    if not synchronised:
        return doubtful(f"{said}, not synchronised: a guess since boot", GET_TIME)
    return good(f"{said}, synchronised")


def check_disk(settings: EdgeSettings, root: Path = Path("/")) -> Outcome:
    """The state folder: there, on a real disk, writable to the service, and with room."""
    folder = settings.state_dir
    if not folder.is_dir():
        step = f"`sudo install -d -o {SERVICE_USER} -g {SERVICE_USER} -m 750 {folder}`, or correct state_dir"
        return bad(f"{folder} does not exist", step)
    why = board.volatile(folder, root)
    if why is not None:
        step = "name a folder on a disk in state_dir, or switch the overlay file system off (raspi-config)"
        return bad(f"{folder} does not survive a reboot: {why}", step)
    trial = folder / f".doctor-{secrets.token_hex(4)}"
    try:
        with trial.open("xb") as file:
            file.write(b"doctor")
            os.fsync(file.fileno())
    except OSError as error:
        return bad(f"{folder} cannot be written: {error.strerror}", f"check owner and mount of {folder}")
    finally:
        trial.unlink(missing_ok=True)
    owner = owned_by_another(folder)
    if owner is not None:
        step = f"`sudo chown -R {SERVICE_USER}:{SERVICE_USER} {folder}`"
        return bad(f"{folder} belongs to {owner}, the service runs as {SERVICE_USER}", step)
    free_bytes = board.disk_free_bytes(folder) or 0
    said = f"{folder}: {free_bytes / 1e9:.1f} GB free"
    floor_bytes = settings.clips.free_floor_bytes
    if free_bytes < floor_bytes:
        step = "make room, or lower clips.free_floor_bytes"
        return bad(f"{said}, under clips.free_floor_bytes ({floor_bytes / 1e9:.1f} GB): clips are evicted", step)
    if free_bytes < floor_bytes + settings.clips.quota_bytes:
        step = "make room, or lower clips.quota_bytes"
        return doubtful(f"{said}: the disk is full before clips.quota_bytes is reached", step)
    return good(said)


def owned_by_another(folder: Path) -> str | None:
    """Whose the folder is, if root asks for a service user who could not write it. Root itself can always write."""
    if os.geteuid() != 0:
        return None
    try:
        service = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None  # not installed as a service
    status = folder.stat()
    if status.st_uid == service.pw_uid or (status.st_gid == service.pw_gid and status.st_mode & 0o020):
        return None
    try:
        return pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return f"user id {status.st_uid}"
