"""One label's way from scores to events. `edge.detection.events` tells how it goes."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.detection.background import Background
from edge.detection.event import Event, Heard, Listen, Rule, Timing, Vetoed, deaf, never
from edge.detection.onset import SILENCE_DBFS, Impulse

WEAKER_DB = 10.0
"""An impulse this far under the strongest of its event is something else: a twig, a drop, a far echo."""


@dataclass(slots=True)
class Numbers:
    last: int = 0

    def next(self) -> int:
        self.last += 1
        return self.last


@dataclass(slots=True)
class Happening:
    """An event that has not ended, or a storm (``count`` > 0)."""

    number: int  # 0: folded into a storm, never sent itself
    first_onset: int
    last_onset: int
    end: int
    score: float
    level_dbfs: float
    shots: int
    last_active: int
    sent_at: int
    sent_size: int
    impulses: list[Impulse] = field(default_factory=list)
    heard_to: int = 0
    count: int = 0
    embedding: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """What makes an update worth sending when it has grown."""
        return self.count or self.shots


class Track:
    """One label's state."""

    __slots__ = (
        "_armed",
        "_background",
        "_barred_until",
        "_embedding",
        "_hits",
        "_listen",
        "_numbers",
        "_on",
        "_own",
        "_peak",
        "_recent",
        "_rule",
        "_timing",
        "_vetoed",
        "event",
        "storm",
    )

    def __init__(
        self,
        rule: Rule,
        timing: Timing,
        listen: Listen,
        numbers: Numbers,
        background: Background | None = None,
        vetoed: Vetoed = never,
    ) -> None:
        self._own = rule
        self._rule = rule if background is None else rule.raised(background.raised)
        self._background = background
        self._vetoed = vetoed
        self._embedding: NDArray[np.float32] | None = None
        self._timing = timing
        self._listen = listen
        self._numbers = numbers
        self._on = False
        self._armed = True
        self._hits: list[int] = []
        self._peak = 0.0
        self._barred_until: int | None = None
        self._recent: deque[int] = deque()
        self.event: Happening | None = None
        self.storm: Happening | None = None

    @property
    def label(self) -> str:
        return self._rule.label

    @property
    def quiet(self) -> bool:
        """Nothing is open, and nothing may be about to begin."""
        return not self._on and self.event is None and self.storm is None

    def follow(self, earlier: "Track") -> None:
        """Take over from one that has finished: its refractory period, and the events that a storm counts."""
        self._barred_until = earlier._barred_until
        self._recent = earlier._recent

    def turn_off(self) -> None:
        self._on = False
        self._armed = True
        self._hits.clear()

    def step(self, start: int, score: float, out: list[Event], embedding: NDArray[np.float32] | None = None) -> None:
        if self._background is not None and self._background.observe(score):
            self._rule = self._own.raised(self._background.raised)
        hit = score >= self._rule.threshold
        rising = hit and not self._on
        if hit:
            self._on = True
        elif score < self._rule.release:
            self.turn_off()
        if self.event is not None:
            self._extend(self.event, start, score, hit, rising, out)
        if hit and self.event is None:
            self._collect(start, score, embedding, out)
        if self.storm is not None:
            self._watch_storm(self.storm, start, out)

    def finish(self, out: list[Event]) -> None:
        self.turn_off()
        if self.event is not None:
            self._close(self.event, out)
        if self.storm is not None:
            self._send(self.storm, "end", self.storm.sent_at, out)
            self.storm = None

    def _collect(self, start: int, score: float, embedding: NDArray[np.float32] | None, out: list[Event]) -> None:
        """A hit without an open event: enough of them confirm one."""
        if not self._armed or (self._barred_until is not None and start < self._barred_until):
            return
        if not self._hits or score > self._peak:
            self._peak, self._embedding = score, embedding
        self._hits = [earlier for earlier in self._hits if earlier > start - self._timing.window]
        self._hits.append(start)
        if len(self._hits) >= self._rule.required_hits or score >= self._rule.certain:
            self._confirm(start, out)

    def _confirm(self, start: int, out: list[Event]) -> None:
        first, stop = self._hits[0], start + self._timing.window
        onset = first + self._timing.window - self._timing.hop
        if (near := self._vetoed(self._rule.label, self._embedding)) is not None:
            self._hits.clear()
            # The windows that hold what is vetoed hold no other event: from the first that lies behind it, all counts.
            self._barred_until = stop
            label, threshold = self._rule.label, self._rule.threshold
            told = Event(0, "vetoed", label, self._peak, threshold, onset, onset, onset, 1, SILENCE_DBFS, veto=near)
            out.append(told)
            return
        heard = self._listen(first, stop)
        event = Happening(0, onset, onset, onset, self._peak, SILENCE_DBFS, 1, start, start, 1, heard_to=stop)
        event.embedding = self._embedding
        _join(event, heard)
        shots = _shots(event)
        if shots:
            event.first_onset = event.last_onset = shots[0]
        self._count(event, start)
        event.sent_size = event.shots
        self.event = event
        self._hits.clear()
        while self._recent and self._recent[0] <= start - self._timing.storm:
            self._recent.popleft()
        self._recent.append(start)
        if self.storm is None and len(self._recent) <= self._timing.storm_alerts:
            event.number = self._numbers.next()
            self._send(event, "new", start, out)
        else:
            self._fold(event, start, out)

    def _extend(self, event: Happening, start: int, score: float, hit: bool, rising: bool, out: list[Event]) -> None:
        if hit:
            stop = start + self._timing.window
            heard = self._listen(max(start, event.heard_to), stop) if stop > event.heard_to else deaf(start, stop)
            event.heard_to = max(event.heard_to, stop)
            if rising and heard.impulses and heard.impulses[0].onset > event.last_active + self._timing.merge:
                self._close(event, out)
                return
            event.score = max(event.score, score)
            _join(event, heard)
            self._count(event, start)
        if self._on:
            event.last_active = max(event.last_active, start)
        if start - event.last_active > self._timing.merge:
            self._close(event, out)
        elif start + self._timing.window - event.first_onset >= self._timing.max_event:
            self._armed = not self._on
            self._close(event, out)
        elif event.number and event.shots > event.sent_size and start - event.sent_at >= self._timing.update:
            self._send(event, "update", start, out)

    def _count(self, event: Happening, start: int) -> None:
        shots = [index for index in _shots(event) if index >= event.first_onset]
        event.shots = max(event.shots, len(shots))
        event.last_onset = max(event.last_onset, *shots[-1:], event.first_onset)
        # The window a hop later is the first that may hold the sound no longer.
        event.end = max(event.end, event.last_onset, start + self._timing.hop)
        event.last_active = max(event.last_active, event.last_onset)

    def _close(self, event: Happening, out: list[Event]) -> None:
        self._barred_until = event.end + self._timing.refractory
        self.event = None
        if event.number:
            self._send(event, "end", event.sent_at, out)
        elif self.storm is not None:
            self._total(self.storm, event)
            self.storm.shots += event.shots

    def _fold(self, event: Happening, start: int, out: list[Event]) -> None:
        storm = self.storm
        if storm is None:
            storm = self.storm = Happening(
                self._numbers.next(),
                event.first_onset,
                event.first_onset,
                event.end,
                event.score,
                event.level_dbfs,
                0,
                start,
                start,
                1,
            )
        storm.count += 1
        storm.last_onset = max(storm.last_onset, event.first_onset)
        self._total(storm, event)
        if storm.count == 1:
            self._send(storm, "new", start, out)

    def _total(self, storm: Happening, event: Happening) -> None:
        storm.end = max(storm.end, event.end)
        storm.score = max(storm.score, event.score)
        storm.level_dbfs = max(storm.level_dbfs, event.level_dbfs)

    def _watch_storm(self, storm: Happening, start: int, out: list[Event]) -> None:
        while self._recent and self._recent[0] <= start - self._timing.storm:
            self._recent.popleft()
        if self.event is None and len(self._recent) <= self._timing.storm_alerts // 2:
            self._send(storm, "end", start, out)
            self.storm = None
        elif storm.size > storm.sent_size and 2 * (start - storm.sent_at) >= self._timing.storm:
            self._send(storm, "update", start, out)

    def _send(self, event: Happening, phase: Literal["new", "update", "end"], start: int, out: list[Event]) -> None:
        event.sent_at = start
        event.sent_size = event.size
        folded = self.event.shots if event is self.storm and self.event is not None else 0
        out.append(
            Event(
                event.number,
                phase,
                self._rule.label,
                event.score,
                self._rule.threshold,
                event.first_onset,
                event.last_onset,
                event.end,
                event.shots + folded,
                event.level_dbfs,
                (event.count, event.first_onset, event.last_onset) if event.count else None,
                event.embedding,
            )
        )


def _join(event: Happening, heard: Heard) -> None:
    event.impulses.extend(heard.impulses)
    event.level_dbfs = max(event.level_dbfs, heard.level_dbfs)


def _shots(event: Happening) -> list[int]:
    """Onsets of the impulses that are as loud as the event's shots."""
    if not event.impulses:
        return []
    floor = max(impulse.strength_db for impulse in event.impulses) - WEAKER_DB
    return [impulse.onset for impulse in event.impulses if impulse.strength_db >= floor]
