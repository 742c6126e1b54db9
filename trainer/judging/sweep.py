"""Recall against false alarms: the device's event logic over scores that were heard once, at any threshold.

The threshold moves on the scale of margins, and release and certainty move with it, as they would if the model were
released again. Without the sound there is no search for onsets: an event begins at the newest hop of its first hit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.detection.event import Rule, Timing
from edge.detection.events import EventLogic
from edge.settings import DetectionSettings
from trainer.judging.hearing import Happened, Listened
from trainer.judging.matching import Matched, match

FINEST = 0.01
"""Margins are told apart to this."""


@dataclass(frozen=True)
class Outcome:
    """All sounds at one threshold."""

    margin: float
    matched: tuple[Matched, ...]
    """In the order of the sounds."""
    per_hour: float
    """False alarms in the rated sounds."""

    @property
    def recall(self) -> float:
        found = [one for sound in self.matched for one in sound.found]
        return sum(found) / len(found) if found else 0.0

    @property
    def precision(self) -> float | None:
        found = sum(sum(sound.found) for sound in self.matched)
        wrong = sum(len(sound.false_alarms) for sound in self.matched)
        return found / (found + wrong) if found + wrong else None


class Sweep:
    """The scores of one alert label in many sounds."""

    def __init__(
        self,
        listened: Sequence[Listened],
        column: int,
        rule: Rule,
        settings: DetectionSettings,
        window_s: float,
        tolerance_s: float,
    ) -> None:
        """``column``: of the label among the scores. ``rule``: the label's own, in scores."""
        self._listened = listened
        self._margins = [margins(one.scores[:, column]) for one in listened]
        self._timing = [Timing.of(settings, one.rate_hz, window_s) for one in listened]
        self._merge_s = settings.merge_s
        self._tolerance_s = tolerance_s
        low = margin(rule.threshold)
        certain = margin(rule.certain) if rule.certain <= 1 else math.inf
        self._rule = replace(rule, threshold=low, release=margin(rule.release), certain=certain)
        self.shipped = low
        """The model's own threshold."""
        rated = [one.sound.is_rated for one in listened]
        self.rated = rated if any(rated) else [True] * len(rated)
        """Of each sound, whether it makes the rate; all do where none is without shots."""
        self.rated_hours = sum(one.seconds for one, yes in zip(listened, self.rated, strict=True) if yes) / 3600

    def at(self, threshold: float) -> Outcome:
        """The outcome at a threshold, a margin."""
        matched, wrong = [], 0
        for number, one in enumerate(self._listened):
            found = match(
                self.onsets(number, threshold),
                one.sound.onsets,
                self._merge_s,
                self._tolerance_s,
                one.sound.somewhere_s,
            )
            matched.append(found)
            wrong += len(found.false_alarms) if self.rated[number] else 0
        return Outcome(threshold, tuple(matched), wrong / self.rated_hours if self.rated_hours else 0.0)

    def at_rate(self, per_hour: float) -> Outcome:
        """At the lowest threshold, to `FINEST`, that gives at most so many false alarms.

        Above every score there is no event at all, so there is always one.
        """
        low, high = self._range()
        while high - low > FINEST:
            middle = (low + high) / 2
            if self._per_hour(middle) <= per_hour:
                high = middle
            else:
                low = middle
        return self.at(high)

    def curve(self, points: int = 40, most_per_hour: float = 100.0) -> list[Outcome]:
        """Outcomes from above every score down to ``most_per_hour``, evenly in margin."""
        highest = self._range()[1]
        lowest = self.at_rate(most_per_hour).margin
        return [self.at(float(threshold)) for threshold in np.linspace(highest, lowest, points)]

    def onsets(self, number: int, threshold: float) -> list[float]:
        """When the device would say that events began, in seconds of sound ``number``."""
        return [event.onset_s for event in self.events(number, threshold)]

    def events(self, number: int, threshold: float) -> list[Happened]:
        """The events of sound ``number``; their score is the highest score, not a margin."""
        one, scores = self._listened[number], self._margins[number]
        moved = threshold - self._rule.threshold
        rule = replace(
            self._rule,
            threshold=threshold,
            release=self._rule.release + moved,
            certain=self._rule.certain + moved,
        )
        hits = np.flatnonzero(scores >= threshold)
        if not len(hits):
            return []
        logic = EventLogic([rule], self._timing[number])
        ended, at = [], 0
        # Windows under the release change nothing while no event is open: they are not shown to the logic. Beyond
        # one that was, it has turned off; a jump turns it off as well.
        while at < len(scores):
            on = False
            while at < len(scores) and (on or logic.open or scores[at] >= threshold):
                ended += logic.observe(int(one.starts[at]), [float(scores[at])])
                on = bool(scores[at] >= rule.release)
                at += 1
            later = int(np.searchsorted(hits, at))
            at = int(hits[later]) if later < len(hits) else len(scores)
        return [
            Happened(event.first_onset / one.rate_hz, score_of(event.score), event.shots)
            for event in [*ended, *logic.finish()]
            if event.phase == "end"
        ]

    def _per_hour(self, threshold: float) -> float:
        wrong = 0
        for number, one in enumerate(self._listened):
            if self.rated[number]:
                found = self.onsets(number, threshold)
                sound = one.sound
                wrong += len(
                    match(found, sound.onsets, self._merge_s, self._tolerance_s, sound.somewhere_s).false_alarms
                    if sound.shots
                    else found
                )
        return wrong / self.rated_hours if self.rated_hours else 0.0

    def _range(self) -> tuple[float, float]:
        """Under every score, and above every score."""
        ends = [(float(some.min()), float(some.max())) for some in self._margins if len(some)]
        low, high = min((x for x, _ in ends), default=0.0), max((x for _, x in ends), default=0.0)
        return low - FINEST, high + FINEST


def margins(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-odds of scores, float64 [n]; as far as float32 tells them apart from 0 and 1."""
    inside = np.clip(np.asarray(scores, np.float64), 2.0**-24, 1 - 2.0**-24)
    return np.asarray(np.log(inside / (1 - inside)))


def margin(score: float) -> float:
    """Log-odds of one score."""
    return float(margins(np.array([score]))[0])


def score_of(margin: float) -> float:
    """The score at a margin."""
    return 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0
