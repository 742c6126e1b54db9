"""Stretching and shifting: as long and as high as asked, and what is struck stays struck."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augmentation.response import Waveform
from trainer.augmentation.vocoder import shifted, stretched

RATE = 16_000
AT = (5000, 16_000, 27_000)


def tone(hz: float, seconds: float = 2.0, rate_hz: int = RATE) -> Waveform:
    return np.asarray(0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz), dtype=np.float32)


def pitch_hz(waveform: Waveform, rate_hz: int = RATE) -> float:
    """Of the strongest tone, to a part of a Hz."""
    middle = waveform[len(waveform) // 5 : -len(waveform) // 5]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 19))
    return float(np.argmax(spectrum) * rate_hz / (1 << 19))


def blows() -> Waveform:
    """Three of them in faint noise."""
    random = np.random.default_rng(0)
    sound = 0.001 * random.standard_normal(2 * RATE)
    for at in AT:
        sound[at : at + 2000] += random.standard_normal(2000) * np.exp(-np.arange(2000) / 150)
    return np.asarray(0.3 * sound, dtype=np.float32)


@settings(deadline=None)
@given(
    st.integers(0, 5000), st.sampled_from([0.5, 0.9, 1.0, 1.1, 2.0]), st.sampled_from([8000, 16_000, 48_000]),
    st.integers(0, 3),
)  # fmt: skip
def test_a_sound_of_any_length_becomes_as_long_as_asked(length: int, speed: float, rate_hz: int, seed: int) -> None:
    waveform = np.random.default_rng(seed).standard_normal(length).astype(np.float32) * (seed > 0)
    fast, high = stretched(waveform, speed, rate_hz), shifted(waveform, 2, rate_hz)
    assert len(fast) == round(length / speed)
    assert len(high) == length
    assert fast.dtype == high.dtype == np.float32
    assert np.isfinite(fast).all()
    assert np.isfinite(high).all()
    if seed == 0:
        assert not fast.any()


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_tone_keeps_its_pitch_and_its_level_when_it_is_stretched(speed: float) -> None:
    sound = stretched(tone(440), speed, RATE)
    assert pitch_hz(sound) == pytest.approx(440, abs=0.5)
    assert np.sqrt(np.mean(np.square(sound))) == pytest.approx(0.3 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("semitones", [-2, 2])
def test_a_tone_is_shifted_by_semitones_at_any_rate(semitones: int, rate_hz: int) -> None:
    sound = shifted(tone(1000, rate_hz=rate_hz), semitones, rate_hz)
    assert pitch_hz(sound, rate_hz) == pytest.approx(1000 * 2 ** (semitones / 12), rel=1e-3)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_blow_is_the_same_blow_in_its_new_place(speed: float) -> None:
    sound, stretched_sound = blows(), stretched(blows(), speed, RATE)
    for at in AT:
        blow = sound[at : at + 200]
        near = round(at / speed)
        around = stretched_sound[near - 600 : near + 800]
        fits = np.correlate(around, blow) / np.sum(np.square(blow))
        assert fits.max() == pytest.approx(1, abs=0.01), "sample by sample"
        assert abs(int(fits.argmax()) - 600) < 500, "within 30 ms of where time puts it"


def test_a_shifted_blow_begins_where_it_began_and_is_as_sharp() -> None:
    sound = shifted(blows(), 2, RATE)
    for at in AT:
        assert np.abs(sound[at - 900 : at - 500]).max() < 0.01
        assert np.abs(sound[at - 500 : at + 500]).max() > 0.6 * np.abs(blows()[at : at + 500]).max()


def test_what_comes_out_of_silence_is_as_loud_as_it_was() -> None:
    hum = np.concatenate([np.zeros(RATE, dtype=np.float32), tone(300) * np.hanning(2 * RATE).astype(np.float32)])
    sound = stretched(hum, 1.1, RATE)
    assert np.sqrt(np.mean(np.square(sound))) == pytest.approx(np.sqrt(np.mean(np.square(hum))), rel=0.05)


def test_a_long_sound_is_worked_on_in_parts_without_a_seam() -> None:
    long = tone(250, seconds=12)
    sound = stretched(long, 0.9, RATE)
    assert np.abs(np.diff(sound[2000:-2000])).max() < 1.2 * np.abs(np.diff(long)).max()
