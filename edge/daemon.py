"""Builds the stages, starts them, watches them, stops them; nothing else.

Threads: the capture thread fills the ring; the listening thread scores windows and commits alerts; clips,
storage and MQTT have one of their own; the main thread sees to signals, health and the watchdog.
"""

import faulthandler
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from edge import __version__, state_lock
from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.audio.source import SourceError, open_source
from edge.delivery.alerts import AlertDesk, Sender
from edge.delivery.clips import ClipKeeper
from edge.delivery.messages import LocationReport, ModelReport
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from edge.delivery.storage import Storage
from edge.detection.choice import Choice, NoModelError, choose
from edge.detection.detector import Detector
from edge.orders import Orders
from edge.reporting import Reporting
from edge.settings import EdgeSettings, SettingsError, load
from edge.upkeep.commands import Commands
from edge.upkeep.liveness import Liveness
from edge.upkeep.noise_floor import NoiseFloor
from edge.upkeep.watchdog import Watchdog

log = logging.getLogger(__name__)

TICK_S = 1.0
PRUNE_EVERY_S = 3600.0
STOP_S = 4.0
"""A stop is clean within 5 s; this is what the stages may take of it."""
DRAIN_S = 30.0
"""After the end of a recording, how long its clips and messages may take to leave."""


class Daemon:
    """One life of the detector, from ready to stopped. A reload builds a new one."""

    def __init__(self, settings: EdgeSettings, watchdog: Watchdog, process_started_s: float) -> None:
        """Load what must work for the daemon to be of any use: model and outbox, and a source that may work.

        ``process_started_s`` is on the ``time.monotonic`` clock.

        Raises:
            NoModelError, SourceError, OSError: it cannot start; the text says why.
        """
        self.settings = settings
        self.started_s = process_started_s
        self.first_window_s: float | None = None
        self.watchdog = watchdog
        self.source_hangs = False
        """The source did not come back when it was stopped: the process must not wait for it at its end."""
        self._stop = threading.Event()
        self._listening_over = threading.Event()
        self._audio_changed = threading.Event()
        self._prune_s = process_started_s + PRUNE_EVERY_S
        self._listen_beat = 0
        # Sound first: a window needs a second of it, and the model is verified and loaded meanwhile.
        source = open_source(settings.audio)
        self.clock = Clock(source.sample_rate_hz)
        self.ring = Ring(source.sample_rate_hz, settings.audio.ring_s)
        self.ring.reader_position = 0
        self.liveness = Liveness(
            settings.audio.no_audio_after_s,
            NoiseFloor(settings.health.deafening_db, settings.state_dir / "noise_floor.json", settings.audio.device),
        )
        self.capture = Capture(
            settings.audio, self.ring, self.clock, self.liveness, self._on_audio_state, open_source=lambda _: source
        )
        self.capture.start()
        try:
            self.choice: Choice = choose(settings.detection.model, settings.state_dir)
        except BaseException:
            self.capture.stop(1.0)
            raise
        model = self.choice.model
        self.outbox = Outbox.open(settings.state_dir / "outbox.sqlite3")
        self.detector = Detector(model, self.ring, settings.detection)
        self.sender = Sender.of(settings, model.name)
        self.clips = ClipKeeper(settings, self.ring, self.clock, model, self.outbox, self._on_message)
        self.orders = Orders(self)
        self.commands = Commands(settings, self.outbox, self.clock.now, self.orders.actions())
        self.mqtt = Mqtt(settings, self.outbox, self.commands.handle)
        self.storage = Storage(settings, self.outbox, self.clock, self._on_message, self._mqtt_is_busy)
        self.desk = AlertDesk(self.sender, self.clock, self.outbox, self.clips, self.mqtt.wake)
        self.reporting = Reporting(self)
        self._listener = threading.Thread(target=self._listen, name="listen", daemon=True)

    def start(self) -> None:
        """Start every stage; returns at once."""
        closed = self.outbox.interrupt_orphans(self.clock.now(), "the device stopped before the event ended")
        if closed:
            log.warning("%d alerts of an earlier run were closed as interrupted", len(closed))
        model = self.choice.model
        self.mqtt.publish_retained(
            "model",
            ModelReport(
                installed=model.name,
                labels=list(model.manifest.labels),
                state="failed" if self.choice.refused else "idle",
                error="; ".join(self.choice.refused),
            ).to_json(),
        )
        if self.sender.place:
            self.mqtt.publish_retained("location", LocationReport(place=self.sender.place).to_json())
        self.clips.start()
        self._listener.start()
        self.mqtt.start()
        self.storage.start()
        self.reporting.start()
        beats: dict[str, Callable[[], int]] = {
            "capture": lambda: self.capture.beat,
            "listen": lambda: self._listen_beat,
            "clips": lambda: self.clips.beat,
            "mqtt": lambda: self.mqtt.beat,
            "storage": lambda: self.storage.beat,
        }
        for name, beat in beats.items():
            still = (lambda: self.mqtt.may_stand_still) if name == "mqtt" else (lambda: False)
            self.watchdog.register(name, beat, still)
        log.info("listening: model %s %s, hop %g s", model.name.name, model.name.version, self.settings.detection.hop_s)

    def tick(self) -> bool:
        """The main thread's part, about once a second. False when the recording has ended or a stage died."""
        self.watchdog.tick()
        if self.clock.poll() and self.clock.synchronised:
            corrected = self.desk.correct_times()
            log.warning("the clock was set; %d earlier alerts were sent again with the right time", corrected)
        if time.monotonic() >= self._prune_s:
            self._prune_s = time.monotonic() + PRUNE_EVERY_S
            self.outbox.prune(self.clock.now())
        if self._audio_changed.is_set():
            self._audio_changed.clear()
            self.reporting.due_at_once = True
        self.reporting.tick()
        return not self._listening_over.is_set()

    @property
    def failed(self) -> bool:
        """The listening thread ended though the sound did not."""
        return self._listening_over.is_set() and not self._stop.is_set() and not self.capture.ended

    def stop(self) -> None:
        """End every stage within about STOP_S: events end, clips are cut, messages that can leave do."""
        until_s = time.monotonic() + STOP_S

        def left_s(least_s: float = 0.2) -> float:
            return max(least_s, until_s - time.monotonic())

        self._stop.set()
        self.source_hangs = not self.capture.stop(min(1.0, left_s()))
        self.ring.close()
        self._listener.join(min(1.0, left_s()))
        self.clips.stop(min(2.0, left_s()))
        self.storage.stop(min(1.0, left_s()))
        self.mqtt.stop(left_s())
        self.reporting.stop()
        self.outbox.close()
        for name in ("capture", "listen", "clips", "mqtt", "storage"):
            self.watchdog.forget(name)

    def drain(self) -> None:
        """After the end of a recording: give clips and messages up to DRAIN_S to leave."""
        until_s = time.monotonic() + DRAIN_S
        while time.monotonic() < until_s:
            self.watchdog.tick()
            if not self.clips.busy and not self.storage.busy and (self.outbox.depth == 0 or not self.mqtt.connected):
                return
            time.sleep(0.05)

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                self._listen_beat += 1
                events = self.detector.advance(timeout_s=TICK_S)
                if self.first_window_s is None and self.detector.windows:
                    self.first_window_s = time.monotonic() - self.started_s
                    log.info("first window scored %.2f s after the start of the process", self.first_window_s)
                if events:
                    self.desk.on_events(events)
                elif self.ring.closed and self.detector.position >= self.ring.end:
                    break
            self.desk.on_events(self.detector.finish())
        except Exception:
            log.exception("detection failed; the service manager starts it again")
        finally:
            self._listening_over.set()

    def _on_audio_state(self, problem: str | None) -> None:
        # Told by a capture thread; published at the next tick, which is within a second.
        self._audio_changed.set()
        log.log(logging.WARNING if problem else logging.INFO, "audio: %s", problem or "ok")

    def _on_message(self) -> None:
        self.mqtt.wake()
        self.storage.wake()

    def _mqtt_is_busy(self) -> bool:
        return self.mqtt.connected and self.outbox.alerts_waiting > 0


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

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        os.eventfd_write(self._woken, 1)


def run(config: Path | None) -> int:
    """The detector daemon until it is told to stop, or its recording has ended. Returns the exit code.

    Raises:
        SettingsError, NoModelError, SourceError, state_lock.AlreadyRunningError, OSError: it cannot start.
    """
    process_started_s = time.monotonic() - _process_age_s()
    faulthandler.enable()
    settings = load(config)
    start_logging(settings.log_level)
    log.info("ecosight-edge %s, site %s, device %s", __version__, settings.site, settings.device)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    lock = state_lock.hold(settings.state_dir)
    signals = _Signals()
    watchdog = Watchdog()
    daemon = Daemon(settings, watchdog, process_started_s)
    daemon.start()
    watchdog.ready("listening")
    try:
        while True:
            signals.wait(TICK_S)
            if signals.stop or daemon.orders.restart_wanted.is_set():
                return _end(daemon, watchdog, 0)
            if not daemon.tick():
                failed = daemon.failed
                if not failed:
                    daemon.drain()
                return _end(daemon, watchdog, 1 if failed else 0)
            if signals.reload:
                signals.reload = False
                daemon = _reload(daemon, config, watchdog)
    finally:
        lock.close()


def _end(daemon: Daemon, watchdog: Watchdog, code: int) -> int:
    watchdog.stopping()
    daemon.stop()
    log.info("stopped")
    if daemon.source_hangs:
        # PortAudio's own clean-up at exit would hang as its stream does.
        log.warning("the source hangs; leaving without its clean-up")
        logging.shutdown()
        os._exit(code)
    return code


def _reload(daemon: Daemon, config: Path | None, watchdog: Watchdog) -> Daemon:
    """A daemon on the new settings; the old one goes on where they cannot be used."""
    watchdog.reloading()
    try:
        settings = load(config)
        if settings.state_dir != daemon.settings.state_dir:
            raise SettingsError("state_dir cannot change while the daemon runs; restart it")
        # Looked at before anything is stopped: a bad new model must not end a good old one.
        if choose(settings.detection.model, settings.state_dir).refused:
            raise SettingsError(f"detection.model {settings.detection.model} was refused")
    except (SettingsError, NoModelError) as error:
        log.error("the new configuration is not used, the old one stays: %s", error)
        daemon.reporting.configuration_refused = True
        watchdog.ready("the new configuration was refused")
        return daemon
    if settings == daemon.settings:
        log.info("the configuration is as it was")
        daemon.reporting.configuration_refused = False
        watchdog.ready("listening")
        return daemon
    old = daemon.settings
    daemon.stop()
    try:
        fresh = Daemon(settings, watchdog, time.monotonic())
    except (SourceError, NoModelError, OSError) as error:
        log.error("the new configuration cannot be started, the old one goes on: %s", error)
        fresh = Daemon(old, watchdog, time.monotonic())
        fresh.reporting.configuration_refused = True
    logging.getLogger().setLevel(fresh.settings.log_level.upper())
    fresh.start()
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
