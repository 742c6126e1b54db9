import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.audio.recordings import FileSource, FolderSource, open_recording
from edge.audio.source import BETWEEN_RECORDINGS, BLOCK_S, SourceError, open_source
from edge.settings import AudioSettings


class Heard:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.blocks: list[NDArray[np.float32]] = []
        self.at_s: list[float] = []
        self.gaps: list[tuple[int, int, str]] = []

    def write(self, frames: NDArray[np.float32]) -> None:
        self.blocks.append(frames.copy())
        self.at_s.append(time.monotonic())

    def gap(self, frames: int, reason: str) -> None:
        self.gaps.append((len(self.sound), frames, reason))

    @property
    def sound(self) -> NDArray[np.float32]:
        return np.concatenate([*self.blocks, np.zeros(0, np.float32)])


def tone(rate_hz: int, seconds: float, frequency_hz: float = 440.0) -> NDArray[np.float32]:
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


def whole(path: Path, channel: int = 1) -> NDArray[np.float32]:
    with open_recording(path, channel) as recording:
        return np.concatenate(list(recording.blocks(0.25)))


@pytest.mark.parametrize(
    ("name", "rate_hz", "subtype", "error"),
    [
        ("eight-bit.wav", 8_000, "PCM_U8", 2**-7),
        ("sixteen.wav", 16_000, "PCM_16", 2**-15),
        ("twenty-four.wav", 48_000, "PCM_24", 2**-22),
        ("float.wav", 44_100, "FLOAT", 0.0),
        ("fast.flac", 96_000, "PCM_24", 2**-22),
        ("highest.wav", 192_000, "PCM_16", 2**-15),
    ],
)
def test_every_encoding_and_rate_gives_the_samples_that_were_written(
    tmp_path: Path, name: str, rate_hz: int, subtype: str, error: float
) -> None:
    written = tone(rate_hz, 1.1)
    soundfile.write(tmp_path / name, written, rate_hz, subtype=subtype)
    with open_recording(tmp_path / name) as recording:
        assert (recording.sample_rate_hz, recording.frames, recording.channels) == (rate_hz, len(written), 1)
    heard = whole(tmp_path / name)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, written, atol=error)


def test_of_six_channels_the_chosen_one_is_heard(tmp_path: Path) -> None:
    channels = np.stack([tone(16_000, 0.7, 100.0 * (c + 1)) for c in range(6)], axis=1)
    soundfile.write(tmp_path / "six.wav", channels, 16_000, subtype="FLOAT")
    for channel in (1, 4, 6):
        np.testing.assert_array_equal(whole(tmp_path / "six.wav", channel), channels[:, channel - 1])


def test_a_channel_that_the_file_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mono.wav", tone(16_000, 0.1), 16_000)
    with pytest.raises(SourceError, match=r"mono\.wav has 1 channel.*audio\.channel is 2"):
        open_recording(tmp_path / "mono.wav", channel=2)


def test_what_is_no_recording_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound in here, only words " * 40)
    soundfile.write(tmp_path / "no-frames.wav", np.zeros(0, np.float32), 16_000)
    for name, text in [
        ("empty.wav", "0 bytes"),
        ("text.wav", "not a sound file"),
        ("no-frames.wav", "no sound"),
        ("absent.wav", "No such file"),
        ("", "is a folder"),
    ]:
        with pytest.raises(SourceError, match=text):
            open_recording(tmp_path / name)


def test_a_truncated_wav_gives_what_is_there(tmp_path: Path) -> None:
    written = tone(16_000, 2.0)
    soundfile.write(tmp_path / "cut.wav", written, 16_000, subtype="PCM_16")
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    heard = whole(tmp_path / "cut.wav")
    assert abs(len(heard) - 16_000) < 50
    np.testing.assert_allclose(heard, written[: len(heard)], atol=2**-15)


def test_a_flac_damaged_anywhere_gives_sound_or_a_clear_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    soundfile.write(tmp_path / "whole.flac", rng.normal(0, 0.1, 48_000).astype(np.float32), 16_000)
    data = (tmp_path / "whole.flac").read_bytes()
    refused = 0
    for number in range(40):
        damaged = bytearray(data[: rng.integers(1, len(data))] if number % 2 else data)
        at = rng.integers(0, len(damaged), 20)
        damaged[:: max(1, len(damaged) // 7)] = b"\x55" * len(damaged[:: max(1, len(damaged) // 7)])
        for where in at:
            damaged[where] ^= 0xFF
        path = tmp_path / f"damaged-{number}.flac"
        path.write_bytes(damaged)
        try:
            heard = whole(path)
            assert np.isfinite(heard).all()
        except SourceError as error:
            refused += 1
            assert path.name in str(error)
    assert refused > 0


def test_samples_that_are_no_numbers_are_read_as_silence_and_counted(tmp_path: Path) -> None:
    written = tone(16_000, 0.5)
    written[[10, 20, 30]] = [np.nan, np.inf, -np.inf]
    soundfile.write(tmp_path / "nan.wav", written, 16_000, subtype="FLOAT")
    with open_recording(tmp_path / "nan.wav") as recording:
        heard = np.concatenate(list(recording.blocks()))
        assert recording.replaced == 3
    assert np.isfinite(heard).all()
    assert (heard[[10, 20, 30]] == 0).all()
    assert heard[11] == written[11]


def test_a_file_at_real_pace_arrives_as_from_a_microphone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16_000, 0.55), 16_000, subtype="FLOAT")
    heard = Heard()
    source = open_source(AudioSettings(source="file", location=str(tmp_path / "a.wav")))
    assert isinstance(source, FileSource)
    assert source.sample_rate_hz == 16_000
    started_s = time.monotonic()
    source.run(heard, threading.Event())
    assert len(heard.sound) == 8_800
    assert heard.at_s[-1] - started_s == pytest.approx(0.55, abs=0.2)
    assert heard.at_s[0] - started_s >= BLOCK_S


def test_a_file_as_fast_as_possible_does_not_take_its_time(tmp_path: Path) -> None:
    written = tone(16_000, 60.0)
    soundfile.write(tmp_path / "a.wav", written, 16_000, subtype="FLOAT")
    heard = Heard()
    started_s = time.monotonic()
    FileSource(AudioSettings(source="file", location=str(tmp_path / "a.wav"), pace="fast")).run(
        heard, threading.Event()
    )
    assert time.monotonic() - started_s < 5
    np.testing.assert_array_equal(heard.sound, written)


def test_a_file_stops_when_it_is_told_to(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(8_000, 30.0), 8_000)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started_s = time.monotonic()
    open_source(AudioSettings(source="file", location=str(tmp_path / "a.wav"))).run(Heard(), stop)
    assert time.monotonic() - started_s < 2


def test_a_folder_plays_all_files_at_one_rate_and_skips_a_bad_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(tmp_path / "1.wav", tone(16_000, 1.0), 16_000, subtype="FLOAT")
    (tmp_path / "2-bad.wav").write_bytes(b"RIFF")
    (tmp_path / "deeper").mkdir()
    soundfile.write(tmp_path / "deeper" / "3.flac", tone(44_100, 1.0), 44_100)
    (tmp_path / "notes.txt").write_text("not a recording")
    heard = Heard()
    source = open_source(AudioSettings(source="folder", location=str(tmp_path), pace="fast", sample_rate_hz=32_000))
    assert isinstance(source, FolderSource)
    assert source.sample_rate_hz == 32_000
    source.run(heard, threading.Event())
    assert "2-bad.wav" in caplog.text
    assert [reason for _, _, reason in heard.gaps] == [BETWEEN_RECORDINGS] * 3
    assert len(heard.sound) == pytest.approx(64_000, abs=2)
    # Resampled in place: sample k of the output is the instant k / rate of the file.
    for start in (0, 32_000):
        np.testing.assert_allclose(
            heard.sound[start + 3000 : start + 29_000], tone(32_000, 1.0)[3000:29_000], atol=2e-3
        )


def test_a_folder_without_a_readable_recording_is_an_error(tmp_path: Path) -> None:
    settings = AudioSettings(source="folder", location=str(tmp_path), pace="fast")
    with pytest.raises(SourceError, match="holds no recording"):
        open_source(settings)
    (tmp_path / "bad.wav").touch()
    with pytest.raises(SourceError, match="none of the 1"):
        open_source(settings).run(Heard(), threading.Event())
    with pytest.raises(SourceError, match="not a folder"):
        open_source(AudioSettings(source="folder", location=str(tmp_path / "absent")))


@pytest.mark.data
def test_real_recordings_are_read_whole(data: Path) -> None:
    paths = sorted((data / "audio" / "sesa").rglob("*.flac"))[:40]
    assert paths
    for path in paths:
        with open_recording(path) as recording:
            assert sum(len(block) for block in recording.blocks(0.3)) == recording.frames
