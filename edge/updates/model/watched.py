"""A model on probation in this daemon: the listening thread tells of each window, the thread of updates looks at it."""

from typing import TYPE_CHECKING

from edge.audio.frontend import Window
from edge.detection.model import Scores
from edge.updates.model.beside import Beside
from edge.updates.model.growth import Growth
from edge.updates.model.probation import Probation
from edge.updates.model.state import Before

if TYPE_CHECKING:
    from edge.daemon import Daemon


class Watched:
    """From when it is made until ``end``."""

    def __init__(self, daemon: "Daemon", before: Before, watched_s: float, growth: Growth) -> None:
        """``before``: how the model did that ran until then; ``watched_s``: sound heard in earlier starts; ``growth``:
        of the daemon since before the model came."""
        detector, settings = daemon.detector, daemon.settings
        self._detector, self._growth = detector, growth
        self._beside = beside = Beside(before.path, settings.detection, daemon.ring.sample_rate_hz)
        self.probation = Probation(
            daemon.choice.model,
            settings.detection,
            settings.updates.probation_s,
            before,
            watched_s,
            alarms=lambda: daemon.desk.alerts,
            skipped=lambda: detector.skipped,
            inference_ms=lambda: list(detector.inference_ms),
            growth_bytes=lambda: growth.bytes,
            beside=lambda: beside.figures,
        )
        detector.shadow = self._observe

    def objection(self) -> str:
        """Look at it: why it must be taken back, empty if all is well so far."""
        self._beside.turn()
        self._growth.look()
        return self.probation.objection()

    def stand_aside(self) -> None:
        """Another child is about to work: the model from before need not listen on meanwhile."""
        self._beside.stand_aside()

    def end(self) -> None:
        self._detector.shadow = None
        self.stand_aside()

    def _observe(self, window: Window, scores: Scores) -> None:
        self.probation.observe(window, scores)
        self._beside.offer(window, scores)
