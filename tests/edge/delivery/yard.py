"""A storage with what it needs, for tests."""

import json
import os
from pathlib import Path
from typing import Any

from edge.audio.clock import Clock
from edge.delivery.evidence import description_path, sha256_of
from edge.delivery.messages import storage_key
from edge.delivery.outbox import Outbox
from edge.delivery.storage import Storage
from edge.durable import make_folder
from tests.edge.delivery.clip_parts import settings
from tests.edge.delivery.examples import NOON, clip

S3 = {"kind": "s3", "s3": {"bucket": "clips"}, "retry_max_s": 1.0}


class Yard:
    """A storage with its outbox and a spool of small clips."""

    def __init__(self, state_dir: Path, busy: Any = lambda: False, **storage_settings: Any) -> None:
        self.settings = settings(state_dir, storage=storage_settings or {"kind": "folder"})
        self.spool = state_dir / "clips"
        make_folder(self.spool)
        self.outbox = Outbox.open(state_dir / "outbox.sqlite3")
        self.clock = Clock(16_000)
        self.told = 0
        self.storage = Storage(self.settings, self.outbox, self.clock, self._tell, busy)
        self.diary, self.plan = state_dir / "diary", state_dir / "plan"
        self.plan.write_text("ok")

    def _tell(self) -> None:
        self.told += 1

    def add(self, name: str, may_leave: bool = True, size_bytes: int = 1000, **changes: Any) -> Path:
        path = self.spool / f"{name}.flac"
        path.write_bytes(os.urandom(size_bytes))
        description_path(path).write_text(json.dumps({"name": name}))
        key = storage_key("forest", "oak", name, NOON)
        fields = {"size_bytes": size_bytes, "sha256": sha256_of(path), "key": key}
        self.outbox.put_clip(clip(name, **(fields | changes)), path=path, may_leave=may_leave)
        return path

    def state(self, name: str) -> str:
        row = self.outbox.clip(name)
        assert row is not None
        return row.clip.state

    def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def stop(self) -> None:
        assert self.storage.stop(5)
