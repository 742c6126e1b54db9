"""The model from before, which listens on in a child while the new one is on probation.

So both are judged by the same sound: a storm that begins after the switch is not held against the new model. Where the
child cannot be had, or stands aside for another, what the model before did until the switch must do.
"""

import logging
import time
from pathlib import Path

from edge.audio.frontend import Window
from edge.detection.model import Scores
from edge.settings import DetectionSettings
from edge.updates.model.judgement import Figures
from edge.updates.model.shadow import Refused, Shadow

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""Between two starts of the child."""
MOST_STARTS = 20


class Beside:
    """See the module. Used by one thread, except ``offer``."""

    def __init__(self, path: Path | None, settings: DetectionSettings, sample_rate_hz: int) -> None:
        """``path``: the model from before; None where nobody knows it."""
        self._path, self._settings, self._rate_hz = path, settings, sample_rate_hz
        self._shadow: Shadow | None = None
        self._earlier = Figures()
        self._started_s = -AGAIN_S
        self._starts = 0

    @property
    def figures(self) -> Figures:
        """What it did since the switch, over all starts of the child."""
        now = self._shadow.beside if self._shadow is not None else None
        return self._earlier if now is None else self._earlier.and_then(now)

    def offer(self, window: Window, scores: Scores) -> None:
        """For each window, by the listening thread. Never waits, never raises."""
        if (shadow := self._shadow) is not None:
            shadow.offer(window, scores)

    def turn(self) -> None:
        """Start it where it does not run, and hear what it says."""
        try:
            if self._shadow is not None:
                self._shadow.poll(0.0)
            elif self._path is not None and self._starts < MOST_STARTS and time.monotonic() > self._started_s + AGAIN_S:
                self._started_s, self._starts = time.monotonic(), self._starts + 1
                self._shadow = Shadow(self._path, None, None, self._settings, self._rate_hz)
        except (Refused, OSError) as error:
            log.warning("the model from before does not listen on: %s", error)
            self.stand_aside()

    def stand_aside(self) -> None:
        """End the child; its figures stay."""
        self._earlier = self.figures
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.close()
