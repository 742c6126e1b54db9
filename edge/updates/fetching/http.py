"""A repository on a web server, with ranges where the server knows them (RFC 9110, 14)."""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from edge import __version__
from edge.updates.fetching.fetcher import Body, Fetcher
from edge.updates.fetching.light_tuf import exceptions
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace

_REDIRECTS = 3
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class HttpFetcher(Fetcher):
    """``https://user:password@host/path``. The machine's certificates and its ``…_proxy`` variables count."""

    redirects = _REDIRECTS

    def __init__(self, url: str, pace: Pace, limits: Limits) -> None:
        """Raises ValueError: no host, no port."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError("it names no host")
        _ = parts.port
        super().__init__(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), pace, limits)
        # As it is, not compressed: a body must not grow in our hands, and ranges are ranges of the file.
        self._headers = urllib3.make_headers(accept_encoding="identity", user_agent=f"ecosight-edge/{__version__}")
        if parts.username is not None:
            account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers |= urllib3.make_headers(basic_auth=account)
        proxy = None if proxy_bypass(parts.hostname) else getproxies().get(parts.scheme)
        self._pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager(maxsize=1)

    def _ask(self, url: str, start: int) -> Body:
        headers = {**self._headers, **({"Range": f"bytes={start}-"} if start else {})}
        try:
            response = self._pool.request(
                "GET",
                url,
                headers=self._signed(url, headers),
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._limits.connect_s, read=self._limits.silence_s),
                # Repeating is the caller's business: it knows how much has come.
                retries=urllib3.Retry(0, redirect=self.redirects, raise_on_redirect=False, raise_on_status=False),
            )
        except urllib3.exceptions.HTTPError as error:
            raise exceptions.DownloadError(f"{url}: {_in_words(error)}") from error
        if response.status not in (200, 206):
            response.close()
            raise exceptions.DownloadHTTPError(f"{url}: HTTP status {response.status}", response.status)
        first, total = 0, response.headers.get("Content-Length", "")
        if response.status == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None:
                response.close()
                raise exceptions.DownloadError(f"{url}: a part that does not say which")
            first, total = int(found[1]), found[2]
        return Body(first, self._read(url, response), int(total) if total.isdecimal() else None)

    def _read(self, url: str, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        whole = False
        try:
            # What has come, at once: bytes that drip in are seen one by one.
            while chunk := response.read1(self._limits.chunk_bytes):
                yield chunk
            whole = True
        except urllib3.exceptions.HTTPError as error:
            raise exceptions.DownloadError(f"{url}: {_in_words(error)}") from error
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()

    def _signed(self, url: str, headers: dict[str, str]) -> dict[str, str]:
        del url
        return headers

    def close(self) -> None:
        self._pool.clear()


def _in_words(error: urllib3.exceptions.HTTPError) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.ConnectTimeoutError):
        return "no connection within the time"
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return "the server fell silent"
    # urllib3 puts the object's address in front: "<…HTTPConnection object at 0x…>: Failed to …".
    return re.sub(r"^[^:]*object at 0x[0-9a-f]+>?: |^HTTPS?Connection\(.*?\): ", "", str(reason))
