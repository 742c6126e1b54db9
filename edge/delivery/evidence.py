"""What lies on disk of a clip: ``ALERT_ID.flac`` and, beside it, ``ALERT_ID.json`` that says what it is.

The pair is committed in an order that a power cut cannot break: both are written and fsynced under temporary
names, then the FLAC gets its name, then the JSON, then the directory is fsynced; the outbox's row comes last.
``recover`` finishes at the next start what was cut off anywhere in between.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge import durable
from edge.delivery.messages import Alert, Clip, Moment
from edge.delivery.outbox import ClipFile, Outbox

log = logging.getLogger(__name__)

HASH_CHUNK_BYTES = 1 << 18
NUMBERS_APART = 100
"""More messages than are ever sent of one alert after its clip was committed."""
LOST = "the device stopped before the clip was cut"


class Capture(BaseModel):
    """How the sound came in."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    source: str
    device: str
    channel: int
    sample_rate_hz: int
    bits_per_sample: int
    """Bits that the FLAC keeps: all that the source gave."""


class Description(BaseModel):
    """The JSON beside a clip. Whoever holds the pair needs nothing else."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    kind: Literal["alert", "recording"]
    software: str
    """Program and version that cut the clip."""
    clip: Clip
    """As it was at the commit: key, SHA-256 of the FLAC, size, whether it was withheld and why."""
    alert: Alert
    """The newest state of the alert then: what, when, where, by which model (with its SHA-256)."""
    start: Moment
    """The clip's first sample."""
    clock_drift_ppm: float | None
    frames: int
    onset_s: float
    """The first onset, in seconds from the clip's start, to the sample; negative where the onset was lost."""
    pre_roll_s: float
    """Asked for; ``onset_s`` is what came of it."""
    gaps_s: list[tuple[float, float]] = []
    """Lost stretches inside the clip, from and to in seconds; they are silent in it."""
    notes: list[str] = []
    """What is not as usual: why it starts late or ends early."""
    speech_score: float | None
    """The highest over the whole clip; None where it could not be had."""
    speech_limit: float
    may_leave: bool
    """The privacy gate's verdict."""
    capture: Capture


def description_path(flac: Path) -> Path:
    return flac.with_suffix(".json")


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def commit_pair(flac: Path, description: Description) -> None:
    """Name a FLAC that was staged (``durable.stage``) together with its description. Raises OSError."""
    beside = description_path(flac)
    text = description.model_dump_json(indent=1).encode()
    try:
        durable.stage(beside, lambda temporary: _fill(temporary, text))
        durable.place(flac, beside)
    except BaseException:
        # Nothing half: without its name neither file is evidence, and the caller may try again.
        for path in (flac, beside, durable.temporary_name(flac), durable.temporary_name(beside)):
            path.unlink(missing_ok=True)
        raise


def remove_pair(flac: Path) -> None:
    """Remove a clip and its description; what is not there is no error. Raises OSError."""
    for path in (flac, description_path(flac)):
        path.unlink(missing_ok=True)


def recover(spool: Path, outbox: Outbox) -> list[str]:
    """Put spool and outbox in agreement after a crash; returns the alert ids of adopted clips.

    Files under temporary names go, except the description whose FLAC already has its name: that one is
    finished. A pair without a row is adopted. A pair whose row says that it is gone, goes. A row whose file
    has vanished becomes ``failed``.
    """
    rows = {row.alert_id: row for row in outbox.clip_files()}
    for flac in spool.glob("[!.]*.flac"):
        staged = durable.temporary_name(description_path(flac))
        if staged.exists() and not description_path(flac).exists():
            durable.place(description_path(flac))
    for path in spool.glob(f"{durable.TEMPORARY_PREFIX}*{durable.TEMPORARY_SUFFIX}"):
        log.info("removing %s, whose writing was cut off", path.name)
        path.unlink(missing_ok=True)
    for path in spool.glob("[!.]*.json"):
        if not path.with_suffix(".flac").exists():
            path.unlink(missing_ok=True)
    adopted = [flac.stem for flac in sorted(spool.glob("[!.]*.flac")) if _settle(flac, outbox, rows.get(flac.stem))]
    for row in rows.values():
        path = Path(row.path)
        if path.parent == spool and not path.exists():
            known = outbox.clip(row.alert_id)
            if known is not None and row.state != "uploaded":
                log.error("the file of clip %s has vanished", row.alert_id)
                outbox.put_clip(known.clip.model_copy(update={"state": "failed", "reason": "file_missing"}))
            outbox.forget_clip_file(row.alert_id)
    return adopted


def _settle(flac: Path, outbox: Outbox, file: ClipFile | None) -> bool:
    """See to a pair in the spool; True if it was adopted."""
    if file is not None and file.path == str(flac):
        return False
    row = outbox.clip(flac.stem)
    if row is not None and row.clip.state != "failed":
        # Evicted, stored elsewhere or deleted: only the removal of the file was cut off.
        log.info("removing %s, which is %s", flac.name, row.clip.state)
        remove_pair(flac)
        return False
    description = read_description(flac)
    if description is None or sha256_of(flac) != description.clip.sha256:
        log.error("%s has no description that fits it: it stays where it is, and never leaves the device", flac)
        return False
    _adopt(flac, description, description.clip, outbox)
    log.warning("clip %s was adopted: its row had not been written", flac.stem)
    return True


def adopt_stored(storage: Path, spool: Path, outbox: Outbox) -> None:
    """After the outbox was lost: know again what lies in a folder storage on the spool's disk, so that it counts."""
    if outbox.set_aside is None or not storage.is_dir() or storage.stat().st_dev != spool.stat().st_dev:
        return
    adopted = 0
    for beside in sorted(storage.rglob("*.json")):
        flac = beside.with_suffix(".flac")
        description = read_description(flac)
        if description is None or not flac.exists() or outbox.clip(flac.stem) is not None:
            continue
        _adopt(flac, description, description.clip.model_copy(update={"state": "uploaded"}), outbox)
        adopted += 1
    log.warning("the outbox was damaged and begun anew; %d stored clips are known again", adopted)


def _adopt(flac: Path, description: Description, clip: Clip, outbox: Outbox) -> None:
    # Whoever drops repeats by (alert_id, seq) must not take this message for one of those that were sent before.
    outbox.resume_numbers(clip.alert_id, description.alert.seq + NUMBERS_APART)
    asked = description.kind == "recording"
    outbox.put_clip(clip, path=flac, may_leave=description.may_leave, requested=asked)


def read_description(flac: Path) -> Description | None:
    """The description beside a clip; None if there is none that can be read."""
    try:
        return Description.model_validate(json.loads(description_path(flac).read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
