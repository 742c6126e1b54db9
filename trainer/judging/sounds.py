"""What a model is judged on: continuous sounds, and when somebody shoots in them.

A folder of such sounds holds ``sounds.json`` beside the recordings; once made it is frozen, and its digest goes into
every result. A folder of plain recordings will do as well (`trainer.judging.plain`).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.digest import sha256_of

LISTED = "sounds.json"
LEAD_S = 2.0
"""A shot comes at least this late in its sound. What is on from the first window is then on too early for any shot: an
alarm that is always on finds none."""


class SoundError(ValueError):
    """A sound, or a list of them, by which no model can be judged. The text is for a person."""


@dataclass(frozen=True)
class Shot:
    """One shot of a sound in which several things differ. What is not said is as the sound says."""

    onset_s: float
    recording: str = ""
    """The source that the shot comes from, where it is another than the rest of the sound."""
    snr_db: float | None = None
    distance_m: float | None = None


@dataclass(frozen=True, eq=False)
class Sound:
    """One scored item. It has a ``path``, or ``samples``."""

    recording: str
    """The source that it comes from: what the bootstrap draws."""
    label: str
    """What it is, for the results by class; empty where it is many things."""
    shots: tuple[Shot | float, ...] = ()
    """In order; a number is an onset in seconds."""
    snr_db: float | None = None
    """Of its shots over the rest, in 300 to 6000 Hz."""
    distance_m: float | None = None
    path: Path | None = None
    samples: NDArray[np.float32] | None = None
    """Mono float32 [n], full scale ±1."""
    sample_rate_hz: int = 16_000
    """Of ``samples``; a file knows its own."""
    name: str = ""
    """For people; else the path, else the recording."""
    somewhere_s: float = 0.0
    """Weak labels: each shot falls somewhere within so many seconds after its onset as noted, perhaps with others."""
    lead_s: float = 0.0
    """Seconds of its own quietest noise that are heard before it; onsets count from the start of this."""
    rated: bool | None = None
    """Whether its false alarms and its hours make the rate; None: if it holds no shot."""
    sha256: str = ""
    """Of the file, where it is known already."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.samples is None):
            raise SoundError(f"{self.title}: give either a path or samples")
        onsets = self.onsets
        if list(onsets) != sorted(onsets):
            raise SoundError(f"{self.title}: its shots are not in order")
        if onsets and onsets[0] < LEAD_S:
            raise SoundError(
                f"{self.title}: a shot at {onsets[0]:g} s; begin {LEAD_S:g} s before the first shot, "
                "or what is always on would seem to find it"
            )

    @property
    def title(self) -> str:
        return self.name or (str(self.path) if self.path else self.recording)

    @property
    def onsets(self) -> tuple[float, ...]:
        return tuple(shot.onset_s if isinstance(shot, Shot) else shot for shot in self.shots)

    def shot(self, number: int) -> Shot:
        """All that is known of a shot."""
        shot = self.shots[number]
        if not isinstance(shot, Shot):
            shot = Shot(shot)
        return Shot(
            shot.onset_s,
            shot.recording or self.recording,
            self.snr_db if shot.snr_db is None else shot.snr_db,
            self.distance_m if shot.distance_m is None else shot.distance_m,
        )

    @property
    def is_rated(self) -> bool:
        return not self.shots if self.rated is None else self.rated


class _Listed(BaseModel):
    """One entry of ``sounds.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    """Within the folder."""
    recording: str
    label: str = ""
    shots: list[float | Shot] = []
    snr_db: float | None = None
    distance_m: float | None = None
    somewhere_s: float = 0.0
    lead_s: float = 0.0
    rated: bool | None = None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _List(BaseModel):
    """``sounds.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    name: str
    version: str
    sounds: list[_Listed] = Field(min_length=1)


@dataclass(frozen=True)
class Sounds:
    """All that a model is judged on."""

    name: str
    version: str
    sounds: Sequence[Sound]

    def __iter__(self) -> Iterator[Sound]:
        return iter(self.sounds)

    def sha256(self) -> str:
        """Digest of every sound and of what is known of it, whatever their order. Raises OSError."""
        lines = sorted(_line(sound) for sound in self.sounds)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_sounds(folder: Path, check: bool = True) -> Sounds:
    """The sounds that ``sounds.json`` in ``folder`` lists.

    ``check`` compares every file with its digest: evaluation data is frozen.

    Raises:
        SoundError: no list, not this format, a path that leaves the folder, or a file that is not as listed.
        OSError: a file cannot be read.
    """
    file = folder / LISTED
    try:
        found = _List.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise SoundError(f"{folder} holds no {LISTED}; make one with `ecosight-trainer benchmark make`") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise SoundError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    sounds = []
    for one in found.sounds:
        path = folder / one.path
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SoundError(f"{file}: {one.path!r} is not within {folder}")
        if check and (digest := sha256_of(path)) != one.sha256:
            raise SoundError(f"{path} is not as {LISTED} lists it (SHA-256 {digest[:8]}…, not {one.sha256[:8]}…)")
        known = one.model_dump(exclude={"path", "shots"})
        sounds.append(Sound(path=path, shots=tuple(one.shots), name=one.path, **known))
    return Sounds(found.name, found.version, sounds)


def write_list(folder: Path, name: str, version: str, sounds: Iterable[Sound]) -> Sounds:
    """Write ``sounds.json`` for files that are in ``folder``, and give what `read_sounds` will. Raises OSError."""
    from edge.durable import commit_bytes

    listed = [
        _Listed(
            path=_file_of(sound).relative_to(folder).as_posix(),
            recording=sound.recording,
            label=sound.label,
            shots=list(sound.shots),
            snr_db=sound.snr_db,
            distance_m=sound.distance_m,
            somewhere_s=sound.somewhere_s,
            lead_s=sound.lead_s,
            rated=sound.rated,
            sha256=sound.sha256 or sha256_of(_file_of(sound)),
        )
        for sound in sounds
    ]
    document = _List(name=name, version=version, sounds=listed)
    text = json.dumps({"schema_version": 1, **document.model_dump(exclude_defaults=True)}, indent=1, ensure_ascii=False)
    commit_bytes(folder / LISTED, (text + "\n").encode())
    return read_sounds(folder, check=False)


def _file_of(sound: Sound) -> Path:
    if sound.path is None:
        raise SoundError(f"{sound.title} is no file")
    return sound.path


def _line(sound: Sound) -> str:
    if sound.samples is not None:
        content = hashlib.sha256(np.ascontiguousarray(sound.samples, np.float32).tobytes()).hexdigest()
    else:
        content = sound.sha256 or sha256_of(_file_of(sound))
    shots = [astuple(sound.shot(number)) for number in range(len(sound.shots))]
    return json.dumps([content, sound.recording, sound.label, shots, sound.somewhere_s, sound.lead_s, sound.is_rated])
