"""What the fetch process is asked, and what it answers: one JSON line in, JSON lines out. Pydantic only.

    echo '{"kinds": ["model"], "into": "/var/lib/ecosight-edge/updates/download"}' \\
        | python -m edge.updates.fetching.fetch --config edge.yaml

    {"offer": {"model": {"kind": "model", "target": "models/gun-shot-7.tflite", "number": 7, …}, "floor": {…}, …}}
    {"progress": {"kind": "model", "done_bytes": 400000, "total_bytes": 3500000}}
    {"fetched": {"kind": "model", "target": "models/gun-shot-7.tflite", "path": "…", "sha256": "…", …}}
    {"error": {"code": "slow", "text": "…", "retry": true}}

The process looks, and downloads into the folder that it is given; it knows nothing of slots. There is one offer at
most, and it comes first. An error that names a ``kind`` concerns that one alone; any other ends the run. The exit code
is 0 where there was no error, 1 where there was one, and 2 where the request itself could not be read.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from edge.updates.release import Floor, Sha256, TargetPath

Kind = Literal["model", "program", "overlay"]
KINDS: tuple[Kind, ...] = ("overlay", "model", "program")
"""In the order in which they are fetched: the smallest first."""

Code = Literal[
    "busy",
    "clock_not_synchronised",
    "disk",
    "disk_full",
    "expired",
    "floor",
    "misconfigured",
    "no_network",
    "not_found",
    "slow",
    "too_large",
    "untrusted",
]
"""``busy``: another fetch is at work. ``disk``: it cannot be read or written, for another reason than being full.
``floor``: what was chosen for this device is older than maintainers allow. ``misconfigured``: a person must do
something on this device. ``untrusted``: something is not what maintainers signed."""


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Release(_Said):
    """Something that maintainers signed and that is chosen for this device."""

    kind: Kind
    target: TargetPath
    """Of a program: its manifest for this machine, ``programs/<version>/<machine>.json``."""
    number: int = Field(ge=1)
    name: str
    """Of a model, its name; of an overlay, its id; of the program, ``ecosight``."""
    version: str
    """As people say it; of an overlay, its number."""
    sha256: Sha256
    length: int = Field(ge=0)
    """Bytes of the file; of a program, of the manifest and all wheels."""


class Offer(_Said):
    """What the repository wants this device to run. None: nothing is asked of it."""

    model: Release | None = None
    program: Release | None = None
    overlay: Release | None = None
    floor: Floor = Floor()
    """The highest of the signed one and the one in the request: to be kept, and given again the next time."""
    checked_at: AwareDatetime

    def of(self, kind: Kind) -> Release | None:
        release: Release | None = getattr(self, kind)
        return release


class Request(_Said):
    """What the fetch process shall do."""

    kinds: list[Kind] = []
    """What to download, where it is offered. The offer tells of all kinds; with none given here, that is all."""
    into: Path
    """The folder for downloads, which belongs to the fetch process: it lies there as in the repository
    (``models/…``, ``programs/…``, ``overlays/…``), partial files are hidden, and of each kind in ``kinds`` what is no
    longer offered is removed."""
    have: list[Path] = []
    """Model files on this device that a delta may start from."""
    highest_floor: Floor = Floor()
    """The highest that this device has ever seen."""
    downloaded: dict[Kind, list[TargetPath]] = {}
    """Offered or not, these are not downloaded: they are here already, or failed here before."""
    clock_synchronised: bool | None = None
    """Whether the wall clock was set from outside since boot; None: the process looks itself."""
    metadata: Path | None = None
    """TUF's own folder; ``STATE_DIR/updates/metadata`` where not given."""


class Progress(_Said):
    """So far; at most about one in a second."""

    kind: Kind
    done_bytes: int = Field(ge=0)
    total_bytes: int = Field(ge=0)


class Fetched(_Said):
    """A release is on disk, whole, and is what maintainers signed."""

    kind: Kind
    target: TargetPath
    path: Path
    """``into`` / ``target``. Of a program: the manifest; its wheels lie at ``into`` / their target paths."""
    sha256: Sha256
    bytes_on_the_air: int = Field(ge=0)
    """Bodies of all answers in this run that were for this release; 0 where it had been here already."""
    delta: bool = False
    """It was made from a file of this device and a delta."""


class Failure(_Said):
    """Why not."""

    code: Code
    text: str
    """For people."""
    retry: bool
    """The next look may find it otherwise; where not, a person must do something."""
    kind: Kind | None = None
    """The only one concerned."""


class Line(_Said):
    """One line of the answer: exactly one of these."""

    offer: Offer | None = None
    progress: Progress | None = None
    fetched: Fetched | None = None
    error: Failure | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(part is not None for part in (self.offer, self.progress, self.fetched, self.error)) != 1:
            raise ValueError(f"a line is one of {', '.join(type(self).model_fields)}")
        return self

    def to_json(self) -> str:
        """Without a newline."""
        return self.model_dump_json(exclude_none=True)
