"""Plain recordings as sounds to judge a model on: good for a look, not for figures that are promised.

Nobody noted when the shots in them fall, unless a made sound says so in its annotations; and each begins and ends with
a step that no forest has.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.audio.recordings import open_recording
from edge.audio.source import SourceError
from trainer.data.sources import Found, Refused, find
from trainer.judging.sounds import LEAD_S, LISTED, Shot, Sound, SoundError, Sounds, read_sounds

UNRATED = ("explosion", "fireworks")
"""Labels that are neither shot nor false alarm: they are counted by themselves."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    shot: bool
    onsets_s: list[float]
    snr_db: float | None = None
    distance_m: float | None = None


class _Annotated(BaseModel):
    """What ``ecosight-trainer synth`` writes beside a sound."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    recording: str = ""
    events: list[_Event]


def from_path(path: Path, target: str) -> tuple[Sounds, list[Refused]]:
    """The sounds of a folder or of one file, and the files that cannot be used.

    A folder has ``sounds.json`` (see `trainer.judging.sounds`), or ``MANIFEST.csv``, or a folder for each class; a file
    has its annotations beside it, as ``ecosight-trainer synth`` writes them.

    Raises:
        SoundError: no sound in it.
        FolderError: no folder of recordings.
        OSError: it cannot be read.
    """
    if (path / LISTED).is_file():
        return read_sounds(path), []
    if path.is_file():
        sound = annotated(path)
        if sound is None:
            raise SoundError(f"{path} has no annotations beside it ({path.with_suffix('.json').name}); give a folder")
        return Sounds(path.name, "", [sound]), []
    folder = find(path)
    refused, sounds = list(folder.refused), []
    for found in folder.files:
        try:
            sound = annotated(found.path)
            with open_recording(found.path) as recording:
                seconds = recording.duration_s
        except SourceError as error:
            refused.append(Refused(found.path, str(error)))
            continue
        sounds.append(sound or _weak(found, seconds, target))
    if not sounds:
        first = f": {refused[0].path.name}: {refused[0].reason}" if refused else ""
        raise SoundError(f"{path} holds no recording that a model can be judged on{first}")
    return Sounds(path.name, "", sounds), refused


def annotated(path: Path) -> Sound | None:
    """A made sound with its shots; None where nothing beside it tells of them. Raises SoundError, OSError."""
    try:
        told = _Annotated.model_validate_json(path.with_suffix(".json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    shots = sorted(
        (
            Shot(onset, "", event.snr_db, event.distance_m)
            for event in told.events
            if event.shot
            for onset in event.onsets_s
        ),
        key=lambda shot: shot.onset_s,
    )
    return Sound(told.recording or str(path), "", tuple(shots), path=path, name=path.name, rated=True)


def _weak(found: Found, seconds: float, target: str) -> Sound:
    """Anywhere in a recording labelled ``target`` a shot may fall, and noise leads to it."""
    shot = found.label == target
    return Sound(
        found.recording or str(found.path),
        found.label,
        (LEAD_S,) if shot else (),
        path=found.path,
        name=found.path.name,
        somewhere_s=seconds if shot else 0.0,
        lead_s=LEAD_S if shot else 0.0,
        rated=False if found.label in UNRATED else None,
        sha256=found.sha256,
    )
