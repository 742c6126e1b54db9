"""Messages for tests."""

from datetime import UTC, datetime
from typing import Any

from edge.delivery.messages import Alert, Clip, ModelName, Moment

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def moment(**changes: Any) -> Moment:
    fields: dict[str, Any] = {
        "utc": NOON,
        "clock_synchronised": True,
        "clock_epoch": 1,
        "boot_id": "boot-1",
        "boot_s": 100.0,
        "sample": 4_800_000,
    }
    return Moment(**fields | changes)


def alert(alert_id: str = "a1", **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_id": alert_id,
        "seq": 0,
        "phase": "new",
        "site": "forest",
        "device": "oak",
        "label": "gun_shot",
        "score": 0.91,
        "threshold": 0.5,
        "onset": moment(),
        "duration_s": 0.24,
        "shots": 1,
        "level_dbfs": -3.5,
        "model": ModelName(name="yamnet", version="1", sha256="ab" * 32),
    }
    return Alert(**fields | changes)


def clip(alert_id: str = "a1", **changes: Any) -> Clip:
    fields: dict[str, Any] = {
        "alert_id": alert_id,
        "seq": 0,
        "site": "forest",
        "device": "oak",
        "state": "kept",
        "key": f"forest/oak/2026/05/01/{alert_id}.flac",
        "size_bytes": 1000,
    }
    return Clip(**fields | changes)
