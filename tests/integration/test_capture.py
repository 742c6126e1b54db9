"""Capture through a real PortAudio and a real sound server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio import microphone, portaudio
from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.microphone import Microphone
from edge.audio.ring import Ring
from edge.settings import AudioSettings
from edge.upkeep.liveness import Liveness
from tests.servers.pulse import RATE_HZ, PulseServer

pytestmark = pytest.mark.server


def noise(seconds: float, seed: int = 1) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-3000, 3000, round(seconds * RATE_HZ)).astype(np.int16)


class Listening:
    """A capture of the pipe's microphone, and what it said."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        self.settings = AudioSettings(backend="pulse", sample_rate_hz=rate_hz, no_audio_after_s=1.0, retry_s=0.5)
        self.ring = Ring(rate_hz, 30.0)
        self.clock = Clock(rate_hz)
        self.states: list[tuple[float, str | None]] = []
        self.exits: list[str] = []
        self.capture = Capture(
            self.settings,
            self.ring,
            self.clock,
            Liveness(self.settings.no_audio_after_s),
            lambda state: self.states.append((time.monotonic(), state)),
            hard_exit=self.exits.append,
        )

    def until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not true() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return true()


@pytest.fixture
def listening(pulse: PulseServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    monkeypatch.setattr("edge.upkeep.liveness.RECOVERED_AFTER_S", 0.5)
    pulse.background = noise(1.0, seed=99) // 100
    listening = Listening()
    yield listening
    listening.capture.stop(5)


def find(sound: NDArray[np.float32], said: NDArray[np.float32]) -> int:
    """Where ``said`` begins in ``sound``, compared bit for bit; -1 if nowhere."""
    starts = np.flatnonzero(sound == said[0])
    return next((int(at) for at in starts if np.array_equal(sound[at : at + len(said)], said)), -1)


def test_what_the_microphone_hears_is_in_the_ring_bit_for_bit(pulse: PulseServer, listening: Listening) -> None:
    listening.capture.start()
    assert listening.ring.wait(RATE_HZ, 10)
    said = noise(0.5)
    at_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    pulse.say(said)
    assert listening.ring.wait(listening.ring.end + 2 * RATE_HZ, 10)
    sound = listening.ring.read(listening.ring.oldest, listening.ring.end)
    at = find(sound, said.astype(np.float32) / 32768)
    assert at >= 0
    # The clock knows when it was said, up to the buffers of the server and the pipe.
    assert listening.clock.boot_s_of(at) == pytest.approx(at_s, abs=0.6)
    assert listening.capture.problem is None
    assert (listening.ring.gap_count, listening.ring.lost_frames) == (0, 0)


@pytest.mark.parametrize("stall_s", [0.2, 2.4], ids=["within a block", "ten hops"])
def test_who_scores_in_the_callback_may_be_slow_and_no_sound_is_lost_unaccounted(
    pulse: PulseServer, listening: Listening, stall_s: float
) -> None:
    stalls: list[int] = []

    def slow_once() -> None:
        if not stalls and listening.ring.end > 2 * RATE_HZ:
            stalls.append(listening.ring.end)
            time.sleep(stall_s)

    listening.capture.on_sound = slow_once
    said = noise(8.0)
    listening.capture.start()
    assert listening.ring.wait(RATE_HZ // 2, 15)
    pulse.say(said)
    assert listening.until(lambda: bool(stalls), 15)
    assert listening.ring.wait(stalls[0] + 9 * RATE_HZ, 20)
    heard = listening.ring.read(listening.ring.oldest, listening.ring.end)
    as_heard = said.astype(np.float32) / 32768
    first, last = (find(heard, as_heard[at : at + RATE_HZ // 4]) for at in (0, len(said) - RATE_HZ // 2))
    assert 0 <= first < stalls[0] < last, "it was said before and after"
    slip = last - first - (len(said) - RATE_HZ // 2)
    assert abs(slip) <= 0.05 * RATE_HZ, "what the driver dropped stands as a gap"
    if stall_s < 0.24:
        assert slip == 0
        assert listening.ring.lost_frames == 0


def test_another_rate_than_the_servers_is_captured_at_the_rate_that_was_asked(pulse: PulseServer) -> None:
    tone = (8000 * np.sin(2 * np.pi * 1000 * np.arange(8 * RATE_HZ) / RATE_HZ)).astype(np.int16)
    pulse.say(tone)
    listening = Listening(rate_hz=22_050)
    listening.capture.start()
    try:
        assert listening.ring.wait(3 * 22_050, 10)
        sound = listening.ring.read(22_050, 2 * 22_050)
        strongest_hz = np.argmax(np.abs(np.fft.rfft(sound)))
        assert strongest_hz == 1000
    finally:
        assert listening.capture.stop(5)


def test_digital_silence_is_a_fault_although_samples_come(pulse: PulseServer, listening: Listening) -> None:
    pulse.background = np.zeros(0, np.int16)
    listening.capture.start()
    assert listening.until(lambda: listening.capture.problem == "no_audio:silent", 10)
    pulse.background = noise(1.0)
    assert listening.until(lambda: listening.capture.problem is None, 10)
    assert [state for _, state in listening.states] == ["no_audio:silent", None]


def test_a_killed_sound_server_is_noticed_within_ten_seconds_and_capture_comes_back(
    pulse: PulseServer, listening: Listening
) -> None:
    listening.capture.start()
    assert listening.ring.wait(2 * RATE_HZ, 10)
    before_boot_s = listening.clock.boot_s_of(listening.ring.end)
    killed_at_s = time.monotonic()
    pulse.kill()
    assert listening.until(lambda: bool(listening.states), 10)
    assert listening.states[0][0] - killed_at_s < 10
    assert (listening.states[0][1] or "").startswith("no_audio:")
    lost_at = listening.ring.end
    beat = listening.capture.beat
    pulse.start()
    assert listening.until(lambda: listening.ring.end > lost_at + RATE_HZ, 15)
    assert listening.until(lambda: listening.states[-1][1] is None, 10)
    assert listening.capture.beat > beat
    # The index went on with the time: the silence between is one gap, as long as it was.
    (gap,) = listening.ring.gaps(0, listening.ring.end)
    assert gap[0] == lost_at
    missing_s = listening.clock.boot_s_of(listening.ring.end) - before_boot_s
    assert (listening.ring.end - gap[0]) / RATE_HZ == pytest.approx(missing_s, abs=0.5)
    assert not listening.exits


def test_a_capture_started_before_the_sound_server_hears_it_when_it_comes(pulse: PulseServer) -> None:
    pulse.kill()
    listening = Listening()
    listening.capture.start()
    try:
        assert listening.until(lambda: (listening.capture.problem or "").startswith("no_audio:"), 10)
        pulse.background = noise(1.0)
        pulse.start()
        assert listening.ring.wait(RATE_HZ // 2, 15)
        assert listening.until(lambda: listening.capture.problem is None, 10)
    finally:
        assert listening.capture.stop(5)


def test_a_close_that_hangs_ends_the_process_by_the_hook(
    pulse: PulseServer, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audio.capture.ABANDON_S", 1.0)
    monkeypatch.setattr("edge.audio.capture.HUNG_S", 1.0)
    released = threading.Event()
    blocked = threading.Event()
    listening.capture.start()
    assert listening.ring.wait(RATE_HZ, 10)

    def block(frames: NDArray[np.float32]) -> None:
        blocked.set()
        released.wait(30)

    # The callback is stuck when the server dies: PortAudio's close() then waits for it for ever.
    monkeypatch.setattr(listening.ring, "write", block)
    assert blocked.wait(5)
    pulse.kill()
    try:
        assert listening.until(lambda: bool(listening.exits), 15)
        assert "did not return" in listening.exits[0]
    finally:
        released.set()


def test_sound_wakes_the_callback_a_few_times_a_second(pulse: PulseServer, listening: Listening) -> None:
    blocks: list[object] = []
    original = microphone._Callback.__call__

    def counted(self: microphone._Callback, *arguments: object) -> None:
        blocks.append(arguments[1])
        original(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(microphone._Callback, "__call__", counted)
        listening.capture.start()
        assert listening.ring.wait(2 * RATE_HZ, 15)
        assert listening.capture.stop(5)
    audio_s = listening.ring.end / RATE_HZ
    assert len(blocks) / audio_s < 20


def test_portaudio_is_restarted_to_see_what_was_plugged_in_since(pulse: PulseServer) -> None:
    pulse.kill()
    assert "pulse" not in [device["name"] for device in portaudio.fresh("pulse").query_devices()]
    pulse.start()
    assert "pulse" in [device["name"] for device in portaudio.fresh("pulse").query_devices()]


def test_a_machine_without_sound_cards_says_that_none_is_plugged_in(tmp_path: Path) -> None:
    from edge.audio.source import SourceLost

    settings = AudioSettings(device="usb:0d8c:0014:", backend="alsa")
    with pytest.raises(SourceLost, match=r"no microphone usb:0d8c:0014:.*none"):
        Microphone(settings, root=tmp_path).run(Ring(48_000, 10), threading.Event())


def test_a_real_sound_server_is_asked_for_the_source_of_a_card(pulse: PulseServer) -> None:
    from edge.audio.pulse import source_of
    from edge.audio.source import SourceLost

    with pytest.raises(SourceLost, match="does not know sound card 7"):
        source_of(7)
    pulse.kill()
    with pytest.raises(SourceLost) as lost:
        source_of(7)
    assert lost.value.reason == "server_lost"


def test_the_microphone_costs_little_memory(pulse: PulseServer) -> None:
    import subprocess
    import sys

    code = (
        "import numpy; from edge.audio import portaudio;"
        "rss = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS'));"
        "before = rss(); portaudio.fresh('{}'); first = rss();"
        "[portaudio.fresh('{}') for _ in range(50)]; print(first - before, rss() - first)"
    )
    for view, limit_kib in (("hardware", 12_000), ("pulse", 16_000)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(view, view)], capture_output=True, text=True, check=True
        )
        first_kib, growth_kib = map(int, done.stdout.split())
        assert first_kib < limit_kib, view
        assert growth_kib < 2_000, "looking for a lost microphone for hours must not fill the memory"
