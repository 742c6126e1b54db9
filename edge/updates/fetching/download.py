"""One signed file, over links that break: a partial file is kept and gone on with, and believed only when it is whole.

A file is asked for by its digest (consistent snapshots), so what lies under that name never changes. Where it has
changed all the same, where a range is answered with another one, or where the partial file was damaged, the digest
at the end does not come out, and everything is loaded once more from the beginning.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge import durable
from edge.digest import sha256_of
from edge.updates.fetching.fetcher import Fetcher
from edge.updates.fetching.light_tuf import exceptions
from edge.updates.fetching.refusal import Refusal, is_full

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 18
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class SignedFile:
    """A target, as maintainers signed it, and where it goes."""

    target: str
    path: Path
    sha256: str
    length: int

    @property
    def partial(self) -> Path:
        """What has come so far."""
        return durable.temporary_name(self.path)

    @property
    def url_path(self) -> str:
        """Below the repository's address."""
        folder, _, name = self.target.rpartition("/")
        return f"targets/{folder}/{self.sha256}.{name}" if folder else f"targets/{self.sha256}.{name}"

    def is_here(self) -> bool:
        """Whether the whole file is where it goes."""
        return _size(self.path) == self.length and digest(self.path) == self.sha256

    def missing_bytes(self) -> int:
        """What is left to load, at least."""
        return 0 if self.is_here() else max(0, self.length - _size(self.partial))


def download(fetcher: Fetcher, file: SignedFile, told: Callable[[int], None] = lambda _: None) -> None:
    """Have the whole file at its path, durably. ``told`` gets the bytes that are here, again and again.

    Raises:
        DownloadError: the link; what has come is kept for the next run.
        Refusal: ``untrusted``: the repository has something else under this name.
        OSError: the disk. On a full one nothing is left behind.
    """
    if file.is_here():
        told(file.length)
        return
    durable.make_folder(file.path.parent)
    if _size(file.partial) > file.length:
        file.partial.unlink()
    resumed = _size(file.partial) > 0
    try:
        _complete(fetcher, file, told)
        if resumed and digest(file.partial) != file.sha256:
            log.warning("%s: the parts do not fit together; loading it from the beginning", file.target)
            file.partial.unlink()
            _complete(fetcher, file, told)
        if digest(file.partial) != file.sha256:
            file.partial.unlink()
            raise Refusal("untrusted", f"{file.target}: the repository has another file than the one that was signed")
        durable.sync(file.partial)
        durable.place(file.path)
    except OSError as error:
        if is_full(error):  # evidence needs the room more than a part of an update does
            with contextlib.suppress(OSError):
                file.partial.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """SHA-256 in hex; empty where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def _complete(fetcher: Fetcher, file: SignedFile, told: Callable[[int], None]) -> None:
    """Load until the partial file has its length."""
    file.partial.touch()
    told(_size(file.partial))
    begun_anew = 0
    for attempt in fetcher.attempts(lambda: _size(file.partial)):
        before = _size(file.partial)
        if before >= file.length:
            return
        with attempt:
            _append(fetcher, file, told)
        begun_anew += _size(file.partial) < before
        if begun_anew > 1:  # else it would go on like this until the deadline, at the link's cost
            raise _too_short(file)


def _append(fetcher: Fetcher, file: SignedFile, told: Callable[[int], None]) -> None:
    here = _size(file.partial)
    try:
        with (
            fetcher.open(f"{fetcher.url}/{file.url_path}", here) as body,
            file.partial.open("ab", buffering=0) as partial,
        ):
            if body.total is not None and body.total < file.length:
                raise _too_short(file)
            if body.start not in (0, here):
                raise exceptions.DownloadError(f"{file.target}: asked from {here} on, answered from {body.start} on")
            known = here - body.start  # a server that knows no ranges sends what is here once more
            for chunk in body.chunks:
                new = chunk[known:]
                known = max(0, known - len(chunk))
                if here + len(new) > file.length:
                    raise exceptions.DownloadLengthMismatchError(
                        f"{file.target} is longer than the {file.length} bytes that were signed"
                    )
                partial.write(new)
                here += len(new)
                told(here)
        if here < file.length:
            raise exceptions.DownloadError(f"{file.target} ended after {here} of {file.length} bytes")
    except exceptions.DownloadHTTPError as error:
        if error.status_code != _RANGE_NOT_SATISFIABLE or not here:
            raise
        file.partial.write_bytes(b"")
        raise exceptions.DownloadError(f"{file.target}: the repository's file ends before {here} bytes") from error
    except exceptions.DownloadError as error:
        if "answered from" in str(error):
            file.partial.write_bytes(b"")
        raise


def _too_short(file: SignedFile) -> Refusal:
    return Refusal("untrusted", f"{file.target}: the repository has less than the {file.length} bytes signed")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
