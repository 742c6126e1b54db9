"""Objects of a bucket: list, put, get, each compared with the best checksum that there is. Any S3 endpoint.

The address and the keys come from AWS's own variables (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, …).
"""

import base64
import hashlib
import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import durable
from edge.delivery.faults import explain
from trainer.data.decoding import one_line

AT_ONCE = 8
"""Objects; small ones are mostly waiting."""
CHUNK_BYTES = 1 << 20
LARGEST_BYTES = 5 << 30
"""Of one object that is put in one piece (S3's limit)."""
PART = ".part"
"""Ending of what has not arrived whole; such names begin with a dot."""
TIMEOUT_S = 60
USUAL_PARTS_MIB = (5, 8, 10, 15, 16, 32, 50, 64, 100, 128, 256, 512, 1024)
"""Of AWS's and others' programs: 8 and 16, s3cmd 15, rclone 5, MinIO 16 to 128, …"""
NEXT_STEP = {
    "bad_credentials": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "not_allowed": "allow this key to list, get and put objects of the bucket",
    "no_such_bucket": "create the bucket, or correct its name",
    "wrong_region": "correct AWS_REGION",
    "dns": "check the host in AWS_ENDPOINT_URL",
    "refused": "is the server running, and the port in AWS_ENDPOINT_URL right?",
    "certificate": "check AWS_ENDPOINT_URL and the certificates this machine trusts (AWS_CA_BUNDLE)",
    "clock": "set this machine's clock",
    "no_space": "make room and run it again; it goes on where it stopped",
    "not_installed": "install the S3 extra: pip install 'ecosight[s3]'",
}


class BucketError(RuntimeError):
    """The transfer failed. The text names what, and the next step."""


@dataclass(frozen=True)
class Object:
    """What a listing says of one."""

    key: str
    size_bytes: int
    etag: str


def connect() -> Any:
    """boto3's client. Raises BucketError: it is not installed, or the configuration is none."""
    try:
        import boto3
        from botocore.config import Config

        own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=15,
            read_timeout=TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 4},
            # Servers of one's own rarely have a host name per bucket, and many refuse the newer trailing checksums.
            s3={"addressing_style": "path" if own else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=AT_ONCE,
        )
        return boto3.session.Session().client("s3", config=config)
    except Exception as error:
        raise BucketError(said_of("S3", error)) from error


def listed(client: Any, bucket: str, prefix: str) -> list[Object]:
    """All objects under ``prefix``. Raises BucketError."""
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            Object(one["Key"], int(one["Size"]), one["ETag"].strip('"'))
            for page in pages
            for one in page.get("Contents", [])
        ]
    except Exception as error:
        raise BucketError(said_of(f"the bucket {bucket}", error)) from error


class _File(io.FileIO):
    """A file that stops being read when everything stops: a large one would hold up Ctrl-C for minutes."""

    def __init__(self, path: Path, stop: threading.Event) -> None:
        super().__init__(path)
        self._stop = stop

    def read(self, size: int | None = -1) -> bytes:
        if self._stop.is_set():
            raise InterruptedError("stopped")
        return super().read(size)


def put(client: Any, bucket: str, path: Path, key: str, there: Object | None, stop: threading.Event) -> int:
    """Put one file, unless it is there; returns the bytes that went. Raises BucketError."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise BucketError(
                f"{one_line(path)} has {size} bytes; more than {LARGEST_BYTES} go in no one piece: cut it"
            )
        if there is not None and there.size_bytes == size and _is_same(client, bucket, there, path):
            return 0
        sha256, md5 = _digest(path, "sha256"), _digest(path, "md5")
        with _File(path, stop) as file:
            client.put_object(
                Bucket=bucket,
                Key=key,
                Body=file,
                ContentLength=size,
                # The server compares it; the SHA-256 is kept beside the object for whoever downloads it.
                ContentMD5=base64.b64encode(bytes.fromhex(md5)).decode(),
                Metadata={"sha256": sha256},
            )
    except BucketError:
        raise
    except Exception as error:
        raise BucketError(said_of(one_line(path), error)) from error
    return size


def get(client: Any, bucket: str, one: Object, target: Path, stop: threading.Event) -> int:
    """Get one object, unless its file is there; returns the bytes that came. Raises BucketError."""
    try:
        if target.is_file() and target.stat().st_size == one.size_bytes and _is_same(client, bucket, one, target):
            return 0
        durable.make_folder(target.parent)
        # Named after what it is a part of: another version of the object does not go on with it.
        name = hashlib.sha256(f"{one.key}\n{one.etag}\n{one.size_bytes}".encode()).hexdigest()[:16]
        part = target.parent / f".{name}{PART}"
        came = _fetch(client, bucket, one, part, stop)
        if part.stat().st_size != one.size_bytes or not _is_same(client, bucket, one, part):
            part.unlink()
            raise BucketError(
                f"{one.key!r} came, but not with the checksum that the bucket {bucket} gives for it; download again, "
                "and if it stays so, upload it again with `ecosight-trainer data upload`"
            )
        durable.sync(part)
        part.replace(target)
        durable.sync(target.parent)
    except BucketError:
        raise
    except Exception as error:
        raise BucketError(said_of(f"{one.key!r} of the bucket {bucket}", error)) from error
    return came


def _fetch(client: Any, bucket: str, one: Object, part: Path, stop: threading.Event) -> int:
    """Bring ``part`` to the object's size."""
    have = part.stat().st_size if part.exists() else 0
    came = 0
    if have < one.size_bytes or one.size_bytes == 0:
        wanted = {"Range": f"bytes={have}-"} if have else {}
        answer = client.get_object(Bucket=bucket, Key=one.key, IfMatch=f'"{one.etag}"', **wanted)
        with part.open("ab") as file:
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                if stop.is_set():
                    raise InterruptedError("stopped")
                file.write(chunk)
                came += len(chunk)
    return came


def _is_same(client: Any, bucket: str, one: Object, path: Path) -> bool:
    """Whether a file of the right size holds what the object holds, by the best checksum that there is.

    An ETag is the MD5, but not of objects put in parts (AWS: "Checking object integrity") or encrypted with KMS.
    """
    if one.etag == _digest(path, "md5"):
        return True
    head = client.head_object(Bucket=bucket, Key=one.key)
    if sha256 := head.get("Metadata", {}).get("sha256"):
        return bool(sha256 == _digest(path, "sha256"))
    return any(one.etag == _etag_of_parts(path, size) for size in _part_sizes(one))


def _part_sizes(one: Object) -> list[int]:
    """In what parts an object may have been put, if it was: the programs that do so take round sizes."""
    count = one.etag.rpartition("-")[2] if "-" in one.etag else ""
    if not count.isdigit():
        return []
    sizes = [mib << 20 for mib in USUAL_PARTS_MIB]
    return [size for size in sizes if max(1, -(-one.size_bytes // size)) == int(count)]


def _etag_of_parts(path: Path, size: int) -> str:
    """The MD5 of the parts' MD5s, and how many there are."""
    digests, count = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while part := file.read(size):
            digests.update(hashlib.md5(part, usedforsecurity=False).digest())
            count += 1
    return f"{digests.hexdigest()}-{count}"


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def said_of(what: str, error: BaseException) -> str:
    """What went wrong, with the next step."""
    code = explain(error).code
    said: Any = (getattr(error, "response", None) or {}).get("Error")
    seen = f"{said.get('Code')}: {said.get('Message')}" if said else str(error) or type(error).__name__
    step = NEXT_STEP.get(code)
    return f"{what}: {seen}; {step}" if step else f"{what}: {seen}"
