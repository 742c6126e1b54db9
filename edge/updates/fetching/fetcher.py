"""Bytes from a repository, wherever it is: what all fetchers have in common.

A fetcher knows how to ask for a file from an offset on (``_ask``). Here stand the bounds: how much, how slow, how often
again. Nothing that a fetcher returns is to be believed; TUF's signatures and digests are looked at by the caller.

    with fetcher_for(settings, pace, limits) as fetcher:
        fetcher.download_bytes(f"{fetcher.url}/metadata/timestamp.json", 16_384)
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge.redaction import without_passwords
from edge.settings import EdgeSettings
from edge.updates.fetching.light_tuf import FetcherInterface, exceptions
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace
from edge.updates.fetching.refusal import Refusal, is_passing


@dataclass(frozen=True)
class Body:
    """What a server sends."""

    start: int
    """Offset of the first byte: 0 where the server ignored the range, whatever was asked."""
    chunks: Iterator[bytes]
    """Closed when it ends and when it is dropped. Raises DownloadError."""
    total: int | None = None
    """Length of the whole file in bytes, where the server says it."""


class Fetcher(FetcherInterface):
    """Where a repository is and how to read it. ``url`` has no slash at its end, and no password."""

    def __init__(self, url: str, pace: Pace, limits: Limits) -> None:
        self.url = url.rstrip("/")
        self.received_bytes = 0
        """Of bodies, so far."""
        self._pace = pace
        self._limits = limits

    @abstractmethod
    def _ask(self, url: str, start: int) -> Body:
        """Ask for a file from ``start`` on.

        Raises:
            DownloadHTTPError: the server refuses; 416 where it has nothing from ``start`` on.
            DownloadError: it cannot be reached, the link broke.
        """

    @contextmanager
    def open(self, url: str, start: int = 0) -> Iterator[Body]:
        """``_ask`` under the eyes of the pace."""
        self._pace.begin()
        try:
            with self._waiting():
                body = self._ask(url, start)
            with closing(self._watched(body.chunks)) as chunks:
                yield Body(body.start, chunks, body.total)
        finally:
            self._pace.end()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """A small file, in memory (TUF's own way goes over a temporary file, on a disk that may be full).

        Raises:
            DownloadError: as `open`, after several attempts; longer than ``max_length``.
        """
        for attempt in self.attempts():
            with attempt, self.open(url) as body:
                content = bytearray()
                for chunk in body.chunks:
                    content += chunk
                    if len(content) > max_length:
                        raise exceptions.DownloadLengthMismatchError(f"{url} is longer than {max_length} bytes")
                return bytes(content)
        raise AssertionError("attempts end with an exception")

    def attempts(self, kept_bytes: Callable[[], int] = lambda: 0) -> Iterator["Attempt"]:
        """Context managers that swallow what is passing, with pauses, until too many in a row brought nothing.

        ``kept_bytes``: how much is there to go on with. Only that counts: a server may send the same for ever.
        """
        failed, pause_s = 0, self._limits.pause_s
        while True:
            before = kept_bytes()
            attempt = Attempt(last=failed + 1 >= self._limits.attempts)
            yield attempt
            if attempt.error is None:
                continue
            # A server that sends a little and breaks off, again and again, does not live on those bytes.
            worth = self._limits.slowest_bytes_per_s * self._limits.slow_window_s
            if kept_bytes() - before >= worth:
                failed, pause_s = 0, self._limits.pause_s
            else:
                failed += 1
            self._pace.check()
            time.sleep(pause_s)
            pause_s *= 2

    def _watched(self, chunks: Iterator[bytes]) -> Generator[bytes]:
        while True:
            with self._waiting():
                chunk = next(chunks, None)
            if chunk is None:
                return
            self.received_bytes += len(chunk)
            self._pace.took(len(chunk))
            yield chunk

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._pace.waiting = True
        try:
            yield
        finally:
            self._pace.waiting = False

    def _fetch(self, url: str) -> Iterator[bytes]:
        """For TUF's interface; everything of ours asks `open` or `download_bytes`."""
        with self.open(url) as body:
            yield from body.chunks

    def close(self) -> None:
        """Give connections back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Attempt:
    """One of `Fetcher.attempts`."""

    def __init__(self, last: bool) -> None:
        self.error: exceptions.DownloadError | None = None
        self._last = last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if self._last or not isinstance(error, exceptions.DownloadError) or not is_passing(error):
            return False
        self.error = error
        return True


def fetcher_for(settings: EdgeSettings, pace: Pace, limits: Limits) -> Fetcher:
    """The fetcher for `updates.url`; the address and the keys come from the settings.

    Raises:
        Refusal: ``misconfigured``: there is no address, a part is not installed, or a key cannot be read.
    """
    url = settings.updates.url
    if url is None:
        raise Refusal("misconfigured", "updates.url is not set: name the address of the release repository")
    scheme = url.partition("://")[0]
    if scheme == "file":
        from edge.updates.fetching.file import FileFetcher

        return FileFetcher(url, pace, limits)
    if scheme == "s3":
        from edge.updates.fetching.s3 import S3Fetcher

        return S3Fetcher.of(settings, pace, limits)
    from edge.updates.fetching.http import HttpFetcher

    try:
        return HttpFetcher(url, pace, limits)
    except ValueError as error:
        raise Refusal("misconfigured", f"updates.url is {without_passwords(url)!r}: {error}") from error
