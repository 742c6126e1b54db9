"""From the signed documents to what is asked of this device: `edge.updates.release.chosen`, the floor, the sizes."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from edge.settings import EdgeSettings
from edge.updates.fetching.client import Document, Repository, parsed
from edge.updates.fetching.light_tuf import TargetFile
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.refusal import Refusal, concerns_one_kind, explain
from edge.updates.offer import KINDS, Failure, Kind, Offer, Release
from edge.updates.program.wheels import WheelError, needed
from edge.updates.release import (
    FLOOR,
    Floor,
    ModelTarget,
    Overlay,
    OverlayTarget,
    ProgramTarget,
    Rollout,
    Stage,
    Wheelhouse,
    chosen,
)

FOLDERS: dict[Kind, str] = {"model": "models", "program": "programs", "overlay": "overlays"}


class Choosing:
    """One look at a refreshed repository."""

    def __init__(
        self, repository: Repository, settings: EdgeSettings, limits: Limits, machine: str = platform.machine()
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._limits = limits
        self._machine = machine

    def offer(self, highest_floor: Floor, failed: Callable[[Failure], None]) -> Offer:
        """What this device shall run. A kind that may not be had is told to ``failed``, and None.

        Raises:
            Refusal, DownloadError, RepositoryError, OSError: nothing can be said at all.
        """
        floor = self._floor(highest_floor)
        rollout = self._rollout()
        releases: dict[Kind, Release | None] = {}
        for kind in KINDS:
            with _telling(kind, failed):
                releases[kind] = self._release(kind, getattr(rollout, kind, None), floor)
        return Offer(floor=floor, checked_at=datetime.now(UTC), **{kind: releases.get(kind) for kind in KINDS})

    def model_target(self, release: Release) -> ModelTarget:
        """What was signed with an offered model."""
        return _custom(ModelTarget, self._signed(release.target))

    def wheels(self, release: Release) -> list[TargetFile]:
        """The files that an offered program is made of, on this machine with this Python."""
        manifest = self._document(Wheelhouse, release.target, self._limits.manifest_bytes)
        if manifest is None:
            raise Refusal("untrusted", f"maintainers signed no {release.target}")
        if manifest.machine != self._machine or not release.target.endswith(f"/{self._machine}.json"):
            raise Refusal("untrusted", f"{release.target} is for {manifest.machine}; this is {self._machine}")
        try:
            fitting = needed(manifest.wheels, self._machine)
        except WheelError as error:
            raise Refusal("not_found", f"{release.target}: {error}") from error
        return [self._signed(wheel.target) for wheel in fitting]

    def _floor(self, highest: Floor) -> Floor:
        signed = self._document(Floor, FLOOR, self._limits.floor_bytes) or Floor()
        return Floor(**{kind: max(getattr(signed, kind), getattr(highest, kind)) for kind in KINDS})

    def _rollout(self) -> Rollout | None:
        """None: nothing was ever chosen for this channel."""
        channel = self._settings.updates.channel
        path = f"rollout/{channel}.json"
        rollout = self._document(Rollout, path, self._limits.rollout_bytes)
        if rollout is not None and rollout.channel != channel:
            raise Refusal("untrusted", f"{path} is for the channel {rollout.channel}")
        return rollout

    def _release(self, kind: Kind, stage: Stage | None, floor: Floor) -> Release | None:
        target = chosen(stage, self._settings.site, self._settings.device)
        if target is None:
            return None
        if target.count("/") != 1 or not target.startswith(f"{FOLDERS[kind]}/"):
            raise Refusal("untrusted", f"{target} was chosen as {kind}, and is none")
        release = {"model": self._model, "program": self._program, "overlay": self._overlay}[kind](target)
        if release is None:
            return None
        lowest: int = getattr(floor, kind)
        if release.number < lowest:
            raise Refusal(
                "floor", f"{release.target} has the number {release.number}; maintainers allow {lowest} and above"
            )
        if release.length > self._settings.updates.largest_bytes:
            raise Refusal(
                "too_large",
                f"{release.target} has {release.length} bytes; "
                f"updates.largest_bytes allows {self._settings.updates.largest_bytes}",
            )
        return release

    def _model(self, target: str) -> Release:
        found = self._signed(target)
        custom = _custom(ModelTarget, found)
        return _release("model", found, custom.number, custom.name, custom.version)

    def _program(self, target: str) -> Release:
        found = self._signed(f"{target}/{self._machine}.json")
        custom = _custom(ProgramTarget, found)
        release = _release("program", found, custom.number, "ecosight", custom.version)
        wheels = self.wheels(release)
        return release.model_copy(update={"length": release.length + sum(wheel.length for wheel in wheels)})

    def _overlay(self, target: str) -> Release | None:
        found = self._signed(target)
        custom = _custom(OverlayTarget, found)
        overlay = self._document(Overlay, target, self._limits.overlay_bytes)
        if overlay is None or not overlay.holds_for(self._settings.site, self._settings.device):
            return None
        return _release("overlay", found, custom.number, overlay.id, str(custom.number))

    def _signed(self, path: str) -> TargetFile:
        found = self._repository.target(path)
        if found is None:
            raise Refusal("untrusted", f"{path} was chosen, and maintainers have not signed it")
        return found

    def _document(self, kind: type[Document], path: str, most_bytes: int) -> Document | None:
        found = self._repository.document(path, most_bytes)
        return None if found is None else parsed(kind, found[1], path)


@contextmanager
def _telling(kind: Kind, failed: Callable[[Failure], None]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not concerns_one_kind(error):
            raise
        failed(explain(error, kind))


def _custom(kind: type[Document], target: TargetFile) -> Document:
    said: Any = target.custom
    return parsed(kind, said if isinstance(said, dict) else {}, target.path)


def _release(kind: Kind, target: TargetFile, number: int, name: str, version: str) -> Release:
    return Release(
        kind=kind,
        target=target.path,
        number=number,
        name=name,
        version=version,
        sha256=target.hashes["sha256"],
        length=target.length,
    )
