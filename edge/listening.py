"""Who scores: the thread that brings the sound while that is quick, and otherwise a thread of its own.

A block of sound wakes one thread, which puts it into the ring. Waking a second one to score it costs a tenth of all
that the daemon does: another processor, as cold as the first. So, once windows have been scored quickly for a while,
the thread that brought the sound goes on and scores it (``on_sound``).

The listening thread keeps what may take long: commits to the disk, another model, the ends of events, catching up. It
also scores wherever nobody else does: at first, from a recording played fast, and after a window that took long. The
source stands still for that one window (sound cards and pipes hold more than a block), and from then on only copies:
the ring keeps what is not scored yet, and what it loses is counted as ever.

While the sound goes on as it was (`edge.calm`) and no event is open, that thread lets windows wait for the next and
scores three together: what wakes to cold caches seldom has much to do.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from edge.audio.ring import Ring
from edge.calm import Calm
from edge.detection.detector import Detector
from edge.detection.event import Event

WAIT_S = 1.0
"""While it scores itself: longest sleep of the listening thread."""
TICK_S = 2.0
"""The same while another thread scores and calls it when there is something to do."""
IDLE_S = 5.0
"""The same while no event is open either."""
QUICK_SHARE = 0.25
"""Of a block: a window that takes longer is not quick."""
QUICK_S = 3.0
"""Of sound that was scored quickly throughout, before the thread that brings it may score."""
WAITS_S = 0.48
"""Longest that a window waits in a calm sound: how much later the alert may come of a shot that rises over nothing."""
WAIT_TOGETHER = 2
"""Most windows that wait. With the one that comes, all are scored within a block if each of them is quick."""


class Turns(Protocol):
    """What wants to be done between two windows now and then."""

    wanted: bool

    def turn(self) -> None: ...


class Listening:
    """See the module."""

    def __init__(
        self,
        detector: Detector,
        ring: Ring,
        on_events: Callable[[Sequence[Event]], None],
        between: Turns,
        on_turn: Callable[[], None],
        silence_s: float,
        block_s: float,
    ) -> None:
        """The listening thread alone calls ``on_events`` with the events in their order, ``between.turn`` where that is
        wanted, and ``on_turn`` at least every five seconds. Without sound for ``silence_s`` the open events end.
        ``block_s``: the length of the blocks in which sound arrives at its own speed; 0: as fast as it can."""
        self.beat = 0
        """Advances while windows are scored, or waited for."""
        self.window_waits = False
        """One is due, and need not be scored before others are. Set by the thread that brings the sound."""
        self._detector = detector
        self._ring = ring
        self._on_events = on_events
        self._between = between
        self._on_turn = on_turn
        self._silence_s = silence_s
        self._quick_s = QUICK_SHARE * block_s
        self._trust = round(QUICK_S * ring.sample_rate_hz)
        self._quick_from = 0
        """Index from which on every window was scored quickly."""
        self._handed_over = False
        self._block = round(block_s * ring.sample_rate_hz)
        self._calm = Calm(detector.window // max(1, self._block))
        # Half a block less, since blocks do not end to the sample where windows do.
        waits = min(round(WAITS_S * ring.sample_rate_hz), WAIT_TOGETHER * detector.hop)
        self._patience = waits - self._block // 2 if detector.hop <= waits else 0
        """Frames: who has waited for less when a block of a calm sound comes waits on."""
        self._detector_lock = threading.Lock()
        self._called = threading.Event()
        self._events: deque[Event] = deque()
        self._failure: Exception | None = None
        self._stop = threading.Event()
        self._ended_at = 0
        """Ring position at which a loss of sound ended the open events; once for each loss."""

    @property
    def handed_over(self) -> bool:
        """Whether the thread that brings the sound scores it."""
        return self._handed_over

    def on_sound(self) -> None:
        """By the thread that brings the sound, after each block and at its end. Waits for no other, never raises."""
        if not self._handed_over:
            return  # the listening thread waits at the ring
        if self._between.wanted or self._ring.closed:
            self._called.set()
        end, overdue = self._ring.end, self._detector.overdue
        calm = self._calm.hear(self._ring.look(max(0, end - self._block), end))
        self.window_waits = calm and 0 <= overdue < self._patience and self._detector.quiet
        # Where the listening thread has the detector, it looks at the ring again before it sleeps.
        if overdue < 0 or self.window_waits or not self._detector_lock.acquire(False):
            return
        try:
            self._events.extend(self._score())
        except Exception as error:  # no fault of the source
            self._failure = error
            self._handed_over = False
        finally:
            self._detector_lock.release()
        if self._events or not self._handed_over:
            self._called.set()

    def stop(self) -> None:
        """Make ``run`` end, from any thread."""
        self._stop.set()
        self._called.set()

    def run(self) -> None:
        """The listening thread, until ``stop`` or the end of the sound. Raises what went wrong in the detector."""
        try:
            while not self._stop.is_set():
                if self._handed_over and (self.window_waits or not self._detector.due) and not self._ring.closed:
                    self._called.wait(IDLE_S if self._detector.quiet else TICK_S)
                    self._called.clear()
                # If another thread hangs in the detector, this one stands here, and its beat with it.
                with self._detector_lock:
                    self.beat += 1
                    if not self._turn():
                        break
            with self._detector_lock:
                self._quick_s = 0.0
                self._handed_over = False
                self._tell()
                self._on_events(self._detector.finish())
        finally:
            self._handed_over = False

    def _turn(self) -> bool:
        """False at the end of the sound."""
        if self._failure is not None:
            raise self._failure
        self._tell()
        if self._between.wanted:
            self._between.turn()
        if not self._handed_over:
            self._detector.wait(WAIT_S)
        events = [] if self.window_waits and self._handed_over and not self._ring.closed else self._score()
        self._on_turn()
        if events:
            self._on_events(events)
        elif self._ring.closed and self._detector.position >= self._ring.end:
            return False
        else:
            self._end_events_without_sound()
        return True

    def _tell(self) -> None:
        while self._events:
            self._on_events([self._events.popleft()])

    def _score(self) -> list[Event]:
        """Score what is there, and see from the time that takes who shall do so next."""
        detector = self._detector
        before, began_s = detector.position, time.perf_counter()
        events = detector.take() if detector.due or self._ring.closed else []
        if not self._quick_s:
            return events
        behind = detector.due
        windows = max(1.0, (detector.position - before) / detector.hop)
        if behind or time.perf_counter() - began_s > self._quick_s * windows:
            self._quick_from = detector.position
            self._handed_over = False
        elif detector.position > before and detector.position - self._quick_from >= self._trust:
            self._handed_over = not self._ring.closed
        return events

    def _end_events_without_sound(self) -> None:
        """Scores end events; without sound there are none, and an event must not stay open until it returns."""
        silent_s = time.monotonic() - self._ring.newest_at_s
        if silent_s > self._silence_s and self._detector.position != self._ended_at:
            self._ended_at = self._detector.position
            self._on_events(self._detector.finish())
