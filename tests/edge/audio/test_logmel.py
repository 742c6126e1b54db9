"""The log-mel spectrogram."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio import logmel
from edge.audio.logmel import WINDOW_SAMPLES, LogMel, frame_count, front_end_hash, log_mel, mel_matrix


@pytest.fixture(scope="module")
def google(yamnet: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with pytest.warns(UserWarning, match="preserve_all_tensors"):
        interpreter = Interpreter(str(yamnet), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def tensor(google: Any, name: str) -> int:
    return next(one["index"] for one in google.get_tensor_details() if one["name"] == name)


def clips(data: Path) -> list[Path]:
    """Every fifteenth clip of the pack, of all its sources."""
    return sorted(p for p in (data / "audio").rglob("*") if p.suffix in (".flac", ".ogg", ".wav"))[::15]


@pytest.mark.data
def test_log_mel_equals_the_front_end_inside_googles_model_on_real_clips(data: Path, google: Any) -> None:
    patch = tensor(google, "feature_patch")
    paths = clips(data)
    worst = 0.0
    for path in paths:
        frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = soxr.resample(frames[:, 0], rate, 16_000)
        middle = max(0, (len(waveform) - WINDOW_SAMPLES) // 2)
        waveform = np.pad(waveform, (0, WINDOW_SAMPLES))[middle : middle + WINDOW_SAMPLES].astype(np.float32)
        google.set_tensor(google.get_input_details()[0]["index"], waveform)
        google.invoke()
        worst = max(worst, float(np.abs(google.get_tensor(patch)[0] - log_mel(waveform)).max()))
    assert len(paths) >= 100
    assert worst <= 1e-5


@pytest.mark.data
def test_filters_equal_the_constants_in_googles_model(google: Any) -> None:
    assert np.abs(google.get_tensor(tensor(google, "mel_spectrogram")).T - mel_matrix()).max() < 1e-7
    assert np.array_equal(google.get_tensor(tensor(google, "stft/hann_window/sub_2")), logmel.hann_window())


def test_silence_is_the_logarithm_of_the_offset() -> None:
    assert np.all(log_mel(np.zeros(WINDOW_SAMPLES, np.float32)) == np.log(np.float32(0.001)))


@pytest.mark.parametrize("band", [3, 20, 45, 60])
def test_a_tone_is_loudest_in_its_own_band(band: int) -> None:
    edges = np.linspace(1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700), 66)
    hertz = 700 * np.expm1(edges[band + 1] / 1127)
    tone = np.sin(2 * np.pi * hertz * np.arange(WINDOW_SAMPLES) / 16_000).astype(np.float32)
    assert set(log_mel(tone).argmax(axis=1)) <= {band - 1, band, band + 1}


@given(st.integers(0, 3000))
@settings(max_examples=30, deadline=None)
def test_it_has_as_many_frames_as_fit_whole(samples: int) -> None:
    frames = log_mel(np.zeros(samples, np.float32))
    assert frames.shape == (frame_count(samples), 64)
    assert frames.shape[0] == len(range(0, samples - 399, 160))


@given(st.integers(1, 96), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_batches_of_any_size_give_the_same_frames(frames: int, seed: int) -> None:
    samples = 400 + 160 * (frames - 1)
    waveform = (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)
    out = np.empty((frames, 64), np.float32)
    LogMel(frames)(waveform, out)
    singly = np.concatenate([log_mel(waveform[160 * i : 160 * i + 400]) for i in range(frames)])
    np.testing.assert_allclose(out, singly, atol=1e-5)


def test_the_public_transform_gives_the_same_where_numpys_inner_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waveform = (np.random.default_rng(0).standard_normal(WINDOW_SAMPLES) * 0.1).astype(np.float32)
    direct = log_mel(waveform)
    monkeypatch.setattr(logmel, "_rfft_into", lambda frames, spectrum: np.copyto(spectrum, np.fft.rfft(frames, axis=1)))
    np.testing.assert_allclose(log_mel(waveform), direct, atol=1e-6)


def test_the_front_end_hash_is_pinned_because_model_files_carry_it() -> None:
    assert front_end_hash() == "b4bc7962dea6a4a665aa175edcac03915b809a37dd27b0e2d1a74da14f639fc6"
    assert front_end_hash({**logmel.FRONT_END, "log_offset": 0.01}) != front_end_hash()
