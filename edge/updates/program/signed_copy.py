"""What maintainers signed, read by root out of the daemon's folder, which it does not trust.

The daemon has downloaded metadata and targets (`fetching.client`). Root asks TUF the same questions again, with its
own root of trust and its own memory of what it has seen, over that copy instead of the network: whoever has taken the
daemon over can hand over old files or none, and no others.

Nothing is believed of a path either: it is walked without following a link, and only regular files are read.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from edge.durable import make_folder, sync
from edge.settings import EdgeSettings
from edge.updates.release import FLOOR, Floor, ProgramTarget, Rollout, Wheelhouse, chosen

if TYPE_CHECKING:
    from edge.updates.fetching.light_tuf import TargetFile

CHUNK_BYTES = 1 << 18
LARGEST_DOCUMENT_BYTES = 1_000_000

Document = TypeVar("Document", bound=BaseModel)


class CopyError(RuntimeError):
    """The copy is not, or not any more, what maintainers signed. The text is for people."""


class SignedCopy:
    """The repository as the daemon has it, seen with root's eyes."""

    def __init__(self, settings: EdgeSettings, trust: Path, root_of_trust: bytes) -> None:
        """Load and check all metadata. ``trust`` is root's own folder for TUF, kept between runs.

        Raises:
            CopyError: not signed, expired, older than what was seen before, or not there.
        """
        from edge.updates.fetching.light_tuf import Updater, UpdaterConfig, exceptions

        self._settings = settings
        # Where the folder itself lies is root's own word; what is below it is the daemon's.
        updates = settings.state_dir.resolve() / "updates"
        self._targets = updates / "download"
        self._documents = updates / "metadata" / "documents"
        make_folder(trust)
        try:
            self._tuf = Updater(
                str(trust),
                "copy:metadata/",
                fetcher=_fetcher(updates / "metadata"),
                config=UpdaterConfig(prefix_targets_with_hash=False),
                bootstrap=root_of_trust,
            )
            self._tuf.refresh()
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise CopyError(f"the downloaded metadata is not to be trusted: {error}") from error

    def wanted(self) -> tuple[str, ProgramTarget, Wheelhouse] | None:
        """The program that this device shall run: manifest path, what it says of itself, its wheels. None: as it is.

        Raises:
            CopyError: see the class.
        """
        name = f"rollout/{self._settings.updates.channel}.json"
        rollout = self._document(Rollout, name)
        folder = chosen(rollout.program, self._settings.site, self._settings.device)
        if folder is None:
            return None
        target = f"{folder}/{os.uname().machine}.json"
        house = self._document(Wheelhouse, target)
        try:
            release = ProgramTarget.model_validate(self._info(target).unrecognized_fields.get("custom"))
        except ValidationError as error:
            raise CopyError(f"{target} is signed without a number and a version that can be read") from error
        if house.machine != os.uname().machine or house.version != release.version:
            raise CopyError(f"{target} is for {house.machine}, version {house.version}: not what it was signed as")
        return target, release, house

    def floor(self) -> Floor:
        """The oldest releases that may run; none where none is signed.

        Raises:
            CopyError: see the class.
        """
        return self._document(Floor, FLOOR) if self._find(FLOOR) is not None else Floor()

    def length(self, target: str) -> int:
        """Bytes of a signed target.

        Raises:
            CopyError: see the class.
        """
        return self._info(target).length

    def copy(self, target: str, to: Path) -> None:
        """A signed target, copied to ``to``, and the copy is what was signed.

        Raises:
            CopyError: it is not there, or something else.
            OSError: the disk that ``to`` lies on.
        """
        info = self._info(target)
        try:
            source = open_beneath(self._targets, target)
        except OSError as error:
            raise CopyError(f"{target} is not in the download folder: {error.strerror}") from error
        with _closing(source), to.open("wb") as copy:
            left = info.length + 1
            while left > 0 and (some := os.read(source, min(CHUNK_BYTES, left))):
                copy.write(some)
                left -= len(some)
        self._check(info, to)
        sync(to)

    def _check(self, info: "TargetFile", content: bytes | Path) -> None:
        from edge.updates.fetching.light_tuf import exceptions

        try:
            if isinstance(content, bytes):
                info.verify_length_and_hashes(content)
            else:
                with content.open("rb") as file:
                    info.verify_length_and_hashes(file)
        except exceptions.LengthOrHashMismatchError as error:
            raise CopyError(f"{info.path} is not what was signed: {error}") from error

    def _document(self, kind: type[Document], target: str) -> Document:
        info = self._info(target)
        if info.length > LARGEST_DOCUMENT_BYTES:
            raise CopyError(f"{target} has {info.length} bytes; a document has at most {LARGEST_DOCUMENT_BYTES}")
        # The fetch process keeps documents beside the metadata, and what it downloads as it lies in the repository.
        for place, name in ((self._documents, info.hashes.get("sha256", "")), (self._targets, target)):
            try:
                descriptor = open_beneath(place, name)
            except OSError:
                continue
            with _closing(descriptor):
                content = b"".join(_chunks(descriptor, info.length + 1))
            break
        else:
            raise CopyError(f"{target} is signed, but has not been downloaded")
        self._check(info, content)
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            raise CopyError(f"{target} is signed, but says nothing that this version understands") from error

    def _info(self, target: str) -> "TargetFile":
        info = self._find(target)
        if info is None:
            raise CopyError(f"nobody has signed {target}")
        return info

    def _find(self, target: str) -> "TargetFile | None":
        from edge.updates.fetching.light_tuf import exceptions

        try:
            return self._tuf.get_targetinfo(target)
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise CopyError(f"the downloaded metadata is not to be trusted: {error}") from error


def open_beneath(folder: Path, name: str) -> int:
    """A descriptor of the regular file ``name`` below ``folder``, where neither is reached over a link.

    Raises:
        OSError: not there, a link on the way, or no regular file.
    """
    parts = [*folder.absolute().parts[1:], *Path(name).parts]
    if ".." in parts or not name:
        raise OSError(2, "a path goes upwards", name)
    at = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        # Looked at before it is opened: opening a device may already do something.
        if not stat.S_ISREG(os.stat(parts[-1], dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(22, "no regular file", name)
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(22, "no regular file", name)
    return descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, most: int) -> Iterator[bytes]:
    while most > 0 and (some := os.read(descriptor, min(CHUNK_BYTES, most))):
        most -= len(some)
        yield some


def _fetcher(metadata: Path) -> Any:
    """TUF's network, which is a folder here: another client's memory, where versions stand in front of roots only."""
    from edge.updates.fetching.light_tuf import FetcherInterface, exceptions

    class Copied(FetcherInterface):
        def _fetch(self, url: str) -> Iterator[bytes]:
            name = unquote(url.removeprefix("copy:metadata/"))
            version, _, rest = name.partition(".")
            if rest == "root.json":
                name = f"root_history/{name}"
            elif version.isdecimal():
                name = rest
            if not re.fullmatch(r"(root_history/)?[A-Za-z0-9._-]+", name):
                raise exceptions.DownloadHTTPError(f"{name} is no metadata", 404)
            try:
                descriptor = open_beneath(metadata, name)
            except OSError as error:
                raise exceptions.DownloadHTTPError(f"{name}: {error.strerror}", 404) from error
            with _closing(descriptor):
                yield from _chunks(descriptor, 1 << 62)  # TUF itself counts

    return Copied()
