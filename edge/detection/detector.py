"""From the ring to events: wait for the next hop, hear it, score it, decide.

    detector = Detector(model, ring, settings.detection)
    while not (ring.closed and detector.position >= ring.end):
        for event in detector.advance():
            …
    events = detector.finish()

One thread at a time runs it. It sleeps until the ring holds what the next window needs, so it wakes once per hop.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd, Window
from edge.audio.ring import Overwritten, Ring
from edge.detection.event import Event, Heard, Timing
from edge.detection.events import EventLogic
from edge.detection.model import Model, Scores
from edge.detection.onset import SILENCE_DBFS, find_impulses, level_dbfs
from edge.detection.site import Site
from edge.settings import DetectionSettings

AT_ONCE_S = 2.0
"""Most sound taken in one step: a fast recording must not keep stop requests and events waiting."""
CONTEXT_S = 0.6
"""Sound before a stretch that the onset search takes as background, and where it finds the shot of an echo."""
EDGE_S = 0.03
"""An impulse this close to the newest sample has not shown its peak; the next search finds it."""
DURATIONS_KEPT = 512


class Detector:
    """Listens to ``ring`` with ``model``."""

    def __init__(
        self,
        model: Model,
        ring: Ring,
        settings: DetectionSettings,
        block_frames: int = 0,
        site: Site | None = None,
    ) -> None:
        """``block_frames``: the length of the blocks in which live sound arrives. Windows are then placed so that each
        is complete when a block is, and none waits for most of the next; 0 lets them begin with the sound. ``site``:
        what this device has learned of its place, with the same model and settings; None: nothing yet."""
        self.position = 0
        """Index up to which the ring has been read."""
        self.windows = 0
        """Windows scored."""
        self.skipped = 0
        """Windows lost because detection fell so far behind that the ring overwrote them."""
        self.gated = 0
        """Windows that the energy gate spared the network."""
        self.inference_ms: deque[float] = deque(maxlen=DURATIONS_KEPT)
        """Durations of the newest calls of the model."""
        self.on_window: Callable[[int, Scores], None] | None = None
        """Called with the start index and the scores of each window of real sound."""
        self.shadow: Callable[[Window, Scores], None] | None = None
        """Called with each window that is scored, and its scores, while a new model is tried or watched."""
        self._settings = settings
        self._model = model
        self._ring = ring
        self._front_end = FrontEnd(ring.sample_rate_hz, settings.hop_s)
        self._timing = Timing.of(settings, ring.sample_rate_hz, model.manifest.window_s)
        self.hop, self.window = self._timing.hop, self._timing.window
        """In frames of the ring."""
        site = site or Site(model, settings)
        self._logic = EventLogic(site.rules, self._timing, self._listen, site.backgrounds, site.marks.near)
        self._columns = [model.manifest.labels.index(label) for label in model.alert_labels]
        self._quiet = [0.0] * len(self._columns)
        self._gate = 10 ** (settings.energy_gate.level_dbfs / 20) if settings.energy_gate.enabled else 0.0
        self._loud_until = 0
        self._context = round(CONTEXT_S * ring.sample_rate_hz)
        self._edge = round(EDGE_S * ring.sample_rate_hz)
        self._at_once = round(AT_ONCE_S * ring.sample_rate_hz)
        self._fed = False
        self._block = block_frames
        self._ahead = self._timing.window + (self._front_end.longest_lag() if block_frames else 0)
        ring.reader_position = 0

    def advance(self, timeout_s: float = 1.0) -> list[Event]:
        """Wait up to ``timeout_s`` for the next hop, take what is there, and return the events (mostly none)."""
        if self.due or self.wait(timeout_s) or self._ring.closed:
            return self.take()
        return []

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the next window is probably there; False after ``timeout_s`` or at the end of the sound."""
        return self._ring.wait(self.position + self._front_end.wanted, timeout_s)

    @property
    def due(self) -> bool:
        """Whether ``advance`` would find the next window, probably."""
        return self.overdue >= 0

    @property
    def overdue(self) -> int:
        """Frames that the ring holds beyond what the next window probably needs; negative where some are missing."""
        return self._ring.end - self.position - self._front_end.wanted

    @property
    def quiet(self) -> bool:
        """No event is open, and none may be about to begin."""
        return self._logic.quiet

    def replace(self, model: Model, site: Site | None = None) -> list[Event]:
        """Go on with another model from the next window on; between two windows.

        No window is left out and none is scored twice. What is open ends, and its ends are returned: the scores and
        thresholds of two models are not one event. Refractory periods and the counts of a storm go on. ``site``: as in
        the constructor, of that model.
        """
        self._model = model
        self._columns = [model.manifest.labels.index(label) for label in model.alert_labels]
        self._quiet = [0.0] * len(self._columns)
        self.inference_ms.clear()
        site = site or Site(model, self._settings)
        return self._logic.replace(site.rules, site.backgrounds, site.marks.near)

    def finish(self) -> list[Event]:
        """The sound is over: what the ring still holds, then the ends of the open events.

        A window's length of the recording's own silence follows the last sample, so that a shot just before the
        end lies in as many windows as any other and can be confirmed, and a recording shorter than a window has
        one. Those windows are not shown to ``on_window``, save the only one of such a short recording. Listening
        may go on later.
        """
        events: list[Event] = []
        while self.position < self._ring.end:
            events += self.take()
        if self._fed:
            end, short = self.position, not self.windows
            for window in (*self._front_end.push(end, self._own_silence(end)), *self._front_end.finish()):
                if window.start < end:
                    real = window.start + self._timing.window <= end
                    events += self._decide(window, shown=real or (short and not self.windows))
        self._front_end.reset()
        self._fed = False
        return events + self._logic.finish()

    def take(self) -> list[Event]:
        """Hear what the ring holds beyond ``position``, and return the events. For who has seen that it is ``due``."""
        ring, start = self._ring, self.position
        stop = min(ring.end, start + self._at_once)
        try:
            windows = self._hear(start, stop)
        except Overwritten:
            self._skip_to_newest()
            return []
        self.position = ring.reader_position = stop
        events: list[Event] = []
        for window in windows:
            events += self._decide(window, shown=True)
        return events

    def _hear(self, start: int, stop: int) -> list[Window]:
        """The windows that the frames ``[start, stop)`` complete. Raises Overwritten."""
        ring = self._ring
        frames = ring.look(start, stop)
        windows: list[Window] = []
        at = start
        for lost, resumed in ring.gaps(start, stop):
            if lost > at:
                windows += self._front_end.push(at, frames[at - start : lost - start])
            self._front_end.reset()
            self._fed = False
            at = min(resumed, stop)
        if self._block and not self._fed and stop > at:
            # From the newest block on: what waits from before may be taken in several steps.
            at = min(stop, at + (ring.end - at - self._ahead) % self._block)
        if stop > at:
            windows += self._front_end.push(at, frames[at - start :])
            self._fed = True
        ring.held(start)  # until now: the front end has its own copy
        return windows

    def _decide(self, window: Window, shown: bool) -> list[Event]:
        if self._gate and not self._loud(window):
            self.gated += 1
            return self._logic.observe(window.start, self._quiet)
        began = perf_counter()
        scores = self._model.listen(window)
        self.inference_ms.append((perf_counter() - began) * 1e3)
        self.windows += 1
        if shown and self.on_window is not None:
            self.on_window(window.start, scores)
        if self.shadow is not None:
            self.shadow(window, scores)
        values = scores.labels.item
        return self._logic.observe(window.start, [values(column) for column in self._columns], scores.embedding)

    def _loud(self, window: Window) -> bool:
        """Whether any hop within the window passed the gate: a shot needs all the windows that hold it."""
        if window.peak >= self._gate:
            self._loud_until = window.start + self._timing.window
        return window.start < self._loud_until

    def _listen(self, start: int, stop: int) -> Heard:
        """The impulses that begin in ``[start, stop)``, both moved back by `EDGE_S`, and their highest level."""
        first, last = start - self._edge, min(stop, self._ring.end)
        if first >= last:
            return Heard(SILENCE_DBFS, ())
        begin = max(first - self._context, self._ring.oldest)
        # Sound that sets in after a gap is no onset.
        begin = max([begin, *(resumed for _, resumed in self._ring.gaps(begin, last))])
        try:
            frames = self._ring.read(begin, max(begin, last))
        except Overwritten:
            return Heard(SILENCE_DBFS, ())
        until = stop - self._edge if last == stop else last
        impulses = [
            impulse._replace(onset=begin + impulse.onset)
            for impulse in find_impulses(frames, self._ring.sample_rate_hz)
            if first <= begin + impulse.onset < until
        ]
        if impulses:
            return Heard(max(impulse.level_dbfs for impulse in impulses), impulses)
        return Heard(level_dbfs(frames[max(0, first - begin) :]), ())

    def _own_silence(self, end: int) -> NDArray[np.float32]:
        """A window of noise as loud as the quietest part of the last second: digital silence would sound like a cut
        and cost the shot before it a third of its score."""
        length, block = self._timing.window, self._ring.sample_rate_hz // 100
        last = self._ring.read(max(self._ring.oldest, end - length), end)
        blocks = last[: len(last) // block * block].reshape(-1, block)
        rms = float(np.sqrt(np.square(blocks).mean(axis=1).min())) if len(blocks) else 0.0
        # Seeded: the same recording must give the same events.
        noise = np.random.default_rng(0).standard_normal(length, dtype=np.float32)
        return np.asarray(rms * noise, dtype=np.float32)

    def _skip_to_newest(self) -> None:
        newest = max(self.position, self._ring.end - self._timing.window)
        self.skipped += (newest - self.position) // self._timing.hop
        self.position = self._ring.reader_position = newest
        self._front_end.reset()
        self._fed = False
