"""Whether bytes come fast enough, and whether there is time left (slow retrieval, TUF specification 1.5.2)."""

import time
from collections.abc import Callable

from edge.updates.fetching.light_tuf import exceptions
from edge.updates.fetching.limits import Limits


class Pace:
    """Told of every request and of what it brings."""

    def __init__(self, limits: Limits, total_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """``total_s``: from now on, for everything."""
        self._limits = limits
        self._now_s = now_s
        self._total_s = total_s
        self._end_s = now_s() + total_s
        self._window_began_s: float | None = None
        self._bytes = 0
        self.waiting = False
        """In a call that may never return."""

    def begin(self) -> None:
        """A request is sent."""
        self._bytes = 0
        self._window_began_s = self._now_s()

    def end(self) -> None:
        """It is over: what follows is not the network's time."""
        self._window_began_s = None

    def took(self, size_bytes: int) -> None:
        """Some of its body has come."""
        self._bytes += size_bytes
        self.check()

    def check_waiting(self) -> None:
        """`check`, for a signal handler: a server that drips its headers brings no bytes that anybody could count.
        Only where the network is waited for may anything be broken off."""
        if self.waiting:
            self.check()

    def check(self) -> None:
        """Raises SlowRetrievalError."""
        now_s = self._now_s()
        if now_s > self._end_s:
            self._end_s = float("inf")  # said once: what cleans up afterwards is not interrupted again
            raise exceptions.SlowRetrievalError(
                f"not finished within updates.download_timeout_s = {self._total_s:g} s; the next run goes on from here"
            )
        window_s = self._limits.slow_window_s
        if self._window_began_s is None or now_s - self._window_began_s < window_s:
            return
        rate = self._bytes / (now_s - self._window_began_s)
        if rate < self._limits.slowest_bytes_per_s:
            self._window_began_s = None
            raise exceptions.SlowRetrievalError(
                f"{rate:.0f} bytes per second over {window_s:g} s; "
                f"below {self._limits.slowest_bytes_per_s:g} a download is given up"
            )
        self.begin()
