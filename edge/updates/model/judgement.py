"""Whether a new model may take the place of the one that runs: what both did on the same sound, as figures.

The same rules hold for the trial (the new model beside the current one) and the probation (the one from before beside
the new one). They catch a model that is broken, not one that is a little worse: that is for the
maintainers' gate, on far more sound than one device hears in an hour.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from edge.detection.event import Rule, Timing
from edge.detection.events import EventLogic

SLOWER = 6.0
"""Times the inference time of the current model. Google's full-size network takes 3 to 4 times that of the one that
ships, and a release may go from one to the other."""
MOST_OF_HOP = 0.5
"""Inference beyond this share of the hop does not leave the board time for anything else."""
MORE_ALARMS, TIMES_ALARMS = 3, 3.0
"""Events allowed: the one plus the other times those of the current model."""
MORE_HITS, TIMES_HITS = 0.05, 3.0
"""The same for the share of windows at or above a threshold: one open event is but one event, however long."""
FEWEST_WINDOWS = 20
"""Fewer say nothing about a distribution."""
SPREAD = 1e-4
"""Scores that differ by no more over all that was heard are one constant. On quiet sound good ones may be."""
MOVED = 0.05
"""The current model has heard something where its scores differ by this."""
LARGEST_GROWTH_BYTES = 64 << 20
"""Memory that a model may need once it runs, interpreter and all; Google's full-size network needs 30 MiB."""


class Figures(BaseModel):
    """What a model did on a stretch of sound."""

    model_config = ConfigDict(frozen=True)

    windows: int = 0
    hits: int = 0
    """Windows with an alert label at or above its threshold."""
    events: float = 0
    wrong: int = 0
    """Windows with scores that are not between 0 and 1."""
    spread: float = 0.0
    """Largest difference between two scores of one label."""
    inference_ms: float | None = None
    """Median."""
    hop_s: float = 0.24
    growth_bytes: int = 0
    """Memory of the process since before the model was there."""

    def and_then(self, later: "Figures") -> "Figures":
        """Of both stretches of sound."""
        summed = {name: getattr(self, name) + getattr(later, name) for name in ("windows", "hits", "events", "wrong")}
        return later.model_copy(update={**summed, "spread": max(self.spread, later.spread)})


class Tally:
    """Gathers the figures of one model, window by window. Costs a few microseconds each."""

    def __init__(self, rules: Sequence[Rule], columns: Sequence[int], timing: Timing | None = None) -> None:
        """``columns``: where the labels of ``rules`` stand among the scores. With ``timing`` events are counted too."""
        self._thresholds = np.array([rule.threshold for rule in rules], np.float32)
        self._columns = list(columns)
        self._logic = EventLogic(rules, timing) if timing is not None else None
        self._lowest: NDArray[np.float32] | None = None
        self._highest: NDArray[np.float32] | None = None
        self.windows = self.hits = self.events = self.wrong = 0

    def observe(self, start: int, scores: NDArray[np.float32]) -> None:
        """Scores of all labels, float32 [K], of the window at ``start``."""
        self.windows += 1
        # Written so that a NaN is wrong.
        if not (scores.min() >= 0 and scores.max() <= 1):
            self.wrong += 1
            return
        if self._lowest is None or self._highest is None:
            self._lowest, self._highest = scores.copy(), scores.copy()
        else:
            np.minimum(self._lowest, scores, out=self._lowest)
            np.maximum(self._highest, scores, out=self._highest)
        heard = scores[self._columns]
        self.hits += bool((heard >= self._thresholds).any())
        if self._logic is not None:
            self.events += sum(event.phase == "new" for event in self._logic.observe(start, heard.tolist()))

    @property
    def spread(self) -> float:
        if self._lowest is None or self._highest is None:
            return 0.0
        return float((self._highest - self._lowest).max())

    def figures(self, **more: object) -> Figures:
        counted = {"windows": self.windows, "hits": self.hits, "events": self.events, "wrong": self.wrong}
        return Figures.model_validate({**counted, "spread": self.spread, **more})


def objection(new: Figures, current: Figures) -> str:
    """Why the new model must not stay, in words; empty: nothing is wrong with it so far."""
    if new.wrong:
        return f"gave scores that are not between 0 and 1 in {new.wrong} of {new.windows} windows"
    if new.growth_bytes > LARGEST_GROWTH_BYTES:
        return f"needs {new.growth_bytes >> 20} MiB of memory; a model may take {LARGEST_GROWTH_BYTES >> 20}"
    if slow := too_slow(new.inference_ms, current.inference_ms, new.hop_s):
        return slow
    if new.windows < FEWEST_WINDOWS:
        return ""
    if new.spread < SPREAD and current.spread > MOVED:
        return f"gave the same scores in all of {new.windows} windows, in which the current model heard something"
    share, usual = new.hits / new.windows, current.hits / max(1, current.windows)
    if share > MORE_HITS + TIMES_HITS * usual:
        return f"was over its threshold in {share:.0%} of the windows; the current model in {usual:.1%}"
    if new.events > MORE_ALARMS + TIMES_ALARMS * current.events:
        return f"would have alarmed {new.events:g} times; the current model {current.events:.3g} times"
    return ""


def too_slow(new_ms: float | None, current_ms: float | None, hop_s: float) -> str:
    """Whether inference takes too long, in words; empty if not."""
    if new_ms is None:
        return ""
    if new_ms > 1000 * MOST_OF_HOP * hop_s:
        return f"takes {new_ms:.3g} ms for a window, more than half of the hop"
    if current_ms is not None and new_ms > SLOWER * current_ms:
        return f"takes {new_ms:.3g} ms for a window, the current model {current_ms:.3g} ms"
    return ""
