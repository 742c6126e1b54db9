"""From captured samples to windows."""

from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audio.frontend import FrontEnd, Window
from edge.audio.logmel import WINDOW_SAMPLES, log_mel

RATES = [8_000, 16_000, 44_100, 48_000, 96_000, 192_000]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def same(left: list[Window], right: list[Window]) -> bool:
    return len(left) == len(right) and all(
        a.start == b.start and a.peak == b.peak and np.array_equal(a.patch, b.patch)
        for a, b in zip(left, right, strict=True)
    )


@given(
    rate=st.sampled_from([16_000, 44_100, 48_000]),
    cuts=st.lists(st.integers(0, 60_000), max_size=20),
    hop_s=st.sampled_from([0.06, 0.24, 0.5, 0.96]),
)
@settings(max_examples=25, deadline=None)
def test_windows_do_not_depend_on_how_the_sound_was_cut_into_blocks(rate: int, cuts: list[int], hop_s: float) -> None:
    sound = noise(rate * 3)
    whole = FrontEnd(rate, hop_s).push(500, sound)
    edges = sorted({0, len(sound), *(min(cut, len(sound)) for cut in cuts)})
    front_end = FrontEnd(rate, hop_s)
    pieces = []
    for first, stop in pairwise(edges):
        pieces += front_end.push(500 + first, sound[first:stop])
    assert whole and same(whole, pieces)


@pytest.mark.parametrize("rate", RATES)
def test_an_impulse_stands_at_the_exact_sample_of_the_window(rate: int) -> None:
    position = rate + rate // 2 + 7
    # A pulse of 0.25 ms, so that its centre is known between samples.
    sound = np.exp(-(((np.arange(3 * rate) - position) / rate / 0.00025) ** 2)).astype(np.float32)
    first = 12_345
    windows = [w for w in FrontEnd(rate, 0.24).push(first, sound) if w.start <= first + position < w.start + 0.9 * rate]
    assert len(windows) >= 3
    for window in windows:
        energy = window.waveform.astype(np.float64) ** 2
        centre = float((np.arange(WINDOW_SAMPLES) * energy).sum() / energy.sum())
        assert abs(centre / 16_000 * rate + window.start - (first + position)) < 0.2


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_after_ten_minutes_a_window_is_still_where_it_says(rate: int) -> None:
    front_end = FrontEnd(rate, 0.96)
    silence = np.zeros(rate * 10, np.float32)
    for block in range(60):
        front_end.push(block * len(silence), silence)
    position = 60 * len(silence) + rate + 5
    pulse = np.exp(-(((np.arange(3 * rate) - rate - 5) / rate / 0.00025) ** 2)).astype(np.float32)
    window = next(w for w in front_end.push(60 * len(silence), pulse) if w.start + rate * 0.9 > position)
    energy = window.waveform.astype(np.float64) ** 2
    centre = float((np.arange(WINDOW_SAMPLES) * energy).sum() / energy.sum())
    assert abs(centre / 16_000 * rate + window.start - position) < 0.2


def test_sound_at_16_khz_passes_bit_exact() -> None:
    sound = noise(50_000)
    windows = FrontEnd(16_000, 0.24).push(0, sound)
    assert len(windows) == 1 + (50_000 - WINDOW_SAMPLES) // 3840
    for window in windows:
        assert np.array_equal(window.waveform, sound[window.start : window.start + WINDOW_SAMPLES])


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_a_window_holds_what_resampling_the_whole_recording_gives(rate: int) -> None:
    sound = noise(rate * 6)
    whole = soxr.resample(sound, rate, 16_000)
    for number, window in enumerate(FrontEnd(rate, 0.24).push(0, sound)):
        np.testing.assert_allclose(window.waveform, whole[number * 3840 :][:WINDOW_SAMPLES], atol=1e-6)


def test_patches_are_the_log_mel_of_their_waveform() -> None:
    for window in FrontEnd(16_000, 0.24).push(0, noise(100_000)):
        np.testing.assert_allclose(window.patch, log_mel(window.waveform), atol=1e-5)


def test_there_is_no_window_before_one_full_real_window() -> None:
    front_end = FrontEnd(16_000, 0.24)
    assert front_end.push(0, noise(WINDOW_SAMPLES - 1)) == []
    assert [w.start for w in front_end.push(WINDOW_SAMPLES - 1, noise(1))] == [0]


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_gap_starts_anew_and_no_window_spans_it(rate: int) -> None:
    front_end = FrontEnd(rate, 0.24)
    before = front_end.push(0, noise(2 * rate))
    resumed = 2 * rate + 777
    after = front_end.push(resumed, noise(2 * rate, seed=1))
    assert before and after[0].start == resumed
    assert same(after, FrontEnd(rate, 0.24).push(resumed, noise(2 * rate, seed=1)))


def test_windows_that_are_held_stay_as_they_were() -> None:
    front_end = FrontEnd(16_000, 0.24)
    held = front_end.push(0, noise(16_000))
    kept = [(w.patch.copy(), w.waveform.copy()) for w in held]
    front_end.push(16_000, noise(16_000 * 30, seed=1))
    for window, (patch, waveform) in zip(held, kept, strict=True):
        assert np.array_equal(window.patch, patch) and np.array_equal(window.waveform, waveform)
        with pytest.raises(ValueError, match="read-only"):
            window.patch[0, 0] = 0


def test_the_peak_is_that_of_the_newest_hop() -> None:
    sound = np.zeros(16_000 * 3, np.float32)
    sound[20_000] = -0.7
    peaks = {w.start: w.peak for w in FrontEnd(16_000, 0.24).push(0, sound)}
    assert [start for start, peak in peaks.items() if peak > 0] == [7680]
    assert peaks[7680] == pytest.approx(0.7)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_reader_that_waits_for_what_is_wanted_gets_a_window_with_nearly_every_push(rate: int) -> None:
    front_end = FrontEnd(rate, 0.24)
    sound = noise(rate * 30)
    position = pushes = windows = 0
    while position < len(sound):
        wanted = front_end.wanted
        found = front_end.push(position, sound[position : position + wanted])
        position, pushes, windows = position + wanted, pushes + 1, windows + len(found)
        assert len(found) <= 1
    assert windows >= 120
    assert pushes <= windows + 15


def test_finish_gives_what_the_resampler_held_back() -> None:
    front_end = FrontEnd(48_000, 0.24)
    samples = WINDOW_SAMPLES * 3
    assert front_end.push(0, noise(samples)) == []
    assert [w.start for w in front_end.finish()] == [0]
    assert front_end.push(0, noise(samples)) == []


@pytest.mark.parametrize("hop_s", [0.0, 0.005, 0.015, 0.97, 1.5])
def test_a_hop_that_is_no_whole_number_of_frames_is_refused(hop_s: float) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        FrontEnd(16_000, hop_s)
