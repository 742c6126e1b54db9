"""The daemon as a service: one process with its lock, its log, its signals and its exit code.

SIGTERM and SIGINT end it cleanly within 5 s; SIGHUP reads the configuration again, and the old one goes on where
the new one cannot be used. Under systemd it says READY, RELOADING, STOPPING, and pings the watchdog.
"""

import faulthandler
import logging
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from edge import __version__, heap, state_lock
from edge.audio.source import SourceError
from edge.daemon import Daemon
from edge.detection.choice import NoModelError, choose
from edge.settings import SettingsError, load
from edge.updates import overlay
from edge.upkeep.watchdog import Watchdog

log = logging.getLogger(__name__)

TICK_S = 5.0
"""Longest sleep. Nothing that is looked at here is urgent; what is, wakes the loop or is due earlier."""
DRAIN_S = 30.0
"""After the end of a recording, how long its clips and messages may take to leave."""
DRAIN_TICK_S = 0.05


class _Signals:
    """What was asked for by signals. Handlers only note it; the main loop acts.

    They wake the loop through an eventfd: a handler runs in the middle of the main thread, so a lock that it
    took (an Event has one) could already be held by what it interrupted.
    """

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal or the timeout."""
        if select.select([self._woken], [], [], timeout_s)[0]:
            os.eventfd_read(self._woken)

    def wake(self) -> None:
        """From any thread: look now."""
        os.eventfd_write(self._woken, 1)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        self.wake()


def run(config: Path | None) -> int:
    """The detector daemon until it is told to stop, or its recording has ended. Returns the exit code.

    Raises:
        SettingsError, NoModelError, SourceError, state_lock.AlreadyRunningError, OSError: it cannot start.
    """
    process_started_s = time.monotonic() - _process_age_s()
    faulthandler.enable()
    heap.keep_small()
    settings = load(config)
    overlay.count_start(settings.state_dir)
    settings = overlay.laid_over(settings, os.environ)
    start_logging(settings.log_level)
    log.info("ecosight-edge %s, site %s, device %s", __version__, settings.site, settings.device)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    lock = state_lock.hold(settings.state_dir)
    signals = _Signals()
    watchdog = Watchdog()
    daemon = Daemon(settings, watchdog, signals.wake, process_started_s)
    try:
        daemon.start()
        heap.settle()
        watchdog.ready("listening")
        while True:
            signals.wait(min(TICK_S, daemon.due_in_s))
            if signals.stop or daemon.orders.restart_wanted.is_set():
                return _end(daemon, watchdog, 0)
            if not daemon.tick():
                if daemon.failed:
                    return _end(daemon, watchdog, 1)
                _drain(daemon, signals)
                return _end(daemon, watchdog, 0)
            if signals.reload:
                signals.reload = False
                daemon = _reload(daemon, config, signals)
    except Exception:
        # Nothing here can mend it: what runs is ended, so that the service manager starts all of it again.
        daemon.stop()
        if daemon.source_hangs:
            log.exception("the daemon failed")
            _leave(1)
        raise
    finally:
        lock.close()


def _drain(daemon: Daemon, signals: _Signals) -> None:
    """The recording is over; what it left behind may leave, unless we are told to stop."""
    daemon.watchdog.forget("listen")
    until_s = time.monotonic() + DRAIN_S
    while not (daemon.drained or signals.stop) and time.monotonic() < until_s:
        signals.wait(DRAIN_TICK_S)
        daemon.tick()


def _end(daemon: Daemon, watchdog: Watchdog, code: int) -> int:
    watchdog.stopping()
    daemon.stop()
    log.info("stopped")
    if daemon.source_hangs:
        _leave(code)
    heap.unsettle()
    return code


def _leave(code: int) -> NoReturn:
    """End the process without PortAudio's own clean-up, which would hang as its stream does."""
    log.warning("the source hangs; leaving without its clean-up")
    logging.shutdown()
    os._exit(code)


def _reload(daemon: Daemon, config: Path | None, signals: _Signals) -> Daemon:
    """A daemon on the new settings; the old one goes on where they cannot be used."""
    watchdog = daemon.watchdog
    watchdog.reloading()
    try:
        settings = overlay.laid_over(load(config), os.environ)
        if settings.state_dir != daemon.settings.state_dir:
            raise SettingsError("state_dir cannot change while the daemon runs; restart it")
        # Looked at before anything is stopped: a bad new model must not end a good old one.
        choice = choose(settings.detection.model, settings.state_dir)
        if choice.refused and choice.refused != daemon.choice.refused:
            raise SettingsError("; ".join(choice.refused))
    except (SettingsError, NoModelError) as error:
        log.error("the new configuration is not used, the old one stays: %s", error)
        daemon.reporting.configuration_refused = True
        watchdog.ready("the new configuration was refused")
        return daemon
    if settings == daemon.settings and choice.model.sha256 == daemon.choice.model.sha256:
        log.info("configuration and model are as they were")
        daemon.reporting.configuration_refused = False
        watchdog.ready("listening")
        return daemon
    old = daemon.settings
    daemon.stop()
    try:
        fresh = Daemon(settings, watchdog, signals.wake, time.monotonic(), reloaded=True)
        fresh.start()
    except Exception as error:
        # A bug among them: to end here would start the new configuration again, and again.
        told = isinstance(error, (SourceError, NoModelError, OSError))
        log.error("the new configuration cannot be started, the old one goes on: %s", error, exc_info=not told)
        fresh = Daemon(old, watchdog, signals.wake, time.monotonic(), reloaded=True)
        fresh.reporting.configuration_refused = True
        fresh.start()
    logging.getLogger().setLevel(fresh.settings.log_level.upper())
    heap.settle()
    watchdog.ready("listening")
    log.info("reloaded")
    return fresh


def start_logging(level: str) -> None:
    """Log to standard error; under systemd without the time, which the journal adds."""
    under_systemd = "JOURNAL_STREAM" in os.environ
    shape = (
        "%(levelname)s %(name)s: %(message)s" if under_systemd else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.basicConfig(level=level.upper(), format=shape, stream=sys.stderr)


def _process_age_s() -> float:
    """Seconds since this process was started, so that the time to the first window counts the imports too."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
    except (OSError, ValueError, IndexError):
        return 0.0
