"""The microphone against a fake of PortAudio's devices; against the real one in tests/integration."""

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio import microphone as microphone_module
from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.microphone import Microphone
from edge.audio.ring import Ring
from edge.audio.source import BLOCK_S, SourceError, SourceLost
from edge.settings import AudioSettings
from edge.upkeep.liveness import Liveness
from tests.edge.audio.fake_portaudio import Device, FakePortAudio
from tests.edge.audio.sysfs import CHEAP_ONE, CHEAP_TWO, SAMSON, add_usb


class Tone:
    """A sine that goes on from block to block."""

    def __init__(self, rate_hz: int, frequency_hz: float = 400.0, amplitude: float = 0.1) -> None:
        self.at = 0
        self._step = 2 * np.pi * frequency_hz / rate_hz
        self._amplitude = amplitude

    def __call__(self, frames: int) -> NDArray[np.float32]:
        n = np.arange(self.at, self.at + frames)
        self.at += frames
        return (self._amplitude * np.sin(self._step * n)).astype(np.float32)


def listen(
    settings: AudioSettings,
    machine: FakePortAudio,
    root: Path,
    seconds: float,
    environment: dict[str, str] | None = None,
) -> Ring:
    ring = Ring(settings.sample_rate_hz, 20.0)
    stop = threading.Event()
    source = Microphone(settings, root=root, environment=environment or {}, fresh=machine.fresh)
    enough = threading.Thread(target=lambda: (ring.wait(round(seconds * ring.sample_rate_hz), 10), stop.set()))
    enough.start()
    try:
        source.run(ring, stop)
    finally:
        ring.close()
        enough.join()
    return ring


@pytest.fixture
def root(tmp_path: Path) -> Path:
    add_usb(tmp_path, SAMSON)
    add_usb(tmp_path, CHEAP_ONE)
    return tmp_path


BY_SERIAL = AudioSettings(device="usb:17a0:0305:S12345")


def test_the_card_is_opened_by_its_number_of_this_moment(root: Path) -> None:
    machine = FakePortAudio(
        [Device("USB Audio Device (hw:1,0)"), Device("HDMI (hw:2,3)", channels=0), Device("Meteor (hw:2,0)")]
    )
    ring = listen(BY_SERIAL, machine, root, 0.3)
    assert machine.opened[0]["device"] == 2
    assert machine.views == ["hardware"]
    assert ring.end >= 0.3 * 48_000
    assert machine.opened[0]["blocksize"] / 48_000 == BLOCK_S


def test_the_chosen_channel_is_copied_out_of_the_buffer(root: Path) -> None:
    machine = FakePortAudio([Device("Array (hw:2,0)", channels=6, play=Tone(48_000))])
    ring = listen(BY_SERIAL.model_copy(update={"channel": 4}), machine, root, 0.3)
    np.testing.assert_allclose(ring.read(0, 9600), 4 * Tone(48_000)(9600), rtol=1e-5, atol=1e-7)


def test_a_channel_that_the_microphone_does_not_have_is_an_error_for_a_person(root: Path) -> None:
    machine = FakePortAudio([Device("Meteor (hw:2,0)", channels=1)])
    with pytest.raises(SourceError, match=r"Meteor.*1 channel.*audio\.channel is 2"):
        listen(BY_SERIAL.model_copy(update={"channel": 2}), machine, root, 0.3)


@pytest.mark.parametrize(
    ("wanted_hz", "has_hz"), [(48_000, (44_100,)), (16_000, (48_000, 96_000)), (192_000, (96_000,))]
)
def test_a_refused_rate_is_resampled_and_said(
    root: Path, caplog: pytest.LogCaptureFixture, wanted_hz: int, has_hz: tuple[int, ...]
) -> None:
    machine = FakePortAudio([Device("Meteor (hw:2,0)", has_hz, play=Tone(has_hz[0]))])
    with caplog.at_level(logging.WARNING):
        ring = listen(BY_SERIAL.model_copy(update={"sample_rate_hz": wanted_hz}), machine, root, 0.8)
    assert f"refuses {wanted_hz} Hz; it is opened at {has_hz[0]} Hz" in caplog.text
    sound = ring.read(0, ring.end)
    middle = slice(wanted_hz // 10, 6 * wanted_hz // 10)
    np.testing.assert_allclose(sound[middle], Tone(wanted_hz)(len(sound))[middle], atol=2e-3)


def test_an_overflow_is_counted_and_becomes_a_gap_of_about_the_lost_time(root: Path) -> None:
    device = Device("Meteor (hw:2,0)", play=Tone(48_000), overflow_at=frozenset({4}), overflow_pause_s=0.5)
    ring = listen(BY_SERIAL, FakePortAudio([device]), root, 1.6)
    assert ring.gap_count == 1
    assert ring.lost_frames / 48_000 == pytest.approx(0.5, abs=0.12)


def test_what_the_driver_drops_is_counted_for_health(root: Path) -> None:
    device = Device("Meteor (hw:2,0)", play=Tone(48_000), overflow_at=frozenset({2, 4}))
    microphone = Microphone(BY_SERIAL, root=root, environment={}, fresh=FakePortAudio([device]).fresh)
    ring = Ring(48_000, 20.0)
    capture = Capture(BY_SERIAL, ring, Clock(48_000), Liveness(), lambda _: None, open_source=lambda _: microphone)
    assert capture.overflows == 0
    capture.start()
    assert ring.wait(48_000, 10)
    assert capture.overflows == 2
    assert capture.stop(2)


def test_an_unplugged_microphone_is_told_from_a_stream_that_ended(root: Path) -> None:
    machine = FakePortAudio([Device("Meteor (hw:2,0)", dies_after=3)])
    with pytest.raises(SourceLost) as ended:
        listen(BY_SERIAL, machine, root, 5.0)
    assert ended.value.reason == "stream_ended"

    class Unplugged(FakePortAudio):
        def InputStream(self, **how: object) -> object:  # noqa: N802
            (root / "sys/class/sound/card2").unlink()
            return super().InputStream(**how)

    with pytest.raises(SourceLost) as lost:
        listen(BY_SERIAL, Unplugged([Device("Meteor (hw:2,0)", dies_after=3)]), root, 5.0)
    assert lost.value.reason == "unplugged"


def test_a_stream_that_is_active_but_gives_nothing_is_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone_module, "SILENT_STREAM_S", 0.3)
    machine = FakePortAudio([Device("Meteor (hw:2,0)", stalls_after=3)])
    with pytest.raises(SourceLost) as lost:
        listen(BY_SERIAL, machine, root, 5.0)
    assert lost.value.reason == "stalled"


def test_a_microphone_held_by_another_program_is_lost_with_a_hint(root: Path) -> None:
    with pytest.raises(SourceLost, match=r"Samson.*held by another program.*audio\.backend: pulse") as lost:
        listen(BY_SERIAL, FakePortAudio([Device("USB Audio Device (hw:1,0)")]), root, 0.1)
    assert lost.value.reason == "busy"


def test_two_identical_microphones_are_refused_before_portaudio_is_touched(root: Path) -> None:
    add_usb(root, CHEAP_TWO)
    machine = FakePortAudio([Device("USB Audio Device (hw:1,0)")])
    with pytest.raises(SourceError, match="usb-port:"):
        listen(AudioSettings(device="usb:0d8c:0014:"), machine, root, 0.1)
    assert machine.views == []


def test_a_service_opens_the_first_card_itself_and_a_session_what_it_prefers(root: Path) -> None:
    devices = [Device("default"), Device("USB Audio Device (hw:1,0)")]
    service = FakePortAudio(devices)
    listen(AudioSettings(), service, root, 0.1, {"INVOCATION_ID": "5f3c"})
    assert (service.views, service.opened[0]["device"]) == (["hardware"], 1)
    session = FakePortAudio(devices)
    listen(AudioSettings(), session, root, 0.1)
    assert (session.views, session.opened[0]["device"]) == (["system"], 0)
    # A default that the machine's owner has configured for ALSA is obeyed by the service too.
    (root / "etc").mkdir()
    (root / "etc/asound.conf").write_text("pcm.!default { type hw card 1 }\n")
    configured = FakePortAudio(devices[::-1])
    listen(AudioSettings(), configured, root, 0.1, {"INVOCATION_ID": "5f3c"})
    assert (configured.views, configured.opened[0]["device"]) == (["system"], 1)


def test_without_any_microphone_the_default_is_lost(tmp_path: Path) -> None:
    for environment in ({}, {"INVOCATION_ID": "5f3c"}):
        with pytest.raises(SourceLost) as lost:
            listen(AudioSettings(), FakePortAudio([]), tmp_path, 0.1, environment)
        assert lost.value.reason == "not_found"


def test_without_the_library_the_package_is_named(root: Path) -> None:
    def fresh(view: str) -> object:
        raise OSError("PortAudio library not found")

    with pytest.raises(SourceError, match="install the package libportaudio2"):
        Microphone(BY_SERIAL, root=root, environment={}, fresh=fresh).run(Ring(48_000, 10), threading.Event())


def test_choosing_no_microphone_imports_no_portaudio() -> None:
    import subprocess
    import sys

    code = (
        "import sys, edge.audio.capture, edge.audio.microphone, edge.audio.recordings, edge.audio.streams;"
        "print([m for m in ('sounddevice', 'soundfile', 'soxr', 'rich', 'typer', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
