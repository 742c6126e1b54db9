"""The short-lived child that talks S3: ``python -m edge.delivery.uploader``.

botocore takes some 40 MiB; in a child it is paid only while there is a clip to send. The child decides nothing:
it is told what to put where, and the daemon (``storage.py``) hands it only clips that have passed the privacy gate.

JSON lines on stdin: first a ``Connection``, then ``Job``s; an ``Answer`` per job on stdout. End of stdin ends
it. Every job is idempotent: the key is fixed, and an object that is already there, whole, is not sent again.

botocore is boto3's engine; its client is used directly because boto3 would add s3transfer and its threads.
Imports nothing of ours that is heavier than the standard library.
"""

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from edge.delivery.faults import Fault, explain

CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 60
NICENESS = 10
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Connection:
    """Where to, and as whom. Goes through stdin, so that no secret stands in a process list."""

    bucket: str
    endpoint_url: str | None = None
    region: str = "us-east-1"
    path_style: bool = False
    access_key: str | None = None
    secret_key: str | None = None
    server_side_encryption: str = "none"
    kms_key_id: str | None = None


@dataclass(frozen=True)
class Item:
    """One object."""

    path: str
    key: str
    content_type: str
    sha256: str = ""
    """What the file must have (hex); empty: not checked."""


@dataclass(frozen=True)
class Job:
    """One clip: its objects, put in this order."""

    alert_id: str
    items: list[Item]
    perhaps_there: bool = False
    """An earlier attempt may have arrived: look before sending."""


@dataclass(frozen=True)
class Answer:
    alert_id: str
    ok: bool
    sent_bytes: int = 0
    fault: Fault | None = None
    peak_rss_kib: int = 0


class Uploader:
    """Puts jobs into one bucket."""

    def __init__(self, connection: Connection) -> None:
        """Raises ModuleNotFoundError without the ``s3`` extra, and what botocore says of a bad configuration."""
        self._connection = connection
        self._client = _client(connection)
        self._checksum = True

    def run(self, job: Job) -> Answer:
        """Put every object of the job and verify it. Never raises: a failure is in the answer."""
        sent = 0
        try:
            for item in job.items:
                sent += self._put(item, job.perhaps_there)
        except Exception as error:
            return Answer(job.alert_id, False, sent, explain(error), _peak_rss_kib())
        return Answer(job.alert_id, True, sent, None, _peak_rss_kib())

    def _put(self, item: Item, perhaps_there: bool) -> int:
        """Returns the bytes that went over the link."""
        with Path(item.path).open("rb") as file:
            sha256, md5, size = _digests(file)
            if item.sha256 and sha256.hex() != item.sha256:
                raise DamagedFileError(f"{item.path} has SHA-256 {sha256.hex()}, not {item.sha256} any more")
            if perhaps_there and self._is_there(item, size, sha256.hex(), md5.hex()) is True:
                return 0
            arguments: dict[str, Any] = {
                "Bucket": self._connection.bucket,
                "Key": item.key,
                "ContentType": item.content_type,
                "ContentLength": size,
                # Every endpoint checks this one; newer ones the SHA-256 too, which they also keep.
                "ContentMD5": base64.b64encode(md5).decode(),
                "Metadata": {"sha256": sha256.hex()},
            }
            encryption = self._connection.server_side_encryption
            if encryption != "none":
                arguments["ServerSideEncryption"] = encryption
            if encryption == "aws:kms" and self._connection.kms_key_id:
                arguments["SSEKMSKeyId"] = self._connection.kms_key_id
            self._put_checked(arguments, file, sha256)
        there = self._is_there(item, size, sha256.hex(), md5.hex())
        if there is False:
            raise NotThereError(f"{item.key} was put but is not there, or not whole")
        return size

    def _put_checked(self, arguments: dict[str, Any], file: Any, sha256: bytes) -> None:
        if self._checksum:
            file.seek(0)
            try:
                self._client.put_object(**arguments, Body=file, ChecksumSHA256=base64.b64encode(sha256).decode("ascii"))
                return
            except Exception as error:
                if "checksum" not in str(error).lower() or "BadDigest" in str(error):
                    raise
                self._checksum = False  # an endpoint that refuses the header; Content-MD5 still guards
        file.seek(0)
        self._client.put_object(**arguments, Body=file)

    def _is_there(self, item: Item, size: int, sha256: str, md5: str) -> bool | None:
        """Whether the whole object is there; None if this key may not look."""
        try:
            head = self._client.head_object(Bucket=self._connection.bucket, Key=item.key)
        except Exception as error:
            response: Any = getattr(error, "response", None) or {}
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 404:
                return False
            if status == 403:
                return None  # write-only keys are good practice; the PUT was checked by its digest
            raise
        # The ETag is the MD5 except under KMS; our own metadata holds in both cases.
        same = head.get("Metadata", {}).get("sha256") == sha256 or head.get("ETag", "").strip('"') == md5
        return bool(head.get("ContentLength") == size and same)


class DamagedFileError(OSError):
    """A clip that no longer has its hash."""


class NotThereError(OSError):
    """The storage said yes and has nothing."""


def main(lines: Iterable[str], answers: TextIO) -> None:
    """Serve jobs until the lines end."""
    uploader: Uploader | None = None
    broken: Fault | None = None
    for line in lines:
        message = json.loads(line)
        if uploader is None and broken is None:
            try:
                uploader = Uploader(Connection(**message))
            except Exception as error:
                broken = explain(error)
            continue
        job = Job(message["alert_id"], [Item(**item) for item in message["items"]], message["perhaps_there"])
        answer = uploader.run(job) if uploader else Answer(job.alert_id, False, 0, broken, _peak_rss_kib())
        print(json.dumps(asdict(answer)), file=answers, flush=True)


def _client(connection: Connection) -> Any:
    import botocore.session
    from botocore.config import Config

    # Asking a cloud's metadata service for keys costs a device in a forest seconds per run.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    style = "path" if connection.path_style else "auto"
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        # The daemon owns retrying: it knows about alerts, budgets and batteries.
        retries={"total_max_attempts": 1},
        s3={"addressing_style": style},
        # Newer defaults add a CRC32 trailer in aws-chunked encoding, which other S3 servers refuse.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=1,
    )
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=connection.endpoint_url,
        region_name=connection.region,
        aws_access_key_id=connection.access_key,
        aws_secret_access_key=connection.secret_key,
        config=config,
    )


def _digests(file: Any) -> tuple[bytes, bytes, int]:
    """SHA-256 and MD5 of an open file, and its size in bytes."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    while chunk := file.read(CHUNK_BYTES):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return sha256.digest(), md5.digest(), size


def _peak_rss_kib() -> int:
    """Largest resident size of this program. (``ru_maxrss`` would count the daemon, of which it was forked.)"""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0


if __name__ == "__main__":
    os.nice(NICENESS)
    # Whatever a library prints must not be taken for an answer.
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.stdin, answers_to)
