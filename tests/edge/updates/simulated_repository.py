"""A release repository for tests: real TUF metadata in a folder, served over loopback HTTP, with faults on request.

    repository = SimulatedRepository(tmp_path / "repository")
    target = repository.add_model(content, "gun-shot", "7", number=7)
    repository.choose("stable", model=Stage(wanted=target, fraction=1.0))
    repository.publish()
    with Served(repository.folder) as server:
        server.fault("/targets/models/*", Fault(truncate_at=1000, times=1))
        settings = {"updates": {"url": server.url, "root": str(repository.root_file)}}

Everything is signed with keys that are made here. ``publish`` signs and writes what has changed, as
`edge.updates.release` says who signs what. Attacks are made by changing what is public and calling ``write…``.
"""

import datetime as dt
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge.updates.release import (
    FLOOR,
    MODELS_PATHS,
    MODELS_ROLE,
    ROLLOUT_PATHS,
    ROLLOUT_ROLE,
    Floor,
    Overlay,
    Rollout,
    Stage,
)

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TARGETS_ROLES = (TARGETS, MODELS_ROLE, ROLLOUT_ROLE)
DAYS = 30


def in_days(days: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days)


class SimulatedRepository:
    """``metadata/`` and ``targets/`` in a folder, consistent snapshots, one key for each role unless told otherwise."""

    def __init__(
        self, folder: Path, keys: dict[str, int] | None = None, thresholds: dict[str, int] | None = None
    ) -> None:
        self.folder = folder
        (folder / "metadata").mkdir(parents=True)
        (folder / "targets").mkdir()
        how_many = keys or {}
        self.thresholds = {
            role: (thresholds or {}).get(role, 1) for role in (ROOT, SNAPSHOT, TIMESTAMP, *TARGETS_ROLES)
        }
        self.signers = {
            role: [CryptoSigner.generate_ed25519() for _ in range(how_many.get(role, 1))] for role in self.thresholds
        }
        expires = in_days(DAYS)
        self.root = Root(expires=expires, consistent_snapshot=True)
        self.targets = Targets(expires=expires)
        self.models = Targets(expires=expires)
        self.rollout = Targets(expires=expires)
        self.snapshot = Snapshot(expires=expires, meta={f"{role}.json": MetaFile(version=1) for role in TARGETS_ROLES})
        self.timestamp = Timestamp(expires=expires)
        self.rollouts: dict[str, Rollout] = {}
        for role in (ROOT, SNAPSHOT, TIMESTAMP, TARGETS):
            self._allow_in_root(role)
        self.delegate()
        self.write_root()
        self.root_file = folder / "root.json"
        shutil.copyfile(folder / "metadata" / "1.root.json", self.root_file)
        """What a device is given: the first root, however often it is rotated."""
        for role in TARGETS_ROLES:
            self.write_targets(role)
        self.write_snapshot()
        self.write_timestamp()

    # --- what maintainers do -------------------------------------------------------------------------------------

    def add(self, path: str, content: bytes, custom: dict[str, Any] | None = None, role: str = MODELS_ROLE) -> str:
        """A target, under the role that signs it from the next ``publish`` on. Returns the path."""
        target = TargetFile.from_data(path, content, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self.targets_of(role).targets[path] = target
        place = self.target_file(path, content)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return path

    def add_model(
        self, content: bytes, name: str, version: str, number: int, deltas: dict[str, bytes] | None = None
    ) -> str:
        """A model; ``deltas`` by the digest of the file that they start from."""
        digest = hashlib.sha256(content).hexdigest()
        custom: dict[str, Any] = {"schema_version": 1, "number": number, "name": name, "version": version, "deltas": {}}
        for start, delta in (deltas or {}).items():
            path = self.add(f"deltas/{start}.{digest}", delta)
            custom["deltas"][start] = {"target": path, "length": len(delta)}
        return self.add(f"models/{name}-{version}.tflite", content, custom)

    def add_program(self, version: str, number: int, wheels: dict[str, bytes], machine: str = "x86_64") -> str:
        """A wheelhouse, from file names and contents. Returns the folder that a stage names."""
        paths = [
            self.add(f"programs/wheels/{hashlib.sha256(content).hexdigest()}.{name}", content)
            for name, content in wheels.items()
        ]
        manifest = {"schema_version": 1, "version": version, "machine": machine, "wheels": paths}
        custom = {"schema_version": 1, "number": number, "version": version}
        self.add(f"programs/{version}/{machine}.json", json.dumps(manifest).encode(), custom)
        return f"programs/{version}"

    def add_overlay(self, overlay: Overlay, number: int) -> str:
        content = overlay.model_dump_json(exclude_none=True).encode()
        return self.add(f"overlays/{overlay.id}.json", content, {"schema_version": 1, "number": number})

    def set_floor(self, floor: Floor) -> None:
        self.add(FLOOR, floor.model_dump_json().encode())

    def choose(
        self,
        channel: str,
        model: Stage | None = None,
        program: Stage | None = None,
        overlay: Stage | None = None,
    ) -> None:
        """Say anew what a channel gets, of the kinds that are given."""
        given = {"model": model, "program": program, "overlay": overlay}
        before = self.rollouts.get(channel) or Rollout.model_validate({"channel": channel})
        now = before.model_copy(update={kind: stage for kind, stage in given.items() if stage is not None})
        self.rollouts[channel] = now
        self.add(f"rollout/{channel}.json", now.model_dump_json(exclude_none=True).encode(), role=ROLLOUT_ROLE)

    def publish(self, *roles: str) -> None:
        """New versions of these roles (all three of targets where none is named), snapshot and timestamp."""
        for role in roles or TARGETS_ROLES:
            self.targets_of(role).version += 1
            self.write_targets(role)
        self.snapshot.version += 1
        self.write_snapshot()
        self.timestamp.version += 1
        self.write_timestamp()

    def resign_timestamp(self, days: float = DAYS) -> None:
        """What the online timer does."""
        self.timestamp.version += 1
        self.timestamp.expires = in_days(days)
        self.write_timestamp()

    def rotate(self, role: str, keys: int = 1, threshold: int | None = None) -> list[CryptoSigner]:
        """Other keys for a role, in effect with the next ``publish_root`` (and ``publish`` for delegated roles).
        Returns the old ones. The next root is signed by both, old and new."""
        old = self.signers[role]
        if role == ROOT:
            self.root_signers_before = old
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(keys)]
        if threshold is not None:
            self.thresholds[role] = threshold
        if role in (MODELS_ROLE, ROLLOUT_ROLE):
            self.delegate()
        else:
            self._allow_in_root(role)
        return old

    root_signers_before: Sequence[CryptoSigner] = ()

    def publish_root(self) -> None:
        """The next version of root, signed by its keys and those of the version before."""
        self.root.version += 1
        self.write_root([*self.signers[ROOT], *self.root_signers_before])
        self.root_signers_before = ()

    # --- parts -------------------------------------------------------------------------------------------------------

    def targets_of(self, role: str) -> Targets:
        return {TARGETS: self.targets, MODELS_ROLE: self.models, ROLLOUT_ROLE: self.rollout}[role]

    def target_file(self, path: str, content: bytes) -> Path:
        """Where it lies: with its digest in front of its name (consistent snapshots)."""
        folder, _, name = path.rpartition("/")
        return self.folder / "targets" / folder / f"{hashlib.sha256(content).hexdigest()}.{name}"

    def file_of(self, path: str, role: str = MODELS_ROLE) -> Path:
        """Where the file of a signed target lies."""
        folder, _, name = path.rpartition("/")
        return self.folder / "targets" / folder / f"{self.targets_of(role).targets[path].hashes['sha256']}.{name}"

    def delegate(self) -> None:
        """Write the two delegations into ``targets``, with the keys as they are now."""
        keys, roles = {}, {}
        for name, paths in ((MODELS_ROLE, MODELS_PATHS), (ROLLOUT_ROLE, ROLLOUT_PATHS)):
            public = [signer.public_key for signer in self.signers[name]]
            keys.update({key.keyid: key for key in public})
            roles[name] = DelegatedRole(
                name, [key.keyid for key in public], self.thresholds[name], terminating=True, paths=list(paths)
            )
        self.targets.delegations = Delegations(keys, roles)

    def _allow_in_root(self, role: str) -> None:
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        self.root.roles[role] = Role([], self.thresholds[role])
        for signer in self.signers[role]:
            self.root.add_key(signer.public_key, role)

    def write_root(self, signers: Sequence[CryptoSigner] | None = None) -> None:
        self.write(f"{self.root.version}.root.json", self.root, self.signers[ROOT] if signers is None else signers)

    def write_targets(self, role: str, signers: Sequence[CryptoSigner] | None = None) -> None:
        """Sign and write one of the three, and put its version into the snapshot's table."""
        body = self.targets_of(role)
        data = self.write(f"{body.version}.{role}.json", body, self.signers[role] if signers is None else signers)
        self.snapshot.meta[f"{role}.json"] = MetaFile(
            body.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()}
        )

    def write_snapshot(self) -> None:
        data = self.write(f"{self.snapshot.version}.snapshot.json", self.snapshot, self.signers[SNAPSHOT])
        self.timestamp.snapshot_meta = MetaFile(
            self.snapshot.version, len(data), {"sha256": hashlib.sha256(data).hexdigest()}
        )

    def write_timestamp(self) -> None:
        self.write("timestamp.json", self.timestamp, self.signers[TIMESTAMP])

    def write(self, name: str, body: Root | Targets | Snapshot | Timestamp, signers: Sequence[CryptoSigner]) -> bytes:
        """Sign any body with any keys and put it into ``metadata/``."""
        signed: Metadata[Any] = Metadata(deepcopy(body))
        for signer in signers:
            signed.sign(signer, append=True)
        data = signed.to_bytes()
        (self.folder / "metadata" / name).write_bytes(data)
        return data

    def metadata_files(self) -> list[Path]:
        """The files that a device reads now, beginning with the first root after the one that it was given."""
        names = [f"{version}.root.json" for version in range(2, self.root.version + 1)]
        names += ["timestamp.json", f"{self.snapshot.version}.snapshot.json"]
        names += [f"{self.targets_of(role).version}.{role}.json" for role in TARGETS_ROLES]
        return [self.folder / "metadata" / name for name in names]


@dataclass
class Fault:
    """What a server does wrong with the paths that it is set for. Several at once are possible."""

    status: int | None = None
    """Answer with this and no content."""
    truncate_at: int | None = None
    """Promise everything and close the connection after this many bytes of the body."""
    endless: bool = False
    """After the content, zeros for ever."""
    drip_s: float = 0.0
    """Pause after each ``drip_bytes``."""
    drip_bytes: int = 1
    drip_headers: bool = False
    """Drip the headers too."""
    stall: bool = False
    """Accept, and say nothing until the client goes."""
    replace: bytes | None = None
    """This instead of the content."""
    flip: int | None = None
    """Turn over the lowest bit of the byte at this offset."""
    ignore_range: bool = False
    """Answer a range with the whole."""
    wrong_range: bool = False
    """Answer a range with another one."""
    times: int | None = None
    """How many requests it strikes; None: all."""


@dataclass
class Asked:
    """One request that came in."""

    path: str
    range_start: int | None
    sent_bytes: int = 0
    """Of the body."""
    headers: dict[str, str] = field(default_factory=dict)
    """By their names in small letters."""


class Served:
    """A folder over HTTP on a free port of 127.0.0.1, HTTP/1.1 with ranges. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[Asked] = []
        self.faults: list[tuple[str, Fault]] = []
        self.stopping = threading.Event()
        served = self

        class Handler(_Handler):
            server_of_tests = served

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that are killed
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fault(self, pattern: str, fault: Fault) -> Fault:
        """Strike paths like ``/metadata/*.snapshot.json``; ``*`` crosses slashes. The newest that matches counts."""
        self.faults.insert(0, (pattern, fault))
        return fault

    def heal(self) -> None:
        self.faults.clear()

    def forget(self) -> None:
        self.asked.clear()

    def body_bytes(self, pattern: str = "*") -> int:
        """Bytes of all bodies sent for such paths."""
        return sum(asked.sent_bytes for asked in list(self.asked) if fnmatch(asked.path, pattern))

    def paths(self, pattern: str = "*") -> list[str]:
        return [asked.path for asked in list(self.asked) if fnmatch(asked.path, pattern)]

    def fault_for(self, path: str) -> Fault:
        for pattern, fault in list(self.faults):
            if fnmatch(path, pattern) and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return Fault()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_tests: Served

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        asked = Asked(path, int(found[1]) if found else None, headers={k.lower(): v for k, v in self.headers.items()})
        self.server_of_tests.asked.append(asked)
        try:
            self._answer(asked, self.server_of_tests.fault_for(path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, asked: Asked, fault: Fault) -> None:
        if fault.stall:
            self.server_of_tests.stopping.wait()
            self.close_connection = True
            return
        file = (self.server_of_tests.folder / asked.path.lstrip("/")).resolve()
        if not file.is_relative_to(self.server_of_tests.folder.resolve()):
            self._head(404, {"Content-Length": "0"}, fault)
            return
        if fault.status is not None or (fault.replace is None and not file.is_file()):
            self._head(fault.status or 404, {"Content-Length": "0"}, fault)
            return
        content = file.read_bytes() if fault.replace is None else fault.replace
        if fault.flip is not None:
            content = content[: fault.flip] + bytes([content[fault.flip] ^ 1]) + content[fault.flip + 1 :]
        start, total, status = 0, len(content), 200
        headers = {}
        if asked.range_start is not None and not fault.ignore_range:
            start, status = asked.range_start, 206
            if fault.wrong_range:
                start = max(0, start - 1)
            if start >= total:
                self._head(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"}, fault)
                return
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        body = content[start:]
        if fault.endless:
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(body))
        self._head(status, headers, fault)
        self._send(asked, body[: fault.truncate_at], fault)
        if fault.truncate_at is not None:
            self.close_connection = True
        while fault.endless and not self.server_of_tests.stopping.is_set():
            self._send(asked, bytes(65_536), fault)

    def _head(self, status: int, headers: dict[str, str], fault: Fault) -> None:
        lines = [
            f"HTTP/1.1 {status} {self.responses.get(status, ('-',))[0]}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
        if headers.get("Connection") == "close":
            self.close_connection = True
        if fault.drip_headers:
            self._drip(head, fault, None)
        else:
            self.wfile.write(head)

    def _send(self, asked: Asked, body: bytes, fault: Fault) -> None:
        if fault.drip_s:
            self._drip(body, fault, asked)
        else:
            self.wfile.write(body)
            asked.sent_bytes += len(body)

    def _drip(self, data: bytes, fault: Fault, asked: Asked | None) -> None:
        for offset in range(0, len(data), fault.drip_bytes):
            some = data[offset : offset + fault.drip_bytes]
            self.wfile.write(some)
            self.wfile.flush()
            if asked is not None:
                asked.sent_bytes += len(some)
            if self.server_of_tests.stopping.wait(fault.drip_s):
                self.close_connection = True
                return

    def log_message(self, *args: object) -> None:
        """Tests say themselves what matters."""
