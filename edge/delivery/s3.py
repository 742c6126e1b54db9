"""The daemon's side of the uploader: starts the child, hands it jobs, and has the last word on time.

The child (``uploader.py``) lives for one run of a few clips. It is killed at its deadline; whatever it was doing
is idempotent, so killing it costs nothing but the time.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any

from edge.delivery.faults import Fault
from edge.delivery.uploader import Answer, Connection, Item, Job
from edge.settings import S3Settings, secret

POLL_S = 0.5
GIVE_SHARE = 0.25
"""Share of the deadline in which further clips are handed out: the last one still has the rest of it."""
COMMAND = (sys.executable, "-P", "-m", "edge.delivery.uploader")


class StoppedError(Exception):
    """The daemon stops; the child was killed."""


def connection_of(settings: S3Settings) -> Connection:
    """Where to, and with which keys. Raises SettingsError: a file with a key cannot be read."""
    return Connection(
        bucket=settings.bucket,
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        path_style=settings.path_style,
        access_key=secret("s3_access_key", settings.access_key_file),
        secret_key=secret("s3_secret_key", settings.secret_key_file),
        server_side_encryption=settings.server_side_encryption,
        kms_key_id=settings.kms_key_id,
    )


class UploaderProcess:
    """One child. Use as a context manager: it is gone afterwards."""

    def __init__(
        self,
        connection: Connection,
        timeout_s: float,
        tick: Callable[[], bool],
        command: Sequence[str] = COMMAND,
    ) -> None:
        """``tick`` is called at least twice a second while an answer is waited for; False stops."""
        self._tick = tick
        self._started_s = time.monotonic()
        self._timeout_s = timeout_s
        self._received = b""
        self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(asdict(connection))

    def __enter__(self) -> "UploaderProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _open(pipe).close()

    @property
    def takes_more(self) -> bool:
        """Whether there is time for another clip."""
        return time.monotonic() - self._started_s < GIVE_SHARE * self._timeout_s

    def put(self, job: Job) -> Answer:
        """Have one clip uploaded. A child that dies or is late is an answer too: ``uploader`` or ``timeout``.

        Raises:
            StoppedError: ``tick`` said so.
        """
        self._send(asdict(job))
        line = self._read_line()
        if line is None:
            self._process.kill()
            return Answer(job.alert_id, False, 0, Fault("timeout", f"no answer within {self._timeout_s:g} s"))
        if not line:
            code = self._process.wait()
            return Answer(job.alert_id, False, 0, Fault("uploader", f"the uploader ended with {code}"))
        said: dict[str, Any] = json.loads(line)
        fault = Fault(**said.pop("fault")) if said["fault"] else said.pop("fault")
        return Answer(fault=fault, **said)

    def _send(self, message: dict[str, Any]) -> None:
        # A dead child shows when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            pipe = _open(self._process.stdin)
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()

    def _read_line(self) -> bytes | None:
        """A line; empty at the end of the child; None at the deadline."""
        descriptor = _open(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while b"\n" not in self._received:
            if not self._tick():
                raise StoppedError
            if time.monotonic() - self._started_s > self._timeout_s:
                return None
            if not poll.poll(POLL_S * 1000):
                continue
            some = os.read(descriptor, 65_536)
            if not some:
                return b""
            self._received += some
        line, _, self._received = self._received.partition(b"\n")
        return line


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def job_of(alert_id: str, flac: str, description: str | None, key: str, sha256: str, perhaps_there: bool) -> Job:
    """A clip and, after it, the description beside it: where the description is, the clip is whole."""
    items = [Item(flac, key, "audio/flac", sha256)]
    if description is not None:
        items.append(Item(description, key.removesuffix(".flac") + ".json", "application/json"))
    return Job(alert_id, items, perhaps_there)
