"""Streams through a real ffmpeg, from a real HTTP server that comes and goes."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.audio.source import SourceError, SourceLost, open_source
from edge.settings import AudioSettings
from edge.upkeep.liveness import Liveness
from tests.edge.audio.test_recordings import Heard
from tests.servers import missing

pytestmark = pytest.mark.server
RATE_HZ = 16_000


@pytest.fixture(autouse=True)
def _ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        missing("ffmpeg")


def sweep(seconds: float) -> NDArray[np.float32]:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t)).astype(np.float32)


class Radio:
    """Streams a WAV without end at the speed of sound, as a camera or an internet radio does."""

    def __init__(self) -> None:
        self.connections = 0
        self.hang = threading.Event()
        self.cut = threading.Event()
        radio = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                radio.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                noise = np.random.default_rng(1).integers(-3000, 3000, RATE_HZ // 10).astype("<i2")
                header = b"RIFF\xff\xff\xff\xffWAVEfmt " + np.array([16], "<u4").tobytes()
                header += np.array([1, 1], "<u2").tobytes() + np.array([RATE_HZ, 2 * RATE_HZ], "<u4").tobytes()
                header += np.array([2, 16], "<u2").tobytes() + b"data\xff\xff\xff\xff"
                try:
                    self.wfile.write(header)
                    while not radio.cut.is_set():
                        if not radio.hang.is_set():
                            self.wfile.write(noise.tobytes())
                        time.sleep(0.1)
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.wav"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.cut.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def radio() -> Iterator[Radio]:
    radio = Radio()
    yield radio
    radio.close()


def test_a_file_that_only_ffmpeg_reads_is_heard_at_the_configured_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([sweep(2.0), -sweep(2.0)], axis=1), RATE_HZ, subtype="PCM_16")
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", tmp_path / "a.wav", "-c:a", "alac", tmp_path / "a.m4a"], check=True
    )
    settings = AudioSettings(
        source="url", location=str(tmp_path / "a.m4a"), sample_rate_hz=RATE_HZ, channel=2, pace="fast"
    )
    heard = Heard()
    source = open_source(settings)
    assert not source.live
    source.run(heard, threading.Event())
    assert len(heard.sound) >= 2 * RATE_HZ
    np.testing.assert_allclose(heard.sound[: 2 * RATE_HZ], -sweep(2.0), atol=2**-14)


def test_what_ffmpeg_cannot_read_is_an_error_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "words.m4a").write_text("only words")
    settings = AudioSettings(source="url", location=str(tmp_path / "words.m4a"))
    with pytest.raises(SourceError, match=r"ffmpeg cannot read .*words\.m4a: .+"):
        open_source(settings).run(Heard(), threading.Event())


def test_a_stream_that_falls_silent_or_is_refused_is_lost(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.audio.streams.STALLED_S", 3.0)
    heard = Heard()

    def fall_silent() -> None:
        while not len(heard.sound):
            time.sleep(0.02)
        radio.hang.set()

    threading.Thread(target=fall_silent, daemon=True).start()
    with pytest.raises(SourceLost) as lost:
        open_source(AudioSettings(source="url", location=radio.url)).run(heard, threading.Event())
    assert lost.value.reason == "stalled"
    assert len(heard.sound)
    radio.close()
    with pytest.raises(SourceLost, match="refused") as gone:
        open_source(AudioSettings(source="url", location=radio.url)).run(Heard(), threading.Event())
    assert gone.value.reason == "stream_ended"


def test_a_stream_that_was_cut_is_connected_anew_and_leaves_a_gap(radio: Radio) -> None:
    settings = AudioSettings(source="url", location=radio.url, sample_rate_hz=RATE_HZ, retry_s=0.5, no_audio_after_s=2)
    ring = Ring(RATE_HZ, 30.0)
    capture = Capture(settings, ring, Clock(RATE_HZ), Liveness(2.0), lambda state: None)
    capture.start()
    try:
        assert ring.wait(RATE_HZ, 15)
        radio.cut.set()
        time.sleep(0.5)
        radio.cut.clear()
        at = ring.end
        assert ring.wait(at + RATE_HZ, 15)
        assert radio.connections >= 2
        assert ring.gap_count >= 1
        deadline_s = time.monotonic() + 10
        while capture.problem is not None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert capture.problem is None
    finally:
        assert capture.stop(5)
