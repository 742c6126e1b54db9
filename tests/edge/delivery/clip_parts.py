"""Parts for the tests of clips: settings in a temporary folder, a ring with sound, a model that hears voices."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.audio.frontend import Window
from edge.audio.ring import Ring
from edge.delivery.clips import ClipKeeper, ClipRequest
from edge.delivery.evidence import Description, read_description
from edge.delivery.messages import Alert, Clip
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings
from tests.edge.delivery.examples import alert as example_alert

VOICE = 0.75
"""Samples of just this height are a "voice" to `Ears`."""
RATE_HZ = 16_000


@dataclass
class Ears:
    """A model that hears a voice wherever a sample is near ``VOICE``; as strict about windows as the real one."""

    has_speech: bool = True
    answer: Callable[[Window], float] | None = None
    heard: list[int] = field(default_factory=list)

    def score(self, window: Window) -> float:
        assert window.patch.shape == (96, 64) and window.patch.dtype == np.float32
        assert window.waveform.shape == (15_600,) and window.waveform.dtype == np.float32
        assert np.isfinite(window.patch).all()
        self.heard.append(window.start)
        if self.answer is not None:
            return self.answer(window)
        return 0.9 if float(np.abs(window.waveform).max()) > 0.4 else 0.05

    def speech(self, scores: float) -> float | None:
        return scores if self.has_speech else None


def settings(state_dir: Path, **sections: Any) -> EdgeSettings:
    defaults: dict[str, Any] = {"clips": {"free_floor_bytes": 0}, "audio": {"ring_s": 45}}
    return EdgeSettings(site="forest", device="oak", state_dir=state_dir, **(defaults | sections))


def noise(frames: int, bits: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Quiet noise of exactly so many bits."""
    scale = 1 << (bits - 1)
    drawn = np.random.default_rng(seed).integers(-scale // 20, scale // 20, frames)
    return (drawn / scale).astype(np.float32)


class Bench:
    """A keeper with everything it needs. Sound is written by ``play``."""

    def __init__(self, state_dir: Path, ears: Ears | None = None, rate_hz: int = RATE_HZ, **sections: Any) -> None:
        self.settings = settings(state_dir, **sections)
        self.ears = ears or Ears()
        self.ring = Ring(rate_hz, self.settings.audio.ring_s)
        self.clock = Clock(rate_hz)
        state_dir.mkdir(parents=True, exist_ok=True)
        self.outbox = Outbox.open(state_dir / "outbox.sqlite3")
        self.told = 0
        self.sound = np.zeros(0, np.float32)
        self.keeper = ClipKeeper(self.settings, self.ring, self.clock, self.ears, self.outbox, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def play(self, frames: NDArray[np.float32], block: int = 480) -> None:
        for start in range(0, len(frames), block):
            self.ring.write(frames[start : start + block])
        self.sound = np.concatenate([self.sound, frames])

    def alert(self, alert_id: str, onset: int, phase: str = "new", **changes: Any) -> Alert:
        moment = self.clock.moment(onset)
        return self.outbox.put_alert(example_alert(alert_id, onset=moment, phase=phase, **changes))

    def whole_event(self, alert_id: str, first: int, last: int | None = None, **changes: Any) -> None:
        """An event from its alert to its end."""
        last = first if last is None else last
        begun, ended = self.alert(alert_id, first, **changes), self.alert(alert_id, first, "end", **changes)
        # At once, as far as the keeper's thread can see: a clip that is late already is cut without waiting for more.
        with self.keeper._changed:
            self.keeper.request(ClipRequest(begun, first, first))
            self.keeper.extend(alert_id, last, ended)

    def finish(self) -> None:
        assert self.keeper.stop(20)

    def messages(self, alert_id: str) -> list[Clip]:
        rows = self.outbox.pending(1000)
        return [Clip.model_validate_json(r.payload) for r in rows if r.leaf == "clip" and r.alert_id == alert_id]

    def saved(self, alert_id: str) -> tuple[NDArray[np.float32], Description]:
        row = self.outbox.clip(alert_id)
        assert row is not None and row.path is not None, row
        frames, rate_hz = soundfile.read(row.path, dtype="float32")
        description = read_description(row.path)
        assert description is not None and rate_hz == self.ring.sample_rate_hz
        return frames, description


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The first true value of ``condition``; fails after ``timeout_s``."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)
    return value
