"""Builds the stages, starts them, watches them, stops them; nothing else. ``edge.service`` is the process around it.

Threads: the capture thread (for a microphone, PortAudio's) fills the ring and, while that is quick, scores the window
that it completed; the listening thread scores otherwise, and commits alerts; clips, storage and MQTT have one of their
own; the main thread sees to signals, health and the watchdog.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.audio.source import block_s_for, open_source
from edge.delivery.alerts import AlertDesk, Sender
from edge.delivery.clips import ClipKeeper
from edge.delivery.messages import LocationReport
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from edge.delivery.storage import Storage
from edge.detection.choice import Choice, choose
from edge.detection.detector import Detector
from edge.detection.site import Site
from edge.listening import Listening
from edge.orders import Orders
from edge.reporting import Reporting
from edge.settings import EdgeSettings
from edge.threads import joined
from edge.updates.model.slots import Slots
from edge.updates.overlay import Mute
from edge.updates.overlay_kind import OverlayKind
from edge.updates.program.kind import ProgramKind
from edge.updates.watching import Updates
from edge.upkeep.commands import Commands
from edge.upkeep.liveness import Liveness
from edge.upkeep.noise_floor import NoiseFloor
from edge.upkeep.watchdog import Watchdog

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 3600.0
CORRECTED_AT_ONCE = 50
"""Alerts that get the right time in one tick: a device may have been without it for months."""
STOP_S = 4.0
"""A stop is clean within 5 s; this is what the stages may take of it."""
STAGES = ("capture", "listen", "clips", "mqtt", "storage")
"""What the watchdog watches."""


class Daemon:
    """One life of the detector, from ready to stopped. A reload builds a new one."""

    def __init__(
        self,
        settings: EdgeSettings,
        watchdog: Watchdog,
        wake: Callable[[], None],
        process_started_s: float,
        reloaded: bool = False,
    ) -> None:
        """Load what must work for the daemon to be of any use: model and outbox, and a source that may work.

        ``wake`` makes the main thread call ``tick`` at once; ``process_started_s`` is on the ``time.monotonic`` clock.
        ``reloaded``: an earlier one of this process ended in good order just now.

        Raises:
            NoModelError, SourceError, OSError: it cannot start; the text says why.
        """
        self.settings = settings
        self.started_s = process_started_s
        self.first_window_s: float | None = None
        self.watchdog = watchdog
        self.wake = wake
        self.source_hangs = False
        """The source did not come back when it was stopped: the process must not wait for it at its end."""
        self._correcting = False
        """More alerts wait for the right time."""
        self._stop = threading.Event()
        self._listening_over = threading.Event()
        self._audio_changed = threading.Event()
        self._prune_s = process_started_s + PRUNE_EVERY_S
        # Sound first: a window needs a second of it, and the model is verified and loaded meanwhile.
        block_s = block_s_for(settings.detection.hop_s)
        source = open_source(settings.audio, block_s)
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
        # Whatever fails from here on must not leave a process that hears and cannot tell.
        with contextlib.ExitStack() as undo:
            undo.callback(self.capture.stop, 1.0)
            slots = Slots(settings.state_dir)
            slots.begin(counted=not reloaded)
            self.choice: Choice = choose(settings.detection.model, settings.state_dir, keep=True, state=slots.state)
            slots.missed(self.choice.path, settings.detection.model)
            model = self.choice.model
            self.outbox = Outbox.open(settings.state_dir / "outbox.sqlite3")
            undo.callback(self.outbox.close)
            paced = settings.audio.pace == "real_time" or source.live
            block_frames = round(block_s * source.sample_rate_hz) if paced else 0
            self.site = Site(model, settings.detection, settings.state_dir / "site")
            self.detector = Detector(model, self.ring, settings.detection, block_frames, self.site)
            self.sender = Sender.of(settings, model.name)
            self.clips = ClipKeeper(settings, self.ring, self.clock, model, self.outbox, self._on_message)
            self.orders = Orders(self)
            self.commands = Commands(settings, self.outbox, self.clock.now, self.orders.actions())
            self.mqtt = Mqtt(settings, self.outbox, self.commands.handle, self._on_hint)
            self.storage = Storage(settings, self.outbox, self.clock, self._on_message, self._mqtt_is_busy)
            self.mute = Mute(settings, self.clock.now)
            self.desk = AlertDesk(
                self.sender, self.clock, self.outbox, self.clips, self.mqtt.wake, self.site.marks.keep, self.mute
            )
            self.overlay = OverlayKind(
                settings, lambda: self.desk.alerts, lambda: (self.detector.windows, self.detector.skipped)
            )
            self.program = ProgramKind(settings)
            installs = settings.updates.programs and self.program.installed_by_root
            self.updates = Updates(self, slots, [self.overlay, self.program] if installs else [self.overlay])
            self.reporting = Reporting(self)
            self.listening = Listening(
                self.detector,
                self.ring,
                self.desk.on_events,
                self.updates.switch,
                self._on_turn,
                silence_s=max(settings.detection.merge_s, settings.audio.no_audio_after_s),
                block_s=block_s if paced else 0.0,
            )
            self._listener = threading.Thread(target=self._listen, name="listen", daemon=True)
            undo.pop_all()

    def start(self) -> None:
        """Start every stage; returns at once. Where one cannot be started, the others are stopped before that is
        raised."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        closed = self.outbox.interrupt_orphans(self.clock.now(), "the device stopped before the event ended")
        if closed:
            log.warning("%d alerts of an earlier run were closed as interrupted", len(closed))
        if self.clock.synchronised:
            self._correct_times()  # of an earlier run in this boot, before the clock was set
        if self.sender.place:
            self.mqtt.publish_retained("location", LocationReport(place=self.sender.place).to_json())
        self.clips.start()
        self._listener.start()
        self.capture.on_sound = self.listening.on_sound
        self.mqtt.start()
        self.storage.start()
        self.reporting.start()
        self.updates.start()
        beats: dict[str, Callable[[], int]] = {
            "capture": lambda: self.capture.beat,
            "listen": lambda: self.listening.beat,
            "clips": lambda: self.clips.beat,
            "mqtt": lambda: self.mqtt.beat,
            "storage": lambda: self.storage.beat,
        }
        stands_still: dict[str, Callable[[], bool]] = {
            "mqtt": lambda: self.mqtt.may_stand_still,
            "storage": lambda: self.storage.may_stand_still,
        }
        for name, beat in beats.items():
            self.watchdog.register(name, beat, stands_still.get(name, lambda: False))
        model = self.choice.model
        log.info("listening: model %s %s, hop %g s", model.name.name, model.name.version, self.settings.detection.hop_s)

    def tick(self) -> bool:
        """The main thread's part, every five seconds or so. False when the recording has ended or a stage died."""
        self.watchdog.tick()
        if (self.clock.poll() or self._correcting) and self.clock.synchronised:
            self._correct_times()
        if time.monotonic() >= self._prune_s:
            self._prune_s = time.monotonic() + PRUNE_EVERY_S
            self.outbox.prune(self.clock.now())
            self.site.save()
        if self._audio_changed.is_set():
            self._audio_changed.clear()
            self.reporting.due_at_once = True
        self.reporting.tick()
        return not self._listening_over.is_set()

    def _correct_times(self) -> None:
        """Some of them; the others at the next ticks, at once: each is an fsync, and the watchdog waits."""
        corrected = self.desk.correct_times(CORRECTED_AT_ONCE)
        if corrected:
            log.warning("the clock was set; %d earlier alerts were sent again with the right time", corrected)
        self._correcting = corrected == CORRECTED_AT_ONCE
        if self._correcting:
            self.wake()

    @property
    def due_in_s(self) -> float:
        """Until ``tick`` has something to do that cannot wait."""
        return min(self.reporting.due_in_s, self.watchdog.due_in_s)

    @property
    def failed(self) -> bool:
        """The listening thread ended though the sound did not."""
        return self._listening_over.is_set() and not self._stop.is_set() and not self.capture.ended

    def stop(self) -> None:
        """End every stage within about STOP_S: events end, clips are cut, messages that can leave do."""
        until_s = time.monotonic() + STOP_S

        def left_s(least_s: float = 0.2) -> float:
            return max(least_s, until_s - time.monotonic())

        for name in STAGES:
            self.watchdog.forget(name)
        self._stop.set()
        self.listening.stop()
        self.updates.stop(min(0.5, left_s()))
        self.source_hangs = not self.capture.stop(min(1.0, left_s()))
        self.ring.close()
        joined(self._listener, min(1.0, left_s()))
        self.site.save()
        self.clips.stop(min(2.0, left_s()))
        self.storage.stop(min(1.0, left_s()))
        self.mqtt.stop(left_s())
        self.reporting.stop()
        self.outbox.close()

    @property
    def drained(self) -> bool:
        """After the end of a recording: its clips and messages have left, as far as they can now."""
        unsent = self.outbox.depth > 0 and self.mqtt.connected
        return not (self.clips.busy or self.storage.busy or unsent)

    def _listen(self) -> None:
        try:
            self.listening.run()
        except Exception:
            log.exception("detection failed; the service manager starts it again")
        finally:
            self._listening_over.set()
            self.wake()

    def _on_turn(self) -> None:
        if self.clips.busy:
            self.clips.look()
        if self.first_window_s is None and self.detector.windows + self.detector.gated:
            self.first_window_s = time.monotonic() - self.started_s
            log.info("first window scored %.2f s after the start of the process", self.first_window_s)

    def _on_audio_state(self, problem: str | None) -> None:
        # Told by a capture thread; published by the main one.
        self._audio_changed.set()
        self.wake()
        log.log(logging.WARNING if problem else logging.INFO, "audio: %s", problem or "ok")

    def _on_hint(self, payload: bytes) -> None:
        self.updates.hint(payload)

    def _on_message(self) -> None:
        self.mqtt.wake()
        self.storage.wake()

    def _mqtt_is_busy(self) -> bool:
        return self.mqtt.connected and self.outbox.alerts_waiting > 0
