"""The storage: one small object put, read back and deleted, as the uploader would."""

import hashlib
import secrets
import tempfile
from pathlib import Path
from typing import Any, Protocol

from edge.delivery.faults import NEXT_STEP, Fault, explain
from edge.delivery.uploader import Item, Job, Uploader
from edge.settings import EdgeSettings, SettingsError
from edge.upkeep.doctor.device import SERVICE_USER, owned_by_another
from edge.upkeep.doctor.examination import Outcome, bad, doubtful, good

TEXT = b"ecosight doctor\n"


class Store(Protocol):
    def put(self) -> Outcome: ...
    def get(self) -> Outcome: ...
    def delete(self) -> Outcome: ...


class FolderStore:
    """``storage.kind: folder``."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._folder = settings.storage_folder
        self._file = self._folder / f".doctor-{secrets.token_hex(4)}"
        self._made: list[Path] = []

    def put(self) -> Outcome:
        self._made = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file.write_bytes(TEXT)
        except OSError as error:
            return bad(f"{self._folder}: {error.strerror}", "check owner and mount, or correct storage.folder")
        owner = None if self._made else owned_by_another(self._folder)
        if owner is not None:
            self._file.unlink()
            step = f"`sudo chown -R {SERVICE_USER}:{SERVICE_USER} {self._folder}`"
            return bad(f"{self._folder} belongs to {owner}, the service runs as {SERVICE_USER}", step)
        return good(f"{self._folder}{' (will be made)' if self._made else ''}")

    def get(self) -> Outcome:
        if self._file.read_bytes() != TEXT:
            return bad(f"{self._folder} gives back other bytes", "check the disk")
        return good("the same bytes")

    def delete(self) -> Outcome:
        self._file.unlink()
        for folder in self._made:  # made by root, it would shut the service out
            folder.rmdir()
        return good("gone")


class _Bucket(Uploader):
    """The uploader, with the two steps that a clip never needs."""

    def get(self, bucket: str, key: str) -> bytes:
        answer: Any = self._client.get_object(Bucket=bucket, Key=key)
        return bytes(answer["Body"].read())

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)


class S3Store:
    """``storage.kind: s3``. The key lies beside the device's clips: policies that allow those allow it."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._name = settings.storage.s3.bucket
        self._key = f"{settings.site}/{settings.device}/doctor/{secrets.token_hex(4)}.txt"
        self._bucket: _Bucket | None = None

    def put(self) -> Outcome:
        from edge.delivery.s3 import connection_of

        s3 = self._settings.storage.s3
        where = f"{s3.bucket} at {s3.endpoint_url or 'Amazon, ' + s3.region}"
        try:
            self._bucket = _Bucket(connection_of(s3))
        except SettingsError as error:
            return bad(str(error), "correct the file, and let the user of the service read it")
        except Exception as error:  # botocore's own, which cannot be imported where the extra is missing
            return _failed(where, explain(error))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "doctor.txt"
            file.write_bytes(TEXT)
            item = Item(str(file), self._key, "text/plain", hashlib.sha256(TEXT).hexdigest())
            answer = self._bucket.run(Job("doctor", [item]))
        return good(f"{where}: {self._key}") if answer.fault is None else _failed(where, answer.fault)

    def get(self) -> Outcome:
        assert self._bucket is not None
        try:
            same = self._bucket.get(self._name, self._key) == TEXT
        except Exception as error:
            return self._may_not("read back", explain(error))
        return good("the same bytes") if same else bad(f"{self._key} has other bytes", "look at the storage server")

    def delete(self) -> Outcome:
        assert self._bucket is not None
        try:
            self._bucket.delete(self._name, self._key)
        except Exception as error:
            return self._may_not("delete", explain(error))
        return good("gone")

    def _may_not(self, what: str, fault: Fault) -> Outcome:
        if fault.code == "not_allowed":
            step = f"nothing: the device only needs to put. {self._key} may be deleted by hand"
            return doubtful(f"this key may not {what}", step)
        return _failed(self._key, fault)


def _failed(where: str, fault: Fault) -> Outcome:
    step = NEXT_STEP.get(fault.code, "look at the storage server's log")
    seen = fault.detail.removesuffix(f"; {step}")
    return bad(f"{where}: {'wrong clock? ' if fault.code == 'clock' else ''}{seen}", step)


def store_of(settings: EdgeSettings) -> Store | None:
    """None where nothing is stored elsewhere."""
    if settings.storage.kind == "s3":
        return S3Store(settings)
    return FolderStore(settings) if settings.storage.kind == "folder" else None
