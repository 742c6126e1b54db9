"""Capture against sources that behave as real ones do when they fail; the real ones are in tests/integration."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.audio import capture as capture_module
from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.audio.source import Sink, Source, SourceError, SourceLost, open_source
from edge.settings import AudioSettings
from edge.upkeep.liveness import Liveness

RATE_HZ = 8_000
SOUND = np.random.default_rng(0).normal(0, 0.05, RATE_HZ // 10).astype(np.float32)


class Card:
    """A live source that plays a script, one step for each time it is opened."""

    live = True
    description = "a scripted card"
    latency_s = 0.0

    def __init__(self, script: Callable[[Sink, threading.Event], None], rate_hz: int = RATE_HZ) -> None:
        self.sample_rate_hz = rate_hz
        self._script = script

    def run(self, sink: Sink, stop: threading.Event) -> None:
        self._script(sink, stop)


def deliver(frames: NDArray[np.float32], seconds: float = 1e9) -> Callable[[Sink, threading.Event], None]:
    def script(sink: Sink, stop: threading.Event) -> None:
        for _ in range(round(seconds * 10)):
            if stop.wait(0.1):
                return
            sink.write(frames)

    return script


class Rig:
    def __init__(self, settings: AudioSettings, open_source: Callable[[AudioSettings], Source], ring_s: float = 20.0):
        self.ring = Ring(settings.sample_rate_hz, ring_s)
        self.clock = Clock(settings.sample_rate_hz)
        self.states: list[str | None] = []
        self.exits: list[str] = []
        self.capture = Capture(
            settings,
            self.ring,
            self.clock,
            Liveness(settings.no_audio_after_s),
            self.states.append,
            open_source=open_source,
            hard_exit=self.exits.append,
        )

    def until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not true() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return true()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "TICK_S", 0.05)
    monkeypatch.setattr(capture_module, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(capture_module, "ABANDON_S", 0.4)
    monkeypatch.setattr(capture_module, "HUNG_S", 0.4)
    monkeypatch.setattr("edge.upkeep.liveness.RECOVERED_AFTER_S", 0.3)


SETTINGS = AudioSettings(sample_rate_hz=RATE_HZ, no_audio_after_s=0.5, retry_s=0.1)


def lost(sink: Sink, stop: threading.Event) -> None:
    raise SourceLost("not_found", "no microphone usb:1:2:")


def test_a_microphone_that_is_not_there_is_retried_for_ever_and_named() -> None:
    opened: list[float] = []

    def open_it(settings: AudioSettings) -> Source:
        opened.append(time.monotonic())
        return Card(lost if len(opened) < 15 else deliver(SOUND))

    rig = Rig(SETTINGS, open_it)
    rig.capture.start()
    assert rig.until(lambda: rig.capture.problem == "no_audio:not_found")
    assert "usb:1:2:" in rig.capture.detail
    assert rig.until(lambda: rig.capture.problem is None)
    assert rig.states == ["no_audio:not_found", None]
    # Capped backoff: never in a storm, never slower than retry_s.
    pauses = np.diff(opened)
    assert pauses.max() < 1
    assert pauses[4:].min() > 0.08
    assert rig.capture.stop(2)


def test_a_bug_in_a_source_does_not_end_listening() -> None:
    opened = []

    def open_it(settings: AudioSettings) -> Source:
        opened.append(1)
        if len(opened) == 1:
            raise KeyError("a bug")
        if len(opened) == 2:
            raise SourceError("two microphones fit", "ambiguous")
        return Card(deliver(SOUND))

    rig = Rig(SETTINGS, open_it)
    rig.capture.start()
    assert rig.ring.wait(RATE_HZ // 2, 5)
    assert rig.capture.problem is None
    assert rig.capture.stop(2)


def test_an_unplugged_microphone_leaves_a_gap_as_long_as_its_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "ABANDON_S", 5.0)
    scripts = iter([deliver(SOUND, 1.0), deliver(SOUND)])

    def open_it(settings: AudioSettings) -> Source:
        script = next(scripts)

        def run(sink: Sink, stop: threading.Event) -> None:
            script(sink, stop)
            if not stop.wait(0.7):
                raise SourceLost("unplugged")

        return Card(run)

    rig = Rig(SETTINGS, open_it)
    rig.capture.start()
    assert rig.ring.wait(3 * RATE_HZ, 10)
    assert rig.capture.stop(2)
    ((start, stop),) = rig.ring.gaps(0, rig.ring.end)
    assert start == RATE_HZ
    assert (stop - start) / RATE_HZ == pytest.approx(0.75, abs=0.25)
    assert rig.clock.boot_s_of(rig.ring.end) == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=0.5)


@pytest.mark.parametrize(("value", "code"), [(0.0, "silent"), (0.1, "constant")])
def test_dead_samples_are_a_problem_and_the_card_is_opened_anew(
    value: float, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.upkeep.liveness.ESCALATE_AFTER_S", 0.3)
    opened = []

    def open_it(settings: AudioSettings) -> Source:
        opened.append(1)
        return Card(deliver(np.full_like(SOUND, value) if len(opened) < 3 else SOUND))

    rig = Rig(SETTINGS, open_it)
    rig.capture.start()
    assert rig.until(lambda: rig.capture.problem == f"no_audio:{code}")
    assert rig.until(lambda: len(opened) == 3, 20)
    assert rig.until(lambda: rig.capture.problem is None)
    assert rig.states[0] == f"no_audio:{code}"
    assert rig.states[-1] is None
    assert rig.capture.stop(2)
    assert not rig.exits


def test_a_stream_that_falls_silent_without_an_end_is_given_up_and_opened_anew() -> None:
    opened = []

    def stall(sink: Sink, stop: threading.Event) -> None:
        deliver(SOUND, 0.3)(sink, stop)
        stop.wait()

    def open_it(settings: AudioSettings) -> Source:
        opened.append(1)
        return Card(stall if len(opened) == 1 else deliver(SOUND))

    rig = Rig(SETTINGS, open_it)
    rig.capture.start()
    assert rig.until(lambda: len(opened) == 2)
    assert rig.ring.wait(RATE_HZ, 5)
    assert rig.capture.stop(2)
    assert not rig.exits


def test_a_source_that_never_returns_ends_the_process_and_stops_the_beat() -> None:
    released = threading.Event()

    def hang(sink: Sink, stop: threading.Event) -> None:
        deliver(SOUND, 0.3)(sink, stop)
        released.wait()

    rig = Rig(SETTINGS, lambda settings: Card(hang))
    rig.capture.start()
    try:
        assert rig.until(lambda: bool(rig.exits))
        beat = rig.capture.beat
        assert not rig.capture.stop(0.3), "a source that hangs is not waited for"
        assert rig.capture.beat == beat
    finally:
        released.set()


def test_a_callback_of_an_earlier_stream_cannot_write_any_more() -> None:
    sinks: list[Sink] = []

    def keep(sink: Sink, stop: threading.Event) -> None:
        sinks.append(sink)
        if len(sinks) == 1:
            raise SourceLost("server_lost")
        stop.wait()

    rig = Rig(SETTINGS, lambda settings: Card(keep))
    rig.capture.start()
    assert rig.until(lambda: len(sinks) == 2)
    sinks[0].write(SOUND)
    sinks[0].gap(5, "overflow")
    assert rig.ring.end == 0
    sinks[1].write(SOUND)
    assert rig.ring.end == len(SOUND)
    assert rig.capture.stop(2)


def test_sound_lost_unnoticed_becomes_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.audio.clock.BUCKET_S", 0.8)
    monkeypatch.setattr(capture_module, "ABANDON_S", 5.0)
    dropped_s: list[float] = []

    def drop(sink: Sink, stop: threading.Event) -> None:
        deliver(SOUND, 1.5)(sink, stop)
        began_s = time.monotonic()
        time.sleep(0.3)  # the card went on; nothing was flagged
        dropped_s.append(time.monotonic() - began_s)
        deliver(SOUND)(sink, stop)

    rig = Rig(SETTINGS, lambda settings: Card(drop))
    rig.capture.start()
    assert rig.until(lambda: rig.ring.gap_count == 1)
    assert rig.ring.lost_frames / RATE_HZ == pytest.approx(dropped_s[0], abs=0.1)
    time.sleep(1.0)
    assert rig.ring.gap_count == 1
    assert rig.capture.stop(2)


def test_another_rate_than_the_rings_is_resampled() -> None:
    sine = np.sin(2 * np.pi * 500 * np.arange(1600) / 16_000).astype(np.float32)
    rig = Rig(SETTINGS, lambda settings: Card(deliver(sine), rate_hz=16_000))
    rig.capture.start()
    assert rig.ring.wait(RATE_HZ + 800, 5)
    assert rig.capture.stop(2)
    sound = rig.ring.read(800, 800 + RATE_HZ)
    assert np.argmax(np.abs(np.fft.rfft(sound))) == 500


def recording(tmp_path: Path, seconds: float) -> AudioSettings:
    frames = np.arange(round(seconds * RATE_HZ)) % 30_000
    soundfile.write(tmp_path / "long.wav", frames.astype(np.int16), RATE_HZ)
    return AudioSettings(source="file", location=str(tmp_path / "long.wav"), pace="fast", sample_rate_hz=RATE_HZ)


def test_a_recording_played_fast_never_outruns_its_reader(tmp_path: Path) -> None:
    settings = recording(tmp_path, 300.0)
    rig = Rig(settings, open_source, ring_s=10.0)
    rig.ring.reader_position = 0
    rig.capture.start()
    position = 0
    while rig.ring.wait(position + 4000, 5):
        np.testing.assert_array_equal(
            rig.ring.read(position, position + 4000) * 32768, np.arange(position, position + 4000) % 30_000
        )
        position += 4000
        rig.ring.reader_position = position
    assert position == 300 * RATE_HZ
    assert rig.until(lambda: rig.capture.ended)
    assert rig.capture.problem is None
    assert (rig.ring.overruns, rig.ring.lost_frames) == (0, 0)
    assert rig.capture.stop(2)


def test_a_recording_whose_reader_has_died_still_stops(tmp_path: Path) -> None:
    rig = Rig(recording(tmp_path, 60.0), open_source, ring_s=10.0)
    rig.ring.reader_position = 0
    rig.capture.start()
    assert rig.ring.wait(2 * RATE_HZ, 5)
    time.sleep(1.0)
    assert not rig.capture.ended
    assert rig.states == [], "waiting for the reader is no silence"
    assert rig.capture.stop(2)


def test_a_bad_recording_is_an_end_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    rig = Rig(AudioSettings(source="file", location=str(tmp_path / "empty.wav"), sample_rate_hz=RATE_HZ), open_source)
    rig.capture.start()
    assert rig.until(lambda: rig.capture.ended)
    assert rig.capture.problem == "no_audio:bad_recording"
    assert "0 bytes" in rig.capture.detail
    assert rig.ring.closed
    assert rig.capture.stop(2)


def test_capture_stops_before_it_was_started_and_twice() -> None:
    rig = Rig(SETTINGS, lambda settings: Card(deliver(SOUND)))
    assert rig.capture.stop(1)
    assert rig.capture.stop(1)
