"""Files to sound: a right result, or one clear sentence."""

import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edge.audio.logmel import SAMPLE_RATE_HZ
from tests.trainer.data.sounds import sound, write
from trainer.data.decoding import DecodingError, blocks, inspect, read, read_part

ENCODINGS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}


@pytest.mark.parametrize("ending", ENCODINGS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_every_format_and_rate_becomes_16_khz_mono(tmp_path: Path, ending: str, rate_hz: int) -> None:
    path = write(tmp_path / f"a.{ending}", sound(1, 1.0, rate_hz), rate_hz)
    heard = read(path)
    assert heard.dtype == np.float32 and heard.ndim == 1
    assert abs(len(heard) - SAMPLE_RATE_HZ) < 1200  # an MP3 has its padding
    assert 0.15 < np.abs(heard).max() < 0.5
    found = inspect(path)
    assert (found.sample_rate_hz, found.channels) == (rate_hz, 1)


def test_the_first_channel_is_heard_as_on_the_device(tmp_path: Path) -> None:
    left, right = sound(1), sound(2)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_array_equal(read(path), left)


@pytest.mark.parametrize("content", ENCODINGS)
@pytest.mark.parametrize("ending", ENCODINGS)
def test_the_content_decides_and_not_the_ending(tmp_path: Path, content: str, ending: str) -> None:
    right = write(tmp_path / f"right.{content}", sound(1))
    wrong = tmp_path / f"wrong.{ending}"
    wrong.write_bytes(right.read_bytes())
    np.testing.assert_array_equal(read(wrong), read(right))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty \\(0 bytes\\)"),
        (b"hello world\n" * 500, "is not a sound file"),
        (bytes(range(256)) * 100, "is not a sound file"),
        (b"RIFF\0\0\0\0WAVE", "is not a sound file|no sound"),
    ],
)
@pytest.mark.parametrize("ending", ENCODINGS)
def test_what_is_no_sound_is_said_to_be_none(tmp_path: Path, content: bytes, said: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(DecodingError, match=f"a.{ending}.*({said})"):
        inspect(path)


def test_the_advice_is_meant_for_people_who_train(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("no sound")
    with pytest.raises(DecodingError, match="convert it to WAV or FLAC"):
        inspect(path)


@pytest.mark.parametrize("ending", ENCODINGS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_its_beginning_or_refused(tmp_path: Path, ending: str, share: float) -> None:
    whole = write(tmp_path / f"whole.{ending}", sound(1, 8.0))
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    try:
        found = inspect(cut)
    except DecodingError as error:
        assert f"cut.{ending}" in str(error)
        return
    heard = read(cut)
    assert found.seconds <= 8.0 * share + 1.0
    # What an MP3 or Ogg decoder makes of the last frame depends on what comes behind it.
    sure = max(0, len(heard) - 4000)
    np.testing.assert_allclose(heard[:sure], read(whole)[:sure], atol=1e-4)


@given(damage=st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=40)), min_size=1, max_size=8))
@pytest.mark.parametrize("ending", ENCODINGS)
def test_a_damaged_file_is_sound_or_an_error_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, ending: str, damage: list[tuple[int, bytes]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(_whole(folder, ending))
    for at, replacement in damage:
        content[at : at + len(replacement)] = replacement
    path = folder / f"damaged.{ending}"
    path.write_bytes(content)
    try:
        found = inspect(path)
    except DecodingError as error:
        assert str(path) in str(error)
    else:
        assert found.seconds > 0 and found.peak <= 16


def _whole(folder: Path, ending: str) -> bytes:
    path = folder / f"undamaged.{ending}"
    return (path if path.exists() else write(path, sound(1, 0.5))).read_bytes()


def test_a_few_samples_that_are_no_numbers_are_silence_and_many_are_an_error(tmp_path: Path) -> None:
    waveform = sound(1)
    waveform[100:110] = np.nan
    waveform[200] = np.inf
    path = write(tmp_path / "few.wav", waveform, subtype="FLOAT")
    found = inspect(path)
    assert found.notes == ("11 samples are no numbers and were read as silence",)
    assert np.isfinite(read(path)).all()
    assert np.isfinite(read_part(path, 0, 1)).all()
    waveform[: len(waveform) // 2] = np.nan
    with pytest.raises(DecodingError, match="50 % of its samples are no numbers"):
        inspect(write(tmp_path / "many.wav", waveform, subtype="FLOAT"))


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_a_silent_file_is_refused(tmp_path: Path, level: float) -> None:
    with pytest.raises(DecodingError, match="is silent: all samples of it are"):
        inspect(write(tmp_path / "a.wav", np.full(16000, level, np.float32), subtype="FLOAT"))
    stereo = np.stack([np.zeros(16000, np.float32), sound(1, 1.0)], axis=1)
    with pytest.raises(DecodingError, match="silent: all samples of its first channel"):
        inspect(write(tmp_path / "b.wav", stereo))


def test_integers_written_as_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodingError, match="its samples reach 30000, full scale is 1"):
        inspect(write(tmp_path / "a.wav", np.linspace(-30000, 30000, 16000, dtype=np.float32), subtype="FLOAT"))


@pytest.mark.parametrize(
    "name", ["é ü 漢字 🐘.wav", "two\nlines.wav", "-rf.wav", "a'b\"c;$(d).wav", "tab\t.wav", "x" * 200 + ".wav"]
)
def test_any_name_is_read_and_an_error_is_one_line(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, sound(1))
    assert inspect(path).seconds == 2.0
    path.write_bytes(b"")
    with pytest.raises(DecodingError) as caught:
        inspect(path)
    assert "\n" not in str(caught.value)


def test_the_same_samples_in_another_file_have_the_same_hash(tmp_path: Path) -> None:
    waveform = np.rint(sound(1) * 2**15).astype(np.int16)
    one, other = tmp_path / "a.wav", tmp_path / "b.flac"
    soundfile.write(one, waveform, 16000)
    soundfile.write(other, waveform, 16000)
    assert inspect(one).samples_sha256 == inspect(other).samples_sha256
    assert inspect(one).sha256 != inspect(other).sha256
    soundfile.write(other, waveform, 22050)
    assert inspect(one).samples_sha256 != inspect(other).samples_sha256


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_blocks_are_the_whole_and_a_part_is_a_piece_of_it(tmp_path: Path, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", sound(1, 3.0, rate_hz), rate_hz)
    whole = read(path)
    np.testing.assert_array_equal(np.concatenate(list(blocks(path, 0.1))), whole)
    part = read_part(path, 1.0, 2.0)
    assert abs(len(part) - 16000) <= 1
    inner = slice(1000, 15000)  # a resampler that begins at the part's edge does not know what stood before it
    np.testing.assert_allclose(part[inner], whole[16000:32000][inner], atol=2e-3)
    assert len(read_part(path, -1.0, 0.5)) == 8000
    assert len(read_part(path, 5.0, 6.0)) == 0


HOURS_OF_IT = """
import sys
from pathlib import Path
from trainer.data.decoding import inspect
found = inspect(Path(sys.argv[1]))
# Not ru_maxrss: it begins with the memory of whoever started this.
peak_kib = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])
print(found.seconds, len(found.fingerprint.at_ms) > 0, peak_kib // 1024)
"""


def test_three_hours_take_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    peaks = []
    for seconds in (60, 3 * 3600):
        path = tmp_path / f"{seconds}.wav"
        _mostly_holes(path, seconds)
        done = subprocess.run([sys.executable, "-c", HOURS_OF_IT, path], capture_output=True, text=True, check=False)
        length, has_anchors, peak_mib = done.stdout.split()
        assert (float(length), has_anchors) == (seconds, "True"), done.stderr
        peaks.append(int(peak_mib))
    assert peaks[1] < peaks[0] + 32
    assert peaks[1] < 300


def _mostly_holes(path: Path, seconds: int) -> None:
    """A sparse WAV at 8 kHz: five seconds of sound, then silence that takes no disk."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((sound(1, 5.0, 8000) * 32767).astype("<i2").tobytes())
    size = 44 + seconds * 8000 * 2
    with path.open("r+b") as file:
        file.truncate(size)
        for at, value in ((4, size - 8), (40, size - 44)):
            file.seek(at)
            file.write(struct.pack("<I", value))
