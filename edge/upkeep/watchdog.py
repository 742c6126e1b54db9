"""Tells systemd that the daemon makes progress, and only while it does.

Order of calls, from the main thread:

    watchdog = Watchdog()
    watchdog.register("capture", lambda: capture.beat, may_stand_still=lambda: capture.problem is not None)
    watchdog.ready("listening")          # after settings, model and outbox
    while running:
        watchdog.tick()                  # within `due_in_s`; pings when a ping is due
    watchdog.stopping()

Every loop has a *beat*, a number that moves while the loop turns. A loop whose beat stands for longer than its
patience is hung: the ping is withheld, systemd's ``WatchdogSec`` runs out and the unit is aborted and started
again. Silence is not a hang: a capture that retries for want of a microphone declares it (``may_stand_still``).
As the main thread pings, a hung main thread is noticed too.

Protocol: sd_notify(3). Without ``NOTIFY_SOCKET`` (no systemd) nothing is sent, and hangs are still found
(``hung``) for the health message.
"""

import contextlib
import faulthandler
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

log = logging.getLogger(__name__)

DEFAULT_PATIENCE_S = 15.0  # half of the unit's WatchdogSec=30
SEND_TIMEOUT_S = 1.0  # systemd's socket queue is full only when systemd itself is stuck


class Notifier:
    """Datagrams to the service manager. Sends nothing where there is none."""

    def __init__(self, address: str | None) -> None:
        """``address`` is ``NOTIFY_SOCKET``: a path, or ``@name`` for an abstract socket."""
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._failed = False

    def send(self, **fields: str | int) -> bool:
        """One datagram with ``NAME=value`` lines; True when it was handed over. Never raises."""
        if not self._address:
            return False
        # A newline would start a field of its own.
        text = "\n".join(f"{name}={' '.join(str(value).splitlines())}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.settimeout(SEND_TIMEOUT_S)
                notify.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("service manager does not take notifications: %s", error)
            self._failed = True
            return False
        self._failed = False
        return True


@dataclass(slots=True)
class _Loop:
    beat: Callable[[], int]
    may_stand_still: Callable[[], bool]
    patience_s: float
    last_beat: int
    moved_at_s: float


def watchdog_interval_s(environment: Mapping[str, str], pid: int) -> float | None:
    """The ``WatchdogSec`` that systemd set for this process, in seconds; None without one."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        interval_s = int(environment.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return interval_s if interval_s > 0 else None


class Watchdog:
    """The beats of all loops, and the pings that depend on them."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        environment = os.environ if environment is None else environment
        self.notifier = Notifier(environment.get("NOTIFY_SOCKET"))
        self.interval_s = watchdog_interval_s(environment, os.getpid())
        self.hung: tuple[str, ...] = ()
        """Names of the loops that stand still and may not."""
        self._monotonic_s = monotonic_s
        self._loops: dict[str, _Loop] = {}
        self._pinged_at_s: float | None = None

    @property
    def due_in_s(self) -> float:
        """Until ``tick`` should be called again, so that no ping comes late."""
        return self.interval_s / 8 if self.interval_s else float("inf")

    def register(
        self,
        name: str,
        beat: Callable[[], int],
        may_stand_still: Callable[[], bool] = lambda: False,
        patience_s: float | None = None,
    ) -> None:
        """Watch a loop. ``patience_s``: how long its beat may stand; half the watchdog interval where not given."""
        if patience_s is None:
            patience_s = self.interval_s / 2 if self.interval_s else DEFAULT_PATIENCE_S
        self._loops[name] = _Loop(beat, may_stand_still, patience_s, beat(), self._monotonic_s())

    def forget(self, name: str) -> None:
        """Stop watching a loop that ended on purpose (a recording that was played to its end)."""
        self._loops.pop(name, None)

    def tick(self) -> bool:
        """Look at every beat, and ping when a ping is due. True when all loops make progress."""
        now_s = self._monotonic_s()
        hung = tuple(name for name, loop in self._loops.items() if not _alive(loop, now_s))
        if set(hung) - set(self.hung):
            log.critical("hung: %s; no watchdog ping until it moves", ", ".join(hung))
            self.status("hung: " + ", ".join(hung))
            # The reason stands in the stacks, and the abort comes only after the watchdog interval. Under a test
            # runner standard error may have no file descriptor.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        elif self.hung and not hung:
            log.warning("moves again: %s", ", ".join(self.hung))
            self.status("moves again")
        self.hung = hung
        if hung:
            return False
        # A quarter: one late tick must not bring the gap to the half that sd_watchdog_enabled(3) asks for.
        due = self._pinged_at_s is None or (self.interval_s and now_s - self._pinged_at_s >= self.interval_s / 4)
        if self.interval_s and due and self.notifier.send(WATCHDOG=1):
            self._pinged_at_s = now_s
        return True

    def ready(self, status: str = "") -> None:
        """Settings, model and outbox stand: the unit is up. Also ends a reload."""
        now_s = self._monotonic_s()
        for loop in self._loops.values():  # what the start or the reload took is no hang
            loop.moved_at_s = now_s
        self.notifier.send(READY=1, **({"STATUS": status} if status else {}))

    def reloading(self, status: str = "reading the configuration again") -> None:
        """SIGHUP was taken; ``ready`` must follow."""
        self.notifier.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, STATUS=status)

    def stopping(self, status: str = "stopping") -> None:
        """The daemon ends on purpose."""
        self.notifier.send(STOPPING=1, STATUS=status)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self.notifier.send(STATUS=text)


def _alive(loop: _Loop, now_s: float) -> bool:
    beat = loop.beat()
    if beat != loop.last_beat or loop.may_stand_still():
        loop.last_beat = beat
        loop.moved_at_s = now_s
        return True
    return now_s - loop.moved_at_s <= loop.patience_s
