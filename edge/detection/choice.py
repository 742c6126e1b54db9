"""Which model runs: the one that is configured, else the newest installed, else the one that ships.

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


def candidates(configured: Path | None, state_dir: Path) -> Iterator[Path]:
    """Model files in the order in which they are tried; they need not exist."""
    installed = state_dir / "models"
    if configured is not None:
        yield configured
        yield installed / LAST_GOOD
    newest_first = sorted(
        (p for p in _models_in(installed) if p.name != LAST_GOOD),
        key=lambda p: p.stat().st_mtime,
        reverse=True,
    )
    yield from newest_first
    if configured is None:
        yield installed / LAST_GOOD
    yield from sorted(SHIPPED.glob("*.tflite"))


def _models_in(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.tflite"))
    except PermissionError:  # a daemon's own folder, and we are a person who replays a recording
        return []


def choose(configured: Path | None, state_dir: Path, only: bool = False, keep: bool = False) -> Choice:
    """Verify and load the first usable model; with ``only``, the configured one or none.

    ``keep`` is for the daemon, whose folder ``state_dir`` is: it remembers there what was verified, and keeps a
    copy of what runs. Without it nothing is written.

    Raises:
        ModelFileError: with ``only``, that file cannot be used.
        NoModelError: none is usable.
    """
    if only and configured is not None:
        verify(configured)
        return Choice(load(configured, verify=False), configured)
    refused: list[str] = []
    for path in candidates(configured, state_dir):
        if not _exists(path):
            if path == configured:
                refused.append(f"{path}: no such file")
            continue
        try:
            verify(path, cache_dir=state_dir / "models" if keep else None)
            model = load(path, verify=False)
        except ModelFileError as error:
            log.error("model refused: %s", error)
            refused.append(str(error))
            continue
        if keep:
            _keep_last_good(path, state_dir)
        return Choice(model, path, tuple(refused))
    tried = "".join(f"\n  refused: {reason}" for reason in refused)
    raise NoModelError(f"there is no usable model; {HOW_TO_GET_ONE}{tried}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def _keep_last_good(path: Path, state_dir: Path) -> None:
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
