"""What a release repository says, and what a device may believe of it. Standard library and pydantic only.

Four kinds of signed targets, all under the TUF role that signs them:

    models/<name>-<version>.tflite          role ``models``    what may ever run; keys of maintainers, offline
    programs/<version>/<machine>.json       role ``models``    a wheelhouse: the files that it is made of
    programs/wheels/<sha256>.<file name>    role ``models``    those files
    overlays/<id>.json                      role ``models``    a few settings of the site
    deltas/<from sha256>.<to sha256>        role ``models``    a patch between two models
    floor.json                              role ``models``    the oldest release that may run
    rollout/<channel>.json                  role ``rollout``   which of these, for what share of the devices; online

Whoever holds the online key chooses among what maintainers signed, and never below the floor. Releases are ordered by
their ``number``, which maintainers give them (``custom`` of the target): versions of models are names, not numbers.
"""

import hashlib
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge.delivery.messages import Identifier

MODELS_ROLE = "models"
ROLLOUT_ROLE = "rollout"
MODELS_PATHS = ("models/*", "programs/*/*", "overlays/*", "deltas/*", "floor.json")
"""Glob patterns of the delegation; ``*`` does not cross a slash (TUF specification 4.5)."""
ROLLOUT_PATHS = ("rollout/*",)
FLOOR = "floor.json"

TargetPath = Annotated[str, Field(pattern=r"^[a-z]+(/[A-Za-z0-9][A-Za-z0-9_.+-]{0,200}){0,2}$", max_length=300)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Channel = Literal["stable", "beta", "canary"]


class _Signed(BaseModel):
    """Fields are only added; an older device ignores those that it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1


class Delta(_Signed):
    """A way from a file that a device may have to this one, shorter than the file."""

    target: TargetPath
    length: int = Field(gt=0)


class ModelTarget(_Signed):
    """``custom`` of a model's target."""

    number: int = Field(ge=1)
    name: Identifier
    version: Identifier
    deltas: dict[Sha256, Delta] = {}
    """By the digest of the file that the delta starts from."""


class ProgramTarget(_Signed):
    """``custom`` of a wheelhouse's target."""

    number: int = Field(ge=1)
    version: Identifier


class OverlayTarget(_Signed):
    """``custom`` of an overlay's target."""

    number: int = Field(ge=1)


class Floor(_Signed):
    """Content of ``floor.json``: releases with smaller numbers may not run again, whoever chooses them."""

    model: int = Field(default=0, ge=0)
    program: int = Field(default=0, ge=0)
    overlay: int = Field(default=0, ge=0)


class Wheelhouse(_Signed):
    """Content of ``programs/<version>/<machine>.json``: everything that an installation without network needs."""

    version: Identifier
    machine: Literal["x86_64", "aarch64"]
    wheels: list[TargetPath] = Field(min_length=1, max_length=300)


class Overlay(_Signed):
    """Content of ``overlays/<id>.json``: what maintainers may change on devices without a new program."""

    id: Identifier
    sites: list[Identifier] = []
    """Where it holds; everywhere when empty."""
    devices: list[Identifier] = []
    """On which devices of these sites; on all when empty."""
    threshold_offset: float | None = Field(default=None, ge=-0.5, le=0.5)
    hop_s: float | None = Field(default=None, ge=0.06, le=0.96)
    mute_until: AwareDatetime | None = None
    """No alerts go out before this instant; detection and evidence go on."""

    def holds_for(self, site: str, device: str) -> bool:
        return (not self.sites or site in self.sites) and (not self.devices or device in self.devices)


class Stage(_Signed):
    """One kind of release on one channel."""

    wanted: TargetPath
    fraction: float = Field(ge=0, le=1)
    """Share of the devices that shall run ``wanted``; `draw` says which."""
    otherwise: TargetPath | None = None
    """What the others shall run; None leaves them as they are."""
    paused: bool = False
    """Nobody changes anything."""


class Rollout(_Signed):
    """Content of ``rollout/<channel>.json``."""

    channel: Channel
    model: Stage | None = None
    program: Stage | None = None
    """Its targets are folders, ``programs/<version>``: the device adds ``/<machine>.json``."""
    overlay: Stage | None = None


def draw(site: str, device: str, target: str) -> float:
    """Where a device stands in the queue for a release, 0 to 1: it is in when this is below the fraction.

    A hash and no server state: widening keeps those who are in, and another release draws another order.
    """
    digest = hashlib.sha256(f"{site}/{device}\n{target}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def chosen(stage: Stage | None, site: str, device: str) -> str | None:
    """The target that this device shall run; None: leave it as it is."""
    if stage is None or stage.paused:
        return None
    return stage.wanted if draw(site, device, stage.wanted) < stage.fraction else stage.otherwise
