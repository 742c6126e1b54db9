"""Listens for ever: runs the source, brings it back when it is lost, and says when there is no sound.

Two threads. ``capture`` opens and runs the source and waits before it tries again. ``capture-watch`` looks every two
seconds at what arrived (`Liveness`), gives up a source that delivers nothing, and ends the process if the source
does not even come back from being given up: a killed sound server can leave PortAudio's ``close()`` hanging,
and then only a fresh process hears again.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.audio.resampled import Resampled
from edge.audio.ring import Overwritten, Ring
from edge.audio.source import Sink, Source, SourceError, SourceLost, open_source
from edge.audio.tap import Tap
from edge.settings import AudioSettings
from edge.upkeep.liveness import Liveness

LOG = logging.getLogger(__name__)

TICK_S = 2.0
SAMPLED_S = 0.25
"""Of each second this much is looked at: enough for levels and for what is dead."""
FIRST_RETRY_S = 0.5
SETTLED_S = 10.0
"""A source that ran this long was no false start: the next retry is quick again."""
ABANDON_S = 10.0
"""A live source without a sample for this long is closed and opened anew."""
HUNG_S = 10.0
"""A source that has not returned this long after being told to is never coming back."""
SLIP_S = 0.05
"""A jump of the samples against the clock that no drift explains: sound was lost unnoticed."""
HUNG_EXIT_CODE = 70


def exit_hard(why: str) -> None:
    """End the process at once, without the clean-up that would hang as well; the service manager starts it again."""
    LOG.critical("%s; ending the process so that it is started afresh", why)
    logging.shutdown()
    os._exit(HUNG_EXIT_CODE)


class Capture:
    """Keeps a source running into a ring.

    Args:
        settings: which source, and how patiently it is retried.
        on_state: called from the watching thread when `problem` changes, with the new one.
        open_source: for tests.
        hard_exit: what to do about a source that hangs; gets the reason.
    """

    def __init__(
        self,
        settings: AudioSettings,
        ring: Ring,
        clock: Clock,
        liveness: Liveness,
        on_state: Callable[[str | None], None],
        open_source: Callable[[AudioSettings], Source] = open_source,
        hard_exit: Callable[[str], None] = exit_hard,
    ) -> None:
        self.beat = 0
        """Advances while the source delivers, is waited for or is retried."""
        self.ended = False
        """A recording has come to its end."""
        self.detail = ""
        """The last loss, for a person."""
        self.on_sound: Callable[[], None] | None = None
        """Called by the thread that brings the sound, after each block and at its end."""
        self._settings = settings
        self._ring = ring
        self._clock = clock
        self._liveness = liveness
        self._on_state = on_state
        self._open_source = open_source
        self._hard_exit = hard_exit
        self._lost_reason: str | None = None
        self._said: str | None = None
        self._stop = threading.Event()
        self._run_stop = threading.Event()
        self._run_began_s: float | None = None
        self._abandoned_at_s: float | None = None
        self._tap: Tap | None = None
        self._source: Source | None = None
        self._threads = [
            threading.Thread(target=self._listen, name="capture", daemon=True),
            threading.Thread(target=self._watch, name="capture-watch", daemon=True),
        ]
        liveness.on_escalate = lambda: self._abandon("it delivers no sound")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stop listening; False if the source did not return in time (the process then must not wait for it)."""
        self._stop.set()
        self._run_stop.set()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def overflows(self) -> int:
        """Times that the sound driver said it had dropped samples; 0 for a source without one."""
        return int(getattr(self._source, "overflows", 0))

    @property
    def problem(self) -> str | None:
        """``no_audio:REASON`` (``silent``, ``constant``, ``stale``, or why the source is lost), ``audio:deafening``
        or None."""
        if self.ended:
            return f"no_audio:{self._lost_reason}" if self._lost_reason else None
        problem = self._liveness.problem
        if problem == "no_audio:stale" and self._lost_reason:
            return f"no_audio:{self._lost_reason}"
        return problem

    def _listen(self) -> None:
        pause_s = FIRST_RETRY_S
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                if self._run_once():
                    return
                self._lose("stale" if self._abandoned_at_s else "source_ended", "")
            except SourceLost as lost:
                self._lose(lost.reason, str(lost))
            except SourceError as error:
                self._lose(error.reason, str(error))
                if not self._live:
                    self._end()
                    return
            except Exception as error:  # deafness by a bug in one source must still be retried and reported
                LOG.exception("the source failed")
                self._lose("failed", repr(error))
            finally:
                self._run_began_s = None
            if time.monotonic() - began_s > SETTLED_S:
                pause_s = FIRST_RETRY_S
            self._stop.wait(min(pause_s, self._settings.retry_s))
            pause_s = min(2 * pause_s, self._settings.retry_s)

    def _run_once(self) -> bool:
        """Run the source until it ends, is given up or raises; True when that was the end for good."""
        self._run_stop = threading.Event()
        self._abandoned_at_s = None
        self._run_began_s = time.monotonic()
        source = self._source = self._open_source(self._settings)
        tap = self._tap = Tap(source, self._ring, self._clock, self._run_stop, self._tell)
        sink: Sink = tap
        resampled = None
        if source.sample_rate_hz != self._ring.sample_rate_hz:
            LOG.info("resampling %d Hz to %d Hz", source.sample_rate_hz, self._ring.sample_rate_hz)
            sink = resampled = tap.resampled = Resampled(tap, source.sample_rate_hz, self._ring.sample_rate_hz)
        if self._stop.is_set():  # set before the run had its own stop
            return True
        LOG.log(logging.DEBUG if self._lost_reason else logging.INFO, "listening to %s", source.description)
        try:
            source.run(sink, self._run_stop)
            if resampled is not None and not source.live:
                resampled.flush()
        finally:
            tap.fenced = True
        if self._stop.is_set():
            return True
        if not source.live and not self._run_stop.is_set():
            LOG.info("%s has ended", source.description)
            self._end()
            return True
        return False

    def _lose(self, reason: str, detail: str) -> None:
        level = logging.DEBUG if reason == self._lost_reason else logging.WARNING
        LOG.log(level, "no sound: %s", detail or reason)
        self._lost_reason = reason
        self.detail = detail

    def _end(self) -> None:
        self.ended = True
        self._ring.close()
        self._tell()

    def _tell(self) -> None:
        if self.on_sound is not None:
            self.on_sound()

    @property
    def _live(self) -> bool:
        """Whether the source may be lost and come back; a recording has an end instead."""
        if self._tap is not None:
            return self._tap.live
        return self._settings.source in ("microphone", "url")

    def _abandon(self, why: str) -> None:
        if self._live and self._abandoned_at_s is None and self._run_began_s is not None:
            LOG.warning("giving up the source: %s", why)
            self._abandoned_at_s = time.monotonic()
            self._run_stop.set()

    def _watch(self) -> None:
        seen = 0
        while not self._stop.wait(TICK_S):
            now_s = time.monotonic()
            waiting_for_reader = self._tap is not None and self._tap.waiting
            if not self.ended and not waiting_for_reader:
                seen, frames = self._newest(seen)
                self._liveness.observe(now_s, frames)
            self._look_for_recovery()
            if self.problem != self._said:
                self._said = self.problem
                self._on_state(self._said)
            if self.ended:
                self.beat += 1
                continue
            self._look_for_slip()
            if not self._look_for_hang(now_s) and self._threads[0].is_alive():
                self.beat += 1

    def _newest(self, seen: int) -> tuple[int, NDArray[np.float32] | None]:
        """The index up to which was looked, and the newest quarter of a second of what came since."""
        end = self._ring.end
        if end == seen:
            return seen, None
        sample = round(SAMPLED_S * self._ring.sample_rate_hz)
        try:
            return end, self._ring.look(max(seen, self._ring.oldest, end - sample), end)
        except Overwritten:  # a recording played fast
            return end, None

    def _look_for_recovery(self) -> None:
        tap = self._tap
        if self._lost_reason and tap is not None and tap.heard and not tap.fenced and self._liveness.state == "healthy":
            LOG.info("there is sound again")
            self._lost_reason = None
            self.detail = ""

    def _look_for_slip(self) -> None:
        tap = self._tap
        if tap is None or not tap.live:
            return
        slip_s = self._clock.slip_s()
        if slip_s > SLIP_S and self._clock.newest_point != tap.slip_seen_at:
            tap.slip_seen_at = self._clock.newest_point
            tap.missing_frames = round(slip_s * self._ring.sample_rate_hz)

    def _look_for_hang(self, now_s: float) -> bool:
        """Give up a live source that delivers nothing; exit if it does not return. True while it is overdue."""
        began_s = self._run_began_s
        if began_s is None:
            return False
        if now_s - max(began_s, self._ring.newest_at_s) > ABANDON_S:
            self._abandon(f"no sample for {ABANDON_S:.0f} s")
        abandoned_at_s = self._abandoned_at_s
        if abandoned_at_s is not None and abandoned_at_s >= began_s and now_s - abandoned_at_s > HUNG_S:
            self._hard_exit(f"the source did not return within {HUNG_S:.0f} s of being closed")
            return True
        return False
