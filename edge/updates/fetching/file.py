"""A repository in a folder: a USB stick, a network disk, a test."""

import errno
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge.updates.fetching.fetcher import Body, Fetcher
from edge.updates.fetching.light_tuf import exceptions

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


class FileFetcher(Fetcher):
    """``file:///media/stick/repository``."""

    def _ask(self, url: str, start: int) -> Body:
        path = Path(unquote(urlsplit(url).path))
        try:
            file = path.open("rb")
        except OSError as error:
            if error.errno in _ABSENT:
                raise exceptions.DownloadHTTPError(f"{path} is not there", 404) from error
            raise exceptions.DownloadError(f"{path} cannot be read") from error
        with file:
            size = path.stat().st_size
        if start >= size > 0:
            raise exceptions.DownloadHTTPError(f"{path} ends at {size}", 416)
        return Body(start, self._read(path, start), size)

    def _read(self, path: Path, start: int) -> Iterator[bytes]:
        try:
            with path.open("rb") as file:
                file.seek(start)
                while chunk := file.read(self._limits.chunk_bytes):
                    yield chunk
        except OSError as error:  # a stick that was pulled out
            raise exceptions.DownloadError(f"{path} cannot be read") from error
