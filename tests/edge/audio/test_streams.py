import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio import streams
from edge.audio.source import SourceError, open_source
from edge.audio.streams import FfmpegStream, StdinStream, decode
from edge.settings import AudioSettings
from tests.edge.audio.test_recordings import Heard


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), max_size=200))
def test_every_raw_format_decodes_to_the_same_sound(values: list[float]) -> None:
    sound = np.array(values, np.float64)
    for name, bits in (("s16le", 16), ("s24le", 24), ("s32le", 32)):
        whole = np.clip(np.round(sound * 2 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype("<i4")
        raw = whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
        decoded = decode(raw, name)
        assert decoded.dtype == np.float32
        np.testing.assert_allclose(decoded, sound, atol=2.0 ** (1 - bits) + 1e-7)
    np.testing.assert_array_equal(decode(sound.astype("<f4").tobytes(), "f32le"), sound.astype(np.float32))


def test_raw_floats_that_are_no_numbers_are_silence() -> None:
    raw = np.array([0.5, np.nan, np.inf, -np.inf, -0.5], "<f4").tobytes()
    np.testing.assert_array_equal(decode(raw, "f32le"), np.array([0.5, 0, 0, 0, -0.5], np.float32))


def through_a_pipe(settings: AudioSettings, chunks: list[bytes], pause_s: float = 0.0) -> Heard:
    reading, writing = os.pipe()
    heard = Heard()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for chunk in chunks:
                pipe.write(chunk)
                time.sleep(pause_s)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        StdinStream(settings, stream).run(heard, threading.Event())
    writer.join()
    return heard


def test_the_chosen_channel_of_raw_pcm_comes_out_whole_however_the_pipe_cuts_it() -> None:
    frames = np.random.default_rng(1).integers(-30_000, 30_000, (20_000, 3)).astype("<i2")
    raw = frames.tobytes()
    cuts = [0, 1, 2, 3, 1000, 1001, 50_001, len(raw)]
    heard = through_a_pipe(
        AudioSettings(source="stdin", stdin_channels=3, channel=2, sample_rate_hz=8_000),
        [raw[a:b] for a, b in pairwise(cuts)],
        pause_s=0.01,
    )
    np.testing.assert_array_equal(heard.sound, frames[:, 1].astype(np.float32) / 32768)


def test_a_pause_of_the_writer_does_not_move_the_ends_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.02)
    raw = bytes(range(240)) * 2 * 40  # 240 ms a block, at 8 kHz and 16 bits: 3840 bytes
    heard = through_a_pipe(AudioSettings(source="stdin", sample_rate_hz=8_000), [raw[:5000], raw[5000:]], pause_s=0.3)
    lengths = [len(block) for block in heard.blocks]
    assert lengths == [1920, 580, 1340, 1920, 1920, 1920]
    np.testing.assert_array_equal(heard.sound, np.frombuffer(raw, "<i2").astype(np.float32) / 32768)


def test_a_pipe_that_ends_inside_a_frame_gives_the_whole_frames() -> None:
    heard = through_a_pipe(AudioSettings(source="stdin", stdin_format="s24le"), [b"\x00\x00\x40" * 10 + b"\x01"])
    np.testing.assert_array_equal(heard.sound, np.full(10, 0.5, np.float32))


def test_a_silent_writer_is_waited_for_and_stopping_does_not_wait() -> None:
    reading, writing = os.pipe()
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began_s = time.monotonic()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        StdinStream(AudioSettings(source="stdin"), stream).run(Heard(), stop)
    os.close(writing)
    assert 0.25 < time.monotonic() - began_s < 2.0


def test_a_channel_that_standard_input_does_not_have_is_refused() -> None:
    with pytest.raises(SourceError, match=r"audio\.channel is 2.*stdin_channels is only 1"):
        open_source(AudioSettings(source="stdin", channel=2))


def test_without_ffmpeg_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = open_source(AudioSettings(source="url", location="rtsp://camera/stream"))
    assert isinstance(source, FfmpegStream)
    assert source.live
    with pytest.raises(SourceError, match="install the package ffmpeg"):
        source.run(Heard(), threading.Event())


def test_the_password_of_a_url_stays_out_of_its_description() -> None:
    assert "secret" not in FfmpegStream(AudioSettings(source="url", location="http://u:secret@host/x")).description
