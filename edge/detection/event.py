"""What an event is, what makes one, and its times in frames.

The words that the event logic (`events`, `track`) and those who use it share.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.detection.onset import SILENCE_DBFS, Impulse
from edge.detection.site_rules import log_odds, score_at
from edge.detection.vetoes import Near
from edge.settings import DetectionSettings

UPDATE_S = 2.0
"""Shortest time between two messages of an open event: a burst of twenty shots must not be twenty messages."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message about an event. ``number`` names the event; phases go new, update…, end. One that is ``vetoed`` is
    near a sound that a ranger marked as false; it has no number, and nothing more is said of it.

    ``first_onset``, ``last_onset`` and ``end`` (end of the last shot) are indices at the capture rate;
    ``first_onset`` never moves. ``collapsed`` is ``(count, first onset, last onset)`` of a storm's events.
    """

    number: int
    phase: Literal["new", "update", "end", "vetoed"]
    label: str
    score: float
    threshold: float
    first_onset: int
    last_onset: int
    end: int
    shots: int
    level_dbfs: float
    collapsed: tuple[int, int, int] | None = None
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Of the window that scored highest before the event was confirmed, where the model has a rule for vetoes."""
    veto: Near | None = None
    """Of a vetoed one, the mark that it is near to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a label is an event. Scores at or above ``threshold`` are hits, scores under ``release`` silence."""

    label: str
    threshold: float
    release: float
    required_hits: int
    certain: float = math.inf
    """A score at or above it confirms alone."""

    def raised(self, by: float) -> "Rule":
        """With all its scores ``by`` log-odds higher."""
        if not by:
            return self
        threshold, release, certain = (
            score_at(log_odds(score) + by) if score < 1 else score
            for score in (self.threshold, self.release, self.certain)
        )
        return replace(self, threshold=threshold, release=release, certain=certain)


class Heard(NamedTuple):
    """What a stretch of the waveform holds."""

    level_dbfs: float
    impulses: Sequence[Impulse]


Listen = Callable[[int, int], Heard]
"""``listen(start, stop)`` hears the sound between two indices. Called for hits only."""


Vetoed = Callable[[str, NDArray[np.float32] | None], Near | None]
"""``vetoed(label, embedding)`` says which mark an event is near to, if any. Called for events that are confirmed."""


def never(label: str, embedding: NDArray[np.float32] | None) -> Near | None:
    """For a model without such a rule."""
    return None


def deaf(start: int, stop: int) -> Heard:
    """For scores without sound: every event then has one shot, at the newest hop of its first hit."""
    return Heard(SILENCE_DBFS, ())


@dataclass(frozen=True, slots=True)
class Timing:
    """The settings' times in frames at the capture rate."""

    window: int
    hop: int
    refractory: int
    merge: int
    max_event: int
    update: int
    storm: int
    storm_alerts: int

    @classmethod
    def of(cls, settings: DetectionSettings, sample_rate_hz: int, window_s: float) -> "Timing":
        def frames(seconds: float) -> int:
            return round(seconds * sample_rate_hz)

        return cls(
            window=frames(window_s),
            hop=frames(settings.hop_s),
            refractory=frames(settings.refractory_s),
            merge=frames(settings.merge_s),
            max_event=frames(settings.max_event_s),
            update=frames(UPDATE_S),
            storm=frames(settings.storm_s),
            storm_alerts=settings.storm_alerts,
        )
