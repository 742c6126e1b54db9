"""Whether there is sound: an explicit state machine over what a microphone delivers, second by second.

    healthy ──fault for a while──► alarmed ──still──► escalated (the microphone is opened anew, ever more rarely)
       ▲                              │ ▲                │
       └──good for a while── recovering ◄──────good──────┘

Faults are no samples (``stale``), nothing but zeros (``silent``) and one constant value (``constant``): each is
a dead microphone on a running stream. A noise floor that sinks far below that of the first days is a
deafening one (`noise_floor`); it is reported while sound goes on.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.upkeep.noise_floor import QUIETEST_DBFS, NoiseFloor

State = Literal["healthy", "alarmed", "escalated", "recovering"]
Fault = Literal["stale", "silent", "constant"]

CONSTANT_PEAK_TO_PEAK = 2.0**-20
"""Less than this between the highest and the lowest sample is no sound: an eighth of a 16-bit step, since a
resampler rounds what was constant."""
BURST_S = 2.0
"""Frames may come in bursts this far apart (network streams): nothing in between is no fault yet."""
RECOVERED_AFTER_S = 2.0
ESCALATE_AFTER_S = 30.0
ESCALATE_AT_MOST_EVERY_S = 600.0


def _nothing() -> None:
    pass


class Liveness:
    """Watches one microphone.

    Args:
        no_audio_after_s: a fault this long is an alarm.
        noise_floor: notices deafening.
        on_escalate: called when an alarm does not pass by itself, after 30 s and then at doubling intervals.
    """

    def __init__(
        self,
        no_audio_after_s: float = 5.0,
        noise_floor: NoiseFloor | None = None,
        on_escalate: Callable[[], None] = _nothing,
    ) -> None:
        self.state: State = "healthy"
        self.fault: Fault | None = None
        """What is wrong at this moment, alarmed or not yet."""
        self.level_dbfs: float | None = None
        """RMS level of the newest second; None without sound."""
        self.on_escalate = on_escalate
        self._no_audio_after_s = no_audio_after_s
        self._noise_floor = noise_floor if noise_floor is not None else NoiseFloor(deafening_db=20.0)
        self._alarm: Fault | None = None
        self._since_s: float | None = None  # of the present state, and in "healthy" of the present fault
        self._frames_at_s: float | None = None
        self._escalate_at_s = 0.0
        self._pause_s = ESCALATE_AFTER_S

    @property
    def problem(self) -> str | None:
        """``no_audio:stale``, ``no_audio:silent``, ``no_audio:constant``, ``audio:deafening`` or None."""
        if self._alarm is not None:
            return f"no_audio:{self._alarm}"
        return "audio:deafening" if self._noise_floor.deafening else None

    @property
    def noise_floor_dbfs(self) -> float | None:
        """Present noise floor; None before a minute of sound."""
        return self._noise_floor.now_dbfs

    def observe(self, now_s: float, frames: NDArray[np.float32] | None) -> None:
        """Look at what came since the last call: mono float32 ``[n]``, None for nothing. Once a second is enough.

        Args:
            now_s: a monotonic time.
        """
        if frames is not None and len(frames):
            self._frames_at_s = now_s
        elif self._frames_at_s is not None and now_s - self._frames_at_s < min(BURST_S, self._no_audio_after_s / 2):
            return
        self.fault = self._judge(now_s, frames)
        if self.fault is None:
            self._good(now_s)
        else:
            self._faulty(now_s, self.fault)

    def _judge(self, now_s: float, frames: NDArray[np.float32] | None) -> Fault | None:
        self.level_dbfs = None
        if frames is None or not len(frames):
            return "stale"
        # By their places: see `edge.calm`.
        lowest, highest = frames.item(frames.argmin()), frames.item(frames.argmax())
        if lowest == highest == 0.0:
            return "silent"
        if not highest - lowest > CONSTANT_PEAK_TO_PEAK:
            return "constant"
        power = float(np.dot(frames, frames)) / len(frames)
        self.level_dbfs = max(float(QUIETEST_DBFS), 10 * math.log10(power))
        self._noise_floor.add(now_s, self.level_dbfs)
        return None

    def _good(self, now_s: float) -> None:
        if self.state == "healthy":
            self._since_s = None
        elif self.state == "recovering":
            if self._since_s is not None and now_s - self._since_s >= RECOVERED_AFTER_S:
                self._enter("healthy", None)
                self._alarm = None
                self._pause_s = ESCALATE_AFTER_S
        else:
            self._enter("recovering", now_s)

    def _faulty(self, now_s: float, fault: Fault) -> None:
        if self._since_s is None:
            self._since_s = now_s
            if fault == "stale" and self._frames_at_s is not None:
                self._since_s = self._frames_at_s
        if self.state == "healthy" and now_s - self._since_s < self._no_audio_after_s:
            return
        self._alarm = fault
        if self.state in ("healthy", "recovering"):
            # A relapse keeps the pause that it had reached: a microphone that flickers is not reopened each time.
            self._enter("alarmed", now_s)
            self._escalate_at_s = max(self._escalate_at_s, now_s + ESCALATE_AFTER_S)
        elif now_s >= self._escalate_at_s:
            self._enter("escalated", now_s)
            self._escalate_at_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, ESCALATE_AT_MOST_EVERY_S)
            self.on_escalate()

    def _enter(self, state: State, since_s: float | None) -> None:
        self.state = state
        self._since_s = since_s
