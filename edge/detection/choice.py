"""Which model runs: the configured one, else the one that came over the air, else the newest installed, else the one
that ships.

A damaged file never stops detection while a good one is at hand: the copy of the model that last ran
(``models/last_good.tflite`` in the state folder) stands behind the configured one.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.detection.model import Model, load
from edge.detection.model_file import ModelFileError
from edge.detection.verify import verify
from edge.durable import commit_bytes, make_folder
from edge.updates.model.state import SLOTS, State, look, slot_path

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent.parent / "models"
LAST_GOOD = "last_good.tflite"
HOW_TO_GET_ONE = (
    "make one with `ecosight-convert yamnet yamnet.tflite --out model.tflite` and name it in detection.model "
    "(for replay: with --model)"
)


class NoModelError(RuntimeError):
    """No usable model anywhere. The text says what was tried and what to do."""


@dataclass(frozen=True)
class Choice:
    """The model that runs, and what was wrong with those that were to run before it."""

    model: Model
    path: Path
    refused: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Health codes."""
        return ["model:refused"] if self.refused else []


def default_model() -> Path:
    """The model that ships. Raises NoModelError: this installation is not whole."""
    for path in sorted(SHIPPED.glob("*.tflite")):
        return path
    raise NoModelError(f"no model in {SHIPPED}: install EcoSight again")


def candidates(configured: Path | None, state_dir: Path, state: State | None = None) -> Iterator[Path]:
    """Model files in the order in which they are tried; they need not exist. ``state``: of updates; read from the disk
    where it is not given."""
    installed = state_dir / "models"
    if configured is not None:
        yield configured
        yield installed / LAST_GOOD
    yield from _slots(state_dir, look(state_dir) if state is None else state)
    slots = {slot_path(state_dir, slot) for slot in SLOTS}
    newest_first = sorted(
        (p for p in _models_in(installed) if p.name != LAST_GOOD and p not in slots),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    )
    yield from newest_first
    if configured is None:
        yield installed / LAST_GOOD
    yield from sorted(SHIPPED.glob("*.tflite"))


def _slots(state_dir: Path, state: State) -> Iterator[Path]:
    """The slot whose model runs, and behind it the other, if that has proved itself. None where none is active: they
    were taken back, or never ran."""
    if state.active is None:
        return
    yield slot_path(state_dir, state.active)
    for slot, held in state.slots.items():
        if slot != state.active and held.confirmed:
            yield slot_path(state_dir, slot)


def _models_in(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.tflite"))
    except PermissionError:  # a daemon's own folder, and we are a person who replays a recording
        return []


def choose(
    configured: Path | None, state_dir: Path, only: bool = False, keep: bool = False, state: State | None = None
) -> Choice:
    """Verify and load the first usable model; with ``only``, the configured one or none.

    ``keep`` is for the daemon, whose folder ``state_dir`` is: it remembers there what was verified, and keeps a
    copy of what runs, unless that is still on probation. Without it nothing is written. ``state``: of updates, as the
    daemon knows it; read from the disk where it is not given. What it says has failed is not fallen back to.

    Raises:
        ModelFileError: with ``only``, that file cannot be used.
        NoModelError: none is usable.
    """
    if only and configured is not None:
        verify(configured)
        return Choice(load(configured, verify=False), configured)
    refused: list[str] = []
    state = look(state_dir) if state is None else state
    failed = {one.sha256 for one in state.failed}
    for path in candidates(configured, state_dir, state):
        if not _exists(path):
            if path == configured:
                refused.append(f"{path}: no such file")
            continue
        try:
            found = verify(path, cache_dir=state_dir / "models" if keep else None)
            if path.name == LAST_GOOD and found in failed:
                continue
            _is_what_was_placed(path, found, state, state_dir)
            model = load(path, verify=False)
        except ModelFileError as error:
            log.error("model refused: %s", error)
            refused.append(str(error))
            continue
        on_probation = state.phase == "probation" and state.active and path == slot_path(state_dir, state.active)
        if keep and not on_probation:
            keep_last_good(path, state_dir)
        return Choice(model, path, tuple(refused))
    tried = "".join(f"\n  refused: {reason}" for reason in refused)
    raise NoModelError(f"there is no usable model; {HOW_TO_GET_ONE}{tried}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _is_what_was_placed(path: Path, sha256: str, state: State, state_dir: Path) -> None:
    """Raises ModelFileError: a slot holds a good model, and not the one that was put there."""
    for slot, held in state.slots.items():
        if path == slot_path(state_dir, slot) and held.release.sha256 != sha256:
            raise ModelFileError(
                f"{path} is not the model {held.release.name} {held.release.version} that was put there"
            )


def keep_last_good(path: Path, state_dir: Path) -> None:
    """Keep a copy of a model that runs well, behind all others. Never raises."""
    copy = state_dir / "models" / LAST_GOOD
    if path == copy or path.parent == SHIPPED:
        return
    source = path.stat()
    if copy.exists() and copy.stat().st_size == source.st_size and copy.stat().st_mtime >= source.st_mtime:
        return
    try:
        make_folder(copy.parent)
        commit_bytes(copy, path.read_bytes())
    except OSError as error:
        # A full disk must not stop detection; the configured file itself is good.
        log.warning("cannot keep a copy of the model at %s: %s", copy, error)
