"""From scores to events: hysteresis, required hits, bursts, refractory period, storms.

Pure: the only clock is the sample index, the only input the scores (and what `Listen` hears in the sound), so
the same sound gives the same events at any speed, on any day. One track per alert label; tracks never mix.

How one label goes:

1. **Hysteresis.** A window at or above ``threshold`` is a hit and turns the track on; only a window under
   ``release`` turns it off again (a Schmitt trigger).
2. **Confirmation.** ``required_hits`` hits without turning off in between, in windows that overlap: one shot
   lies only in the windows that contain it. One hit at or above ``certain`` is enough. Then the event is sent as
   ``new``, at once.
3. **Burst.** While it is open, shots join it; it ends when none came for ``merge_s``. ``update`` tells a grown
   count, at most every `UPDATE_S`. A shot that is heard to begin later than ``merge_s`` opens the next event.
4. **Limits.** After ``max_event_s`` it is ended; the track must then turn off before it may open another. After
   any end, ``refractory_s`` of sound (from the end of the last shot) must pass.
5. **Storm.** More than ``storm_alerts`` events of a label within ``storm_s``: that event and those after it are
   folded into one event that carries `Event.collapsed`: sent as ``new`` with its first, as ``update`` while its
   count grows (at most twice per ``storm_s``), and as ``end`` once no more than half of ``storm_alerts`` came
   within ``storm_s``.

6. **Site.** With a `Background` the rule's scores are raised while the site's own sounds score high. What is near a
   sound that was marked as false (`Vetoed`) is told of as ``vetoed`` when it would be confirmed, and is no event:
   nothing in the windows that hold it opens another.

Lost sound turns the tracks off; an open event survives a gap shorter than ``merge_s``.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge.detection.background import Background
from edge.detection.event import Event, Heard, Listen, Rule, Timing, Vetoed, deaf, never
from edge.detection.track import Numbers, Track

NO_BACKGROUNDS: Mapping[str, Background] = MappingProxyType({})

__all__ = ["Event", "EventLogic", "Heard", "Listen", "Rule", "Timing", "deaf"]


class EventLogic:
    """The tracks of all alert labels.

    ``observe`` takes the windows in order, each once: its start index and the scores in the order of ``rules``.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        timing: Timing,
        listen: Listen = deaf,
        backgrounds: Mapping[str, Background] = NO_BACKGROUNDS,
        vetoed: Vetoed = never,
    ) -> None:
        """``backgrounds``: by label, of those that have one; they are told every score."""
        self._timing = timing
        self._numbers = Numbers()
        self._listen = listen
        self._tracks = self._tracks_of(rules, backgrounds, vetoed)
        self._last_start: int | None = None

    @property
    def quiet(self) -> bool:
        """Nothing is open, and no label is on."""
        return all(track.quiet for track in self._tracks)

    @property
    def open(self) -> bool:
        """Whether an event waits for its end."""
        return any(track.event is not None or track.storm is not None for track in self._tracks)

    def observe(self, start: int, scores: Sequence[float], embedding: NDArray[np.float32] | None = None) -> list[Event]:
        """The messages that this window causes, in order; mostly none. ``start``: its first frame. ``scores``: one for
        each rule, 0 to 1. ``embedding``: the window's, float32 [F], where it is had.

        Raises:
            ValueError: ``start`` is not after the last one.
        """
        if self._last_start is not None:
            step = start - self._last_start
            if step <= 0:
                raise ValueError(f"window at {start} after the one at {self._last_start}")
            if 2 * step > 3 * self._timing.hop:
                for track in self._tracks:
                    track.turn_off()
        self._last_start = start
        out: list[Event] = []
        for track, score in zip(self._tracks, scores, strict=True):
            track.step(start, score, out, embedding)
        return out

    def finish(self) -> list[Event]:
        """The ends of what is open: the sound is over. The next window may begin anywhere later."""
        out: list[Event] = []
        for track in self._tracks:
            track.finish(out)
        return out

    def replace(
        self,
        rules: Sequence[Rule],
        backgrounds: Mapping[str, Background] = NO_BACKGROUNDS,
        vetoed: Vetoed = never,
    ) -> list[Event]:
        """Go on with other rules from the next window on. Returns the ends of what was open."""
        out = self.finish()
        earlier = {track.label: track for track in self._tracks}
        self._tracks = self._tracks_of(rules, backgrounds, vetoed)
        for track in self._tracks:
            if track.label in earlier:
                track.follow(earlier[track.label])
        return out

    def _tracks_of(self, rules: Sequence[Rule], backgrounds: Mapping[str, Background], vetoed: Vetoed) -> list[Track]:
        return [
            Track(rule, self._timing, self._listen, self._numbers, backgrounds.get(rule.label), vetoed)
            for rule in rules
        ]
