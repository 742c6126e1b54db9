"""What the field does to a sound: finite, seeded, in its place, and as physics has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augmentation.field import CHANCE, DEVICE, FIELD, WAY, Effect, clipped, distance, further, in_the_field
from trainer.augmentation.response import Waveform, grid_hz, minimum_phase, through
from trainer.synthesis.forest import forest_response
from trainer.synthesis.spectrum import fft_size

RATE = 16_000
LENGTHENS = {"burst", "forest"}


def a_shot(seconds: float = 0.5, at_s: float = 0.2, peak: float = 0.3) -> Waveform:
    """A jump and a decay of noise, nothing before it."""
    random = np.random.default_rng(3)
    sound = np.zeros(round(seconds * RATE), dtype=np.float32)
    at = round(at_s * RATE)
    t = np.arange(len(sound) - at) / RATE
    sound[at:] = random.standard_normal(len(t)) * np.exp(-t / 0.03)
    return np.asarray(sound * (peak / np.abs(sound).max()), dtype=np.float32)


@pytest.mark.parametrize("name", FIELD)
@settings(deadline=None)
@given(
    kind=st.sampled_from(["shot", "silent", "constant", "loud", "faint"]),
    length=st.sampled_from([0, 1, 2, 100, 5000]),
    seed=st.integers(0, 2**32),
)
def test_an_effect_gives_a_finite_sound_of_the_same_peak_and_of_the_length_it_promises(
    name: str, kind: str, length: int, seed: int
) -> None:
    level = {"shot": 0.3, "silent": 0.0, "constant": 1.0, "loud": 1e6, "faint": 1e-9}[kind]
    waveform = np.full(length, level, dtype=np.float32)
    if kind != "constant":
        waveform *= np.random.default_rng(1).standard_normal(length).astype(np.float32)
    before = waveform.copy()
    heard = FIELD[name](waveform, np.random.default_rng(seed))
    assert np.array_equal(waveform, before), "the input is left alone"
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert len(heard) >= length if name in LENGTHENS else len(heard) == length
    assert np.abs(heard).max(initial=0) == pytest.approx(np.abs(waveform).max(initial=0), rel=1e-3)


@pytest.mark.parametrize("effect", [*FIELD.values(), in_the_field])
def test_the_generator_alone_decides(effect: Effect) -> None:
    first, again, other = (effect(a_shot(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


@pytest.mark.parametrize("effect", [effect for name, effect in FIELD.items() if name != "lossy"])
def test_nothing_is_heard_before_the_shot(effect: Effect) -> None:
    shot = a_shot()
    onset = int(np.flatnonzero(shot)[0])
    for seed in range(10):
        heard = effect(shot, np.random.default_rng(seed))
        assert np.abs(heard[: onset - 1]).max() < 1e-3 * np.abs(heard).max()
        assert np.abs(heard[onset : onset + 160]).max() > 0.05 * np.abs(heard).max()


def test_the_way_of_a_sound_ends_where_the_device_begins() -> None:
    assert list(FIELD) == [*WAY, *DEVICE]
    assert FIELD.keys() == CHANCE.keys()
    assert all(0 < chance < 1 for chance in CHANCE.values())


@pytest.mark.parametrize("name", FIELD)
def test_leaving_an_effect_out_leaves_the_others_as_they_were(name: str) -> None:
    shot = a_shot()
    only = in_the_field(shot, np.random.default_rng(5), frozenset(FIELD) - {name})
    alone = in_the_field(shot, np.random.default_rng(5), among={name: FIELD[name]})
    assert np.array_equal(only, alone)
    changed = sum(
        len(full) != len(less) or not np.array_equal(full, less)
        for full, less in (
            (
                in_the_field(shot, np.random.default_rng(seed)),
                in_the_field(shot, np.random.default_rng(seed), frozenset({name})),
            )
            for seed in range(40)
        )
    )
    assert changed == pytest.approx(40 * CHANCE[name], abs=12)


def test_without_every_effect_a_sound_stays_as_it_is() -> None:
    assert np.array_equal(in_the_field(a_shot(), np.random.default_rng(0), frozenset(FIELD)), a_shot())


def test_an_effect_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="echo: no effect of the field; there are burst, distance"):
        in_the_field(a_shot(), np.random.default_rng(0), frozenset({"echo"}))


def test_the_further_a_shot_the_less_treble_is_left() -> None:
    shot = a_shot()

    def treble_db(metres: float) -> float:
        powers = [np.square(np.abs(np.fft.rfft(distance(shot, metres, np.random.default_rng(s))))) for s in range(10)]
        high, low = (np.mean([power[band].sum() for power in powers]) for band in (slice(3000, None), slice(500, 1500)))
        return float(10 * np.log10(high / low))

    assert treble_db(20) > treble_db(300) + 4 > treble_db(1200) + 15


def test_a_drawn_distance_is_one_of_those_that_are_heard() -> None:
    assert all(np.isfinite(further(a_shot(), np.random.default_rng(seed))).all() for seed in range(30))


def test_a_clipped_sound_stays_long_near_its_peak() -> None:
    wave = np.sin(np.arange(1600) / 7).astype(np.float32)
    for seed in range(10):
        heard = clipped(wave, np.random.default_rng(seed))
        assert np.mean(np.abs(heard) > 0.9) > np.mean(np.abs(wave) > 0.9)


def test_a_burst_repeats_the_shot_within_the_drawn_intervals() -> None:
    click = np.zeros(800, dtype=np.float32)
    click[0] = 1
    for seed in range(30):
        at = np.flatnonzero(FIELD["burst"](click, np.random.default_rng(seed)))
        assert 2 <= len(at) <= 5
        assert at[0] == 0
        assert np.all((np.diff(at) >= 0.1 * RATE - 1) & (np.diff(at) <= 1.5 * RATE + 1))


def test_the_noise_floor_lies_where_it_is_said_to() -> None:
    tone = np.zeros(RATE, dtype=np.float32)
    tone[::4000] = 1
    quiet = np.ones(RATE, dtype=bool)
    quiet[::4000] = False
    floors = [
        float(np.sqrt(np.mean(np.square(FIELD["lossy"](tone, np.random.default_rng(s))[quiet])))) for s in range(60)
    ]
    assert max(floors) < 10 ** (-34 / 20)
    assert sum(floor > 10 ** (-76 / 20) for floor in floors) > 20


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), reverberation_s=st.floats(0.02, 3), wetness_db=st.floats(-30, 10))
def test_a_forest_answers_with_the_energy_it_is_asked_for(seed: int, reverberation_s: float, wetness_db: float) -> None:
    response = forest_response(reverberation_s, wetness_db, RATE, np.random.default_rng(seed))
    assert response[0] == 1
    assert len(response) <= 1.5 * RATE
    assert 10 * np.log10(np.sum(np.square(response[1:]))) == pytest.approx(wetness_db, abs=4)


def test_a_minimum_phase_response_has_the_gain_it_was_made_from_and_comes_at_once() -> None:
    frequency = grid_hz(RATE)
    gain = 1 / (1 + (frequency / 2000) ** 2)
    response = minimum_phase(gain)
    assert np.abs(np.fft.rfft(response)) == pytest.approx(gain, abs=1e-4)
    assert np.sum(np.square(response[:32])) > 0.999 * np.sum(np.square(response))


@settings(deadline=None)
@given(st.integers(1, 30_000), st.integers(1, 3000), st.integers(0, 4000))
def test_sound_through_a_response_is_the_convolution(length: int, taps: int, tail: int) -> None:
    random = np.random.default_rng(length)
    sound = np.zeros(length, dtype=np.float32)
    at = random.integers(length, size=5)
    sound[at] = 1
    response = random.standard_normal(taps).astype(np.float32)
    wanted = np.zeros(length + tail + taps)
    for one in set(at.tolist()):
        wanted[one : one + taps] += response
    assert through(sound, response, tail) == pytest.approx(wanted[: length + tail], abs=1e-3)


@settings(deadline=None)
@given(st.integers(1, 10**7))
def test_a_transform_holds_what_is_asked_and_little_more(samples: int) -> None:
    assert samples <= fft_size(samples) <= max(1.34 * samples, samples + 1)
