"""A repository in a bucket: ``s3://bucket/prefix``, at the endpoint and with the keys of `storage.s3`.

S3 is HTTP with a signed request. Only botocore's signature is used: its client, made for all services of a cloud, would
take some 40 MiB beside TUF's. A bucket that anybody may read needs neither: give its https address.
"""

import os
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from edge.settings import EdgeSettings, S3Settings, secret
from edge.settings_file import SettingsError
from edge.updates.fetching.http import HttpFetcher
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace
from edge.updates.fetching.refusal import Refusal


class S3Fetcher(HttpFetcher):
    """An `HttpFetcher` that signs."""

    redirects = 0  # a signature holds for one host

    def __init__(self, url: str, region: str, credentials: Any, pace: Pace, limits: Limits) -> None:
        """``credentials``: botocore's; ``url``: the prefix in the bucket as an https address."""
        from botocore.auth import S3SigV4Auth

        super().__init__(url, pace, limits)
        self._auth = S3SigV4Auth(credentials, "s3", region)

    @classmethod
    def of(cls, settings: EdgeSettings, pace: Pace, limits: Limits) -> "S3Fetcher":
        """Raises Refusal: ``misconfigured``."""
        store = settings.storage.s3
        try:
            url = address(settings.updates.url or "", store)
            return cls(url, store.region, _credentials(store), pace, limits)
        except ModuleNotFoundError as error:
            raise Refusal(
                "misconfigured", "updates.url is an s3 address: install ecosight[s3], or give its https address"
            ) from error
        except (SettingsError, ValueError) as error:
            raise Refusal("misconfigured", str(error)) from error

    def _signed(self, url: str, headers: dict[str, str]) -> dict[str, str]:
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method="GET", url=url, headers=headers)
        self._auth.add_auth(request)
        return dict(request.headers.items())


def address(url: str, store: S3Settings) -> str:
    """``s3://bucket/prefix`` as the address under which an S3 server has it.

    Raises:
        ValueError: no bucket.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        raise ValueError(f"updates.url is {url!r}: expected s3://bucket or s3://bucket/prefix")
    prefix = quote(parts.path.strip("/"))
    endpoint = urlsplit(store.endpoint_url or f"https://s3.{store.region}.amazonaws.com")
    path = endpoint.path.rstrip("/")
    if store.path_style or _is_address(endpoint.hostname or ""):
        return f"{endpoint.scheme}://{endpoint.netloc}{path}/{parts.netloc}/{prefix}".rstrip("/")
    return f"{endpoint.scheme}://{parts.netloc}.{endpoint.netloc}{path}/{prefix}".rstrip("/")


def _is_address(host: str) -> bool:
    """Nothing can stand before an IP address; botocore knows that too."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _credentials(store: S3Settings) -> Any:
    access_key = secret("s3_access_key", store.access_key_file)
    secret_key = secret("s3_secret_key", store.secret_key_file)
    if access_key and secret_key:
        from botocore.credentials import Credentials

        return Credentials(access_key, secret_key)
    # Asking a cloud's metadata service for keys costs a device in a forest seconds.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    import botocore.session

    found = botocore.session.get_session().get_credentials()
    if found is None:
        raise ValueError("updates.url is an s3 address: set storage.s3.access_key_file and storage.s3.secret_key_file")
    return found
