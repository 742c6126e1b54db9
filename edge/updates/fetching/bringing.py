"""An offered release onto the disk: room for it, every file of it, and for a model the shortest way.

A delta is tried where a file of this device leads to the wanted one. Whatever is wrong with it – it is not there, it
does not fit, its result is another file – the whole file is loaded instead.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge import durable
from edge.settings import EdgeSettings
from edge.updates.fetching import deltas
from edge.updates.fetching.choosing import FOLDERS, Choosing
from edge.updates.fetching.client import Repository
from edge.updates.fetching.download import SignedFile, digest, download
from edge.updates.fetching.fetcher import Fetcher
from edge.updates.fetching.light_tuf import TargetFile, exceptions
from edge.updates.fetching.refusal import Refusal, is_passing
from edge.updates.offer import Fetched, Progress, Release, Request
from edge.updates.release import Delta

log = logging.getLogger(__name__)

_DELTAS = "deltas"
PROGRESS_EVERY_S = 1.0


@dataclass
class Bringing:
    """What all releases of a run share."""

    settings: EdgeSettings
    request: Request
    repository: Repository
    choosing: Choosing
    fetcher: Fetcher
    tell: Callable[[Progress], None]
    _told_s: float = field(default=float("-inf"), init=False)

    def bring(self, release: Release) -> Fetched:
        """Have the release in ``into``, every file whole and durable.

        Raises:
            Refusal: ``disk_full``, ``untrusted``, ``too_large``.
            DownloadError, RepositoryError, OSError.
        """
        before = self.fetcher.received_bytes
        files = self._files(release)
        self._clear_away(release, files)
        by_delta = release.kind == "model" and self._bring_by_delta(release, files[0])
        if not by_delta:
            self._bring_whole(release, files)
        if release.kind == "model":
            shutil.rmtree(self.request.into / _DELTAS, ignore_errors=True)
        return Fetched(
            kind=release.kind,
            target=release.target,
            path=files[-1].path,
            sha256=release.sha256,
            bytes_on_the_air=self.fetcher.received_bytes - before,
            delta=by_delta,
        )

    def _bring_whole(self, release: Release, files: list[SignedFile]) -> None:
        self._need(sum(file.missing_bytes() for file in files))
        done_bytes, total_bytes = 0, sum(file.length for file in files)
        for file in files:
            so_far = done_bytes

            def told(here: int, so_far: int = so_far) -> None:
                self._progress(release, so_far + here, total_bytes)

            download(self.fetcher, file, told)
            done_bytes += file.length
        self._progress(release, total_bytes, total_bytes, at_once=True)

    def _files(self, release: Release) -> list[SignedFile]:
        """The release's own file comes last: where it is, the others are too."""
        wheels = self.choosing.wheels(release) if release.kind == "program" else []
        targets = [*wheels, self._target(release.target)]
        return [self._signed_file(target) for target in targets]

    def _signed_file(self, target: TargetFile) -> SignedFile:
        return SignedFile(target.path, self.request.into / target.path, target.hashes["sha256"], target.length)

    def _target(self, path: str) -> TargetFile:
        found = self.repository.target(path)
        if found is None:
            raise Refusal("untrusted", f"maintainers have not signed {path}")
        return found

    def _need(self, size_bytes: int) -> None:
        durable.make_folder(self.request.into)
        free_bytes = shutil.disk_usage(self.request.into).free
        floor_bytes = self.settings.clips.free_floor_bytes
        if size_bytes and free_bytes - size_bytes < floor_bytes:
            raise Refusal(
                "disk_full",
                f"the download takes {size_bytes} bytes and {free_bytes} are free on {self.request.into}; "
                f"clips.free_floor_bytes = {floor_bytes} must be left",
            )

    def _clear_away(self, release: Release, files: Iterable[SignedFile]) -> None:
        """What earlier releases of this kind left in the folder."""
        wanted = {path for file in files for path in (file.path, file.partial)}
        folder = self.request.into / FOLDERS[release.kind]
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if path not in {parent for file in wanted for parent in file.parents}:
                    shutil.rmtree(path)
            elif path not in wanted:
                path.unlink(missing_ok=True)

    def _bring_by_delta(self, release: Release, file: SignedFile) -> bool:
        """Whether the file is there now, made from another one."""
        if file.is_here() or file.partial.exists():
            return False
        start, delta = self._shortest(release)
        if delta is None:
            return False
        try:
            target = self.repository.target(delta.target)
            if target is None or target.length != delta.length:
                raise deltas.DeltaError("maintainers have not signed it")
            patch = self._signed_file(target)
            self._need(patch.missing_bytes() + file.length)
            download(self.fetcher, patch, lambda here: self._progress(release, here, delta.length))
            made = patch.path.with_suffix(".made")
            deltas.apply(start, patch.path, made, file.length)
            if digest(made) != file.sha256:
                raise deltas.DeltaError("its result is another file than the one that was signed")
            durable.make_folder(file.path.parent)
            durable.sync(made)
            made.replace(file.path)
            durable.sync(file.path.parent)
        except (
            deltas.DeltaError,
            Refusal,
            exceptions.DownloadHTTPError,
            exceptions.DownloadLengthMismatchError,
        ) as error:
            if isinstance(error, exceptions.DownloadHTTPError) and is_passing(error):
                raise
            log.warning("%s cannot be used (%s); loading the whole file", delta.target, error)
            return False
        return True

    def _shortest(self, release: Release) -> tuple[Path | None, Delta | None]:
        """The file to start from (None: nothing) and the delta from there."""
        known = self.choosing.model_target(release).deltas
        starts: dict[str, Path | None] = {deltas.NOTHING: None}
        if known.keys() - starts.keys():
            starts |= {sha256: path for path in self.request.have if (sha256 := digest(path)) in known}
        usable = [
            (start, known[sha256])
            for sha256, start in starts.items()
            if sha256 in known and known[sha256].length < release.length
        ]
        return min(usable, key=lambda way: way[1].length, default=(None, None))

    def _progress(self, release: Release, done_bytes: int, total_bytes: int, at_once: bool = False) -> None:
        now_s = time.monotonic()
        if at_once or now_s - self._told_s >= PROGRESS_EVERY_S:
            self._told_s = now_s
            self.tell(Progress(kind=release.kind, done_bytes=done_bytes, total_bytes=total_bytes))
