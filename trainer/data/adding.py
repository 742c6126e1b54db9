"""A folder of recordings into the catalogue: find, read each once, look for copies.

Every file is committed soon after it was read, so whatever ends the run early – Ctrl-C, a crash, a full disk – the
next one goes on behind it. Files that have not changed are not opened again.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trainer.data.catalogue import Catalogue
from trainer.data.decoding import DecodingError, Inspection, inspect, read_part
from trainer.data.duplicates import Candidate, candidates, is_copy
from trainer.data.sources import Found, Refused, find
from trainer.lock import only_one
from trainer.processes import Failure, over_processes
from trainer.progress import Progress

COMMIT_EVERY = 32
"""Files; a commit waits for the disk."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


@dataclass
class Added:
    """What came of it."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: list[Path] = field(default_factory=list)
    """In the catalogue before, and not in the folder any more."""
    refused: list[Refused] = field(default_factory=list)
    """Everything in the folder that is not in the catalogue, and why."""


def add(
    catalogue: Catalogue,
    root: Path,
    licence: str = "",
    site: str = "",
    source: str = "",
    processes: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Added:
    """Bring the catalogue in agreement with the folder ``root``. Of ``processes``, None is one per core.

    Raises:
        FolderError: there are no recordings.
        AlreadyRunningError: somebody else is adding.
        CatalogueError: no space, no permission; what was committed before is kept.
        KeyboardInterrupt: likewise.
    """
    with only_one(catalogue.folder, f"data add {root}"):
        folder = find(root, licence, site, source)
        known = catalogue.known(folder.root)
        added = Added(refused=folder.refused)
        todo: list[tuple[Found, Stamp]] = []
        same: list[Found] = []
        for found in folder.files:
            try:
                stamp = _stamp(found.path)
            except OSError as error:
                added.refused.append(Refused(found.path, f"cannot be read: {error.strerror}"))
                continue
            if known.get(found.path) == stamp:
                same.append(found)
            else:
                todo.append((found, stamp))
        added.unchanged = len(same)
        kept = {found.path for found, _ in todo} | {found.path for found in same}
        added.gone = sorted(known.keys() - kept)
        catalogue.forget(added.gone)
        catalogue.describe(same)
        _read(catalogue, folder.root, todo, known, added, processes, progress)
        catalogue.refuse(folder.root, added.refused)
        _compare(catalogue, processes, progress)
    return added


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _read(
    catalogue: Catalogue,
    root: Path,
    todo: list[tuple[Found, Stamp]],
    known: Collection[Path],
    added: Added,
    processes: int | None,
    progress: Progress,
) -> None:
    batch: list[tuple[Found, Inspection, Stamp]] = []
    try:
        for number, ((found, stamp), outcome) in enumerate(
            over_processes(_inspect, todo, _worth(len(todo), processes))
        ):
            progress("reading", number, len(todo))
            reason = ""
            if isinstance(outcome, Failure):
                reason = _why(found.path, outcome)
            elif found.sha256 and outcome.sha256 != found.sha256:
                reason = f"its SHA-256 is {outcome.sha256}, not as listed ({found.sha256}): fetch it again"
            if reason:
                added.refused.append(Refused(found.path, reason))
                if found.path in known:
                    catalogue.forget([found.path])
                continue
            assert isinstance(outcome, Inspection)
            batch.append((found, outcome, stamp))
            added.changed += found.path in known
            added.new += found.path not in known
            if len(batch) >= COMMIT_EVERY:
                catalogue.put(root, batch)
                batch = []
    except KeyboardInterrupt:
        catalogue.put(root, batch)
        raise
    catalogue.put(root, batch)
    progress("reading", len(todo), len(todo))


def _inspect(item: tuple[Found, Stamp]) -> Inspection:
    return inspect(item[0].path)


def _why(path: Path, failure: Failure) -> str:
    if isinstance(failure.error, DecodingError):
        return str(failure.error).replace(f"{path}: ", "").replace(f"{path} ", "")
    return f"cannot be read: {type(failure.error).__name__}: {failure.error}"


def _worth(count: int, processes: int | None) -> int | None:
    """For a handful of files it takes longer to start workers than to read them."""
    return processes if count > 64 or processes is not None else 1


def _compare(catalogue: Catalogue, processes: int | None, progress: Progress) -> None:
    numbers, paths, prints, new = catalogue.fingerprints()
    if not new.any():
        return
    found = candidates(prints, new)
    copies = []
    work = [(candidate, paths[candidate.one], paths[candidate.other]) for candidate in found]
    for number, ((candidate, _, _), outcome) in enumerate(over_processes(_is_copy, work, _worth(len(work), processes))):
        progress("comparing", number, len(work))
        # Where one cannot be opened any more the anchors alone decide: keeping strangers together does least harm.
        if isinstance(outcome, Failure) or outcome:
            copies.append((numbers[candidate.one], numbers[candidate.other]))
    catalogue.compared(numbers, copies)
    progress("comparing", len(work), len(work))


def _is_copy(work: tuple[Candidate, Path, Path]) -> bool:
    candidate, one, other = work
    return is_copy(candidate, partial(read_part, one), partial(read_part, other))
