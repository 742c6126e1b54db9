"""The first hours of a new model that runs: what it does, against the one before it, which listens on (`beside`).

The listening thread tells it of each window (``observe``); the thread of updates asks (``objection``).
"""

import time
from collections.abc import Callable, Sequence

from edge.audio.frontend import Window
from edge.detection.model import Model, Scores
from edge.detection.site import rules_of
from edge.settings import DetectionSettings
from edge.updates.model.judgement import FEWEST_WINDOWS, Figures, Tally, objection
from edge.updates.model.state import Before
from edge.upkeep.health import percentile

HEALTHY_S = 30.0
"""A start that has listened for this long with the new model has reached health."""
PATIENCE = 10.0
GRACE_S = 86_400.0
"""Without enough sound, a probation ends after ten times its length and a day: what was never seen at work does not
stay."""
MOST_SKIPPED = 0.02
"""Share of the windows that were lost because detection did not keep up."""

LEAST_BESIDE = 0.5
"""Share of the windows that the model from before must have heard too, to be compared on the same sound."""


class Probation:
    """See the module."""

    def __init__(
        self,
        model: Model,
        settings: DetectionSettings,
        probation_s: float,
        before: Before,
        watched_s: float = 0.0,
        alarms: Callable[[], int] = lambda: 0,
        skipped: Callable[[], int] = lambda: 0,
        inference_ms: Callable[[], Sequence[float]] = lambda: (),
        growth_bytes: Callable[[], int] = lambda: 0,
        beside: Callable[[], Figures] = Figures,
    ) -> None:
        """``watched_s``: sound heard in earlier starts. The callables give the daemon's counts, each since ever;
        ``beside`` what the model from before did since this was made."""
        rules = rules_of(model, settings)
        self._tally = Tally(rules, [model.manifest.labels.index(rule.label) for rule in rules])
        self._hop_s = settings.hop_s
        self._probation_s = probation_s
        self._before = before
        self._earlier_s = watched_s
        self._alarms, self._skipped, self._inference_ms = alarms, skipped, inference_ms
        self._growth_bytes = growth_bytes
        self._beside = beside
        self._alarms_at_first, self._skipped_at_first = alarms(), skipped()
        self._began_s = time.monotonic()

    def observe(self, window: Window, scores: Scores) -> None:
        """For each window. Costs a few microseconds."""
        self._tally.observe(window.start, scores.labels)

    @property
    def heard_s(self) -> float:
        """Sound heard with the new model in this start."""
        return self._tally.windows * self._hop_s

    @property
    def watched_s(self) -> float:
        """Sound heard with it in all."""
        return self._earlier_s + self.heard_s

    @property
    def progress(self) -> float:
        return min(1.0, self.watched_s / self._probation_s) if self._probation_s else 1.0

    @property
    def healthy(self) -> bool:
        """It was heard at work for long enough that this start counts as a good one."""
        return self.heard_s >= min(HEALTHY_S, self._probation_s)

    @property
    def passed(self) -> bool:
        return self._tally.windows > 0 and self.watched_s >= self._probation_s

    def objection(self) -> str:
        """Why the model must be taken back; empty if all is well so far."""
        durations = list(self._inference_ms())
        new = self._tally.figures(
            events=self._alarms() - self._alarms_at_first,
            inference_ms=percentile(durations, 50) if len(durations) >= 20 else None,
            hop_s=self._hop_s,
            growth_bytes=self._growth_bytes(),
        )
        if why := objection(new, self._usual()):
            return why
        skipped = self._skipped() - self._skipped_at_first
        if skipped > 5 and skipped > MOST_SKIPPED * self._tally.windows:
            return f"detection did not keep up: {skipped} windows were skipped"
        if time.monotonic() - self._began_s > PATIENCE * self._probation_s + GRACE_S:
            return "there was too little sound to judge it by"
        return ""

    def _usual(self) -> Figures:
        """What the model from before would have done: on the same sound where it listened on, else as it did before."""
        windows, before, beside = self._tally.windows, self._before, self._beside()
        if beside.windows >= max(FEWEST_WINDOWS, LEAST_BESIDE * windows):
            share = max(1.0, windows / beside.windows)
            return beside.model_copy(update={"events": beside.events * share, "inference_ms": before.inference_ms})
        return Figures(
            windows=max(1, windows),
            hits=round(before.hits * windows),
            events=before.alarms_per_h * self.heard_s / 3600,
            inference_ms=before.inference_ms,
        )
