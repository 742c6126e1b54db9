"""What the release repository says to this device, believed only as far as it is signed (TUF specification 5).

    with fetcher_for(settings, pace, limits) as fetcher:
        repository = Repository(settings, fetcher, metadata, limits)
        repository.refresh()                                    # root → timestamp → snapshot → targets
        repository.target("models/gun-shot-7.tflite")           # targets → models
        repository.document("rollout/stable.json", 65_536)      # targets → rollout

Trust begins at `updates.root` in every run; ``metadata`` holds what was last seen, which is what rollback is told from.
A file in it that is damaged or missing is loaded again. Which role may sign which path stands in ``targets``, signed by
maintainers: a path is looked for only in the roles that it is delegated to.
"""

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge import durable
from edge.settings import EdgeSettings
from edge.updates.fetching.download import SignedFile
from edge.updates.fetching.fetcher import Fetcher
from edge.updates.fetching.light_tuf import TargetFile, Updater, UpdaterConfig, exceptions
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.refusal import Refusal

_ROOTS = "root_history"
_DOCUMENTS = "documents"
_FOLDERS = (_ROOTS, _DOCUMENTS)

Document = TypeVar("Document", bound=BaseModel)


class Repository:
    """One look at it. Not for two processes at once with one ``metadata`` folder."""

    def __init__(self, settings: EdgeSettings, fetcher: Fetcher, metadata: Path, limits: Limits) -> None:
        """Raises Refusal (``misconfigured``: there is no usable root of trust) and OSError."""
        self._fetcher = fetcher
        self._metadata = metadata
        self._documents_in_use: set[str] = set()
        root = settings.updates.root
        try:
            bootstrap = root.read_bytes()
        except OSError as error:
            raise Refusal(
                "misconfigured",
                f"updates.root: {root} cannot be read ({error.strerror}); get root.json from a maintainer",
            ) from error
        durable.make_folder(metadata)
        _clear_away_damage(metadata)
        config = UpdaterConfig(
            max_root_rotations=limits.root_rotations,
            max_delegations=limits.delegations,
            root_max_length=limits.root_bytes,
            timestamp_max_length=limits.timestamp_bytes,
            snapshot_max_length=limits.snapshot_bytes,
            targets_max_length=limits.targets_bytes,
        )
        try:
            self._updater = Updater(
                str(metadata), f"{fetcher.url}/metadata/", fetcher=fetcher, config=config, bootstrap=bootstrap
            )
        except exceptions.RepositoryError as error:
            raise Refusal("misconfigured", f"updates.root: {root} is no signed root of trust: {error}") from error

    def refresh(self) -> None:
        """The four top-level roles, with every check of the specification. Once, before anything else.

        Raises:
            ExpiredMetadataError, RepositoryError: not what maintainers signed, or not any more.
            DownloadError: cannot be had.
            OSError: cannot be kept.
        """
        self._updater.refresh()

    def target(self, path: str) -> TargetFile | None:
        """What the role that may sign ``path`` says of it; None: it signs no such thing. Raises like `refresh`.

        Raises:
            RepositoryError: signed without a SHA-256.
        """
        found = self._updater.get_targetinfo(path)
        if found is not None and set(found.hashes) != {"sha256"}:
            raise exceptions.RepositoryError(f"{path} must be signed with its SHA-256 and no other digest")
        return found

    def document(self, path: str, most_bytes: int) -> tuple[TargetFile, bytes] | None:
        """A small signed file; None: there is none. It is loaded once and kept beside the metadata.

        Raises:
            Refusal: ``untrusted``, ``too_large``.
            DownloadError, RepositoryError, OSError: as `refresh`.
        """
        found = self.target(path)
        if found is None:
            return None
        if found.length > most_bytes:
            raise Refusal("too_large", f"{path} has {found.length} bytes; at most {most_bytes} are read")
        sha256 = found.hashes["sha256"]
        self._documents_in_use.add(sha256)
        kept = self._metadata / _DOCUMENTS / sha256
        with contextlib.suppress(OSError):
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return found, content
        file = SignedFile(path, kept, sha256, found.length)
        content = self._fetcher.download_bytes(f"{self._fetcher.url}/{file.url_path}", found.length)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Refusal("untrusted", f"{path}: the repository has another file than the one that was signed")
        durable.make_folder(kept.parent)
        durable.commit_bytes(kept, content)
        return found, content

    def keep(self) -> None:
        """Make what was seen survive a power cut, and forget documents that nobody signs any more."""
        for document in (self._metadata / _DOCUMENTS).glob("*"):
            if document.name not in self._documents_in_use:
                document.unlink()
        for file in (*self._metadata.glob("*.json"), *(self._metadata / _ROOTS).glob("*.json"), self._metadata):
            durable.sync(file)


def _clear_away_damage(metadata: Path) -> None:
    """Folders where files should be and the other way round, and what a killed run left half written."""
    for entry in [*metadata.iterdir(), *(file for name in _FOLDERS for file in (metadata / name).glob("*"))]:
        is_folder = entry.is_dir() and not entry.is_symlink()
        if is_folder and (entry.parent != metadata or entry.name not in _FOLDERS):
            shutil.rmtree(entry)
        elif (not is_folder and entry.name in _FOLDERS) or entry.name.startswith("tmp"):
            entry.unlink()


def parsed(kind: type[Document], content: bytes | dict[str, object], path: str) -> Document:
    """A signed document, or what is said with a target.

    Raises:
        Refusal: ``untrusted``: it is not one.
    """
    try:
        return kind.model_validate_json(content) if isinstance(content, bytes) else kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal("untrusted", f"{path} is no {kind.__name__}: {where or 'it'}: {first['msg']}") from error
