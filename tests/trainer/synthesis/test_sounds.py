"""The procedural sounds: finite, seeded, as long as asked, at any rate, and as impulsive as they are said to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.synthesis.creaks import slips
from trainer.synthesis.engines import firing
from trainer.synthesis.gaits import boar, hoofs, running_on_gravel, steps_on_boards
from trainer.synthesis.grains import at_random, banked, in_rhythm, placed, scattered
from trainer.synthesis.guns import KINDS, drawn_gun_and_place, drawn_shot
from trainer.synthesis.hail import fall_mps
from trainer.synthesis.rain import drop_blows
from trainer.synthesis.rooms import room_response
from trainer.synthesis.sounds import SOUNDS
from trainer.synthesis.spectrum import around, convolved, drift, noise
from trainer.synthesis.struck import BODIES, ring, strike
from trainer.synthesis.thunder import thunder_from
from trainer.synthesis.vessels import bouncing_ball

RATES = (16_000, 48_000)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_is_finite_and_as_long_and_as_loud_as_promised(name: str, rate_hz: int) -> None:
    for seed, seconds in ((1, 1.5), (2, 0.3), (3, 0.2)):
        sound = SOUNDS[name].make(seconds, rate_hz, np.random.default_rng(seed))
        assert sound.dtype == np.float64
        assert len(sound) == round(seconds * rate_hz)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() == pytest.approx(1)


@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_follows_from_its_seed_and_another_seed_gives_another(name: str) -> None:
    first, again, other = (SOUNDS[name].make(1.0, 16_000, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def crest(sound: np.ndarray) -> float:
    """Peak over the median level of its 10 ms pieces."""
    pieces = np.abs(sound[: len(sound) // 160 * 160]).reshape(-1, 160).max(axis=1)
    return float(pieces.max() / max(float(np.median(pieces)), 1e-4))


def test_what_is_called_impulsive_stands_out_of_its_own_level_and_the_rest_does_not() -> None:
    def typical(name: str) -> float:
        return float(np.median([crest(SOUNDS[name].make(2.0, 16_000, np.random.default_rng(s))) for s in range(5)]))

    for name in ("wind", "leaves_in_wind", "cicadas", "chainsaw", "two_stroke", "hand_saw"):
        assert not SOUNDS[name].impulsive
        assert typical(name) < 8
    blows = ("rain_on_plastic", "drips", "clapping", "twig_snap", "hammering", "door_slam", "glass_break")
    for name in (
        *blows,
        "axe",
        "branch_fall",
        "balloon",
        "whip",
        "drops_on_capsule",
        "mouse_clicks",
        "hail_on_housing",
    ):
        assert SOUNDS[name].impulsive
        assert typical(name) > 8


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_gun_of_every_kind_fires_at_every_distance(kind: str, rate_hz: int) -> None:
    for seed, distance_m in enumerate((1.0, 30.0, 400.0, 1500.0)):
        shot = drawn_shot(kind, distance_m, rate_hz, np.random.default_rng(seed))
        assert shot.dtype == np.float32
        assert np.isfinite(shot).all()
        assert np.abs(shot).max() == pytest.approx(1, abs=1e-6)
        assert np.abs(shot[: rate_hz // 50]).max() > 0.001, "its first wavefront stands at its beginning"


def test_only_a_fast_bullet_that_passes_by_cracks() -> None:
    cracks = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        for seed in range(100):
            gun, place = drawn_gun_and_place(kind, 200, np.random.default_rng(seed))
            assert gun.bullet_mps == 0 or (gun.bullet_mps > 343 and place.miss_m < 200)
            cracks[kind] += gun.bullet_mps > 0
    assert cracks["rifle"] > cracks["pistol"] > 0
    assert cracks["rifle"] > 2 * cracks["shotgun"] > 0


def test_the_modes_of_a_struck_body_are_where_they_are_put_and_decay_as_told() -> None:
    sound = ring(np.array([1000.0]), np.array([0.02]), np.array([1.0]), 0.5, 16_000)
    t = np.arange(8000) / 16_000
    assert sound == pytest.approx(np.sin(2 * np.pi * 1000 * t) * np.exp(-t / 0.02), abs=1e-9)
    assert not ring(np.array([9000.0]), np.array([0.02]), np.array([1.0]), 0.1, 16_000).any()


@pytest.mark.parametrize("name", BODIES)
def test_a_strike_begins_at_once_and_ends_in_silence(name: str) -> None:
    for seed in range(5):
        sound = strike(BODIES[name], 16_000, np.random.default_rng(seed), longest_s=0.3)
        assert np.abs(sound[:400]).max() > 0.3
        assert abs(sound[-1]) < 0.01


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 3000))
def test_convolution_in_pieces_is_convolution(length: int, taps: int) -> None:
    random = np.random.default_rng(length)
    sound, response = np.zeros(length), random.standard_normal(taps)
    at = random.integers(length)
    sound[at] = 1
    wanted = np.zeros(length + taps - 1)
    wanted[at : at + taps] = response
    assert convolved(sound, response) == pytest.approx(wanted, abs=1e-9)


def test_grains_add_up_where_they_are_put() -> None:
    grains = banked([np.array([1.0, 0.5]), np.array([1.0, 0.5, 0.0])])
    random = np.random.default_rng(0)
    at_s = np.array([0.0, 0.001, 0.0095, 0.5])
    many = scattered(10, at_s, np.ones(4), grains, 1000, random)
    assert many == pytest.approx([1, 1.5, 0.5, 0, 0, 0, 0, 0, 0, 0], abs=1e-9)
    few = placed(10, at_s, np.array([1.0, 2.0, 1.0, 1.0]), [grains[0]] * 4, 1000)
    assert few == pytest.approx([1, 2.5, 1, 0, 0, 0, 0, 0, 0, 0])


@settings(deadline=None)
@given(st.floats(0, 20), st.floats(0.01, 50), st.integers(0, 1000))
def test_times_are_in_order_and_within_the_sound(seconds: float, per_second: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    for at_s in (at_random(seconds, per_second, random, 1), in_rhythm(seconds, per_second, 0.3, random)):
        assert len(at_s) >= 1
        assert np.all(np.diff(at_s) >= 0)
        assert np.all((at_s >= 0) & (at_s <= seconds))


def test_noise_has_the_colour_and_the_level_it_is_asked_for() -> None:
    sound = noise(160_000, 16_000, around(1000, 0.3), np.random.default_rng(0))
    power = np.square(np.abs(np.fft.rfft(sound)))
    frequency = np.fft.rfftfreq(160_000, 1 / 16_000)
    assert np.sqrt(np.mean(np.square(sound))) == pytest.approx(1)
    assert power[(frequency > 500) & (frequency < 2000)].sum() > 0.99 * power.sum()
    assert np.abs(np.diff(drift(16_000, 16_000, 0.5, np.random.default_rng(0)))).max() < 0.01


def test_an_engine_fires_as_often_as_it_turns() -> None:
    fired = firing(10, 16_000, np.full(160_000, 20.0), 4, 0.02, np.random.default_rng(0))
    assert len(fired.at_s) == pytest.approx(200, abs=1)
    assert np.median(np.diff(np.sort(fired.at_s))) == pytest.approx(0.05, rel=0.1)


def test_heavier_rain_has_larger_drops() -> None:
    light, heavy = (drop_blows(5000, rain, np.random.default_rng(0)) for rain in (1.0, 80.0))
    assert np.median(heavy) > 1.5 * np.median(light)
    assert light.max() > 10 * np.median(light), "few drops are loud"


def test_near_lightning_cracks_and_far_lightning_rolls() -> None:
    def treble(distance_m: float) -> float:
        shares = []
        for seed in range(3):
            power = np.square(np.abs(np.fft.rfft(thunder_from(distance_m, 16_000, np.random.default_rng(seed)))))
            shares.append(power[len(power) // 8 :].sum() / power.sum())
        return float(np.mean(shares))

    assert treble(300) > 3 * treble(6000)


def test_ice_falls_as_fast_as_its_drag_allows_and_a_wider_stone_faster() -> None:
    assert fall_mps(np.array([0.01])) == pytest.approx(12.8, abs=0.1)
    assert fall_mps(np.array([0.04])) == pytest.approx(2 * fall_mps(np.array([0.01])))


def test_a_creak_slips_as_often_as_it_is_moved_fast() -> None:
    moved = np.concatenate([np.full(16_000, 20.0), np.full(16_000, 200.0)])
    at_s, strengths = slips(moved, 16_000, 0.05, np.random.default_rng(0))
    slow = at_s < 1
    assert np.count_nonzero(slow) == pytest.approx(20, abs=3)
    assert np.count_nonzero(~slow) == pytest.approx(200, abs=10)
    assert np.median(strengths[slow]) > 2 * np.median(strengths[~slow]), "what sticks for longer slips harder"
    assert len(slips(np.zeros(3200), 16_000, 0.1, np.random.default_rng(0))[0]) == 1


def test_a_larger_room_rings_for_longer_and_its_first_wavefront_is_untouched() -> None:
    rooms = [room_response(16_000, np.random.default_rng(seed)) for seed in range(40)]
    assert all(room[0] == 1 and np.isfinite(room).all() for room in rooms)
    assert all(len(room) <= 1.2 * 16_000 for room in rooms)
    assert max(len(room) for room in rooms) > 4 * min(len(room) for room in rooms)
    for room in rooms:
        late = room[1:]
        assert np.square(late[: len(late) // 3]).sum() > 5 * np.square(late[-len(late) // 3 :]).sum()


def blows(sound: np.ndarray) -> int:
    """Pieces of 10 ms that rise far above the five before them."""
    level = np.sqrt(np.square(sound[: len(sound) // 160 * 160]).reshape(-1, 160).mean(axis=1)) + 1e-4
    before = np.stack([np.roll(level, lag) for lag in range(1, 6)]).max(axis=0)
    return int(np.count_nonzero((level > 3 * before) & (level > 0.05 * level.max())))


def test_feet_and_hoofs_fall_as_often_as_legs_move() -> None:
    """Blows a second of a dozen draws: steps run at 2 to 4, boards and hoofs have up to two and four of each stride."""
    for make, (least, most) in ((running_on_gravel, (2, 4)), (steps_on_boards, (1.3, 8)), (hoofs, (1.8, 6))):
        rates = [blows(make(6.0, 16_000, np.random.default_rng(seed))) / 6 for seed in range(12)]
        assert least <= np.quantile(rates, 0.2) and np.quantile(rates, 0.8) <= most, make
    faster = [
        np.median([blows(make(6.0, 16_000, np.random.default_rng(s))) for s in range(12)]) for make in (hoofs, boar)
    ]
    assert faster[1] > 1.2 * faster[0], "short legs make more strides"


def test_a_dropped_ball_bounces_ever_sooner_and_weaker() -> None:
    shrinking = 0
    for seed in range(12):
        sound = np.abs(bouncing_ball(6.0, 16_000, np.random.default_rng(seed)))
        level = sound[: len(sound) // 160 * 160].reshape(-1, 160).max(axis=1)
        hits = np.flatnonzero((level[1:] > 4 * level[:-1]) & (level[1:] > 0.1))
        gaps = np.diff(hits[np.diff(hits, prepend=-9) > 2])[:3]
        shrinking += len(gaps) > 1 and bool(np.all(gaps[1:] < gaps[:-1]))
        assert len(gaps) < 2 or np.all(gaps[1:] <= gaps[:-1] + 2), "it never takes longer than before"
    assert 3 <= shrinking <= 11, "most are dropped, some dribbled"


def test_what_presses_on_the_capsule_is_low_what_clicks_is_high_and_blows_lie_between() -> None:
    def centroid(name: str) -> float:
        centres = []
        for seed in range(9):
            power = np.square(np.abs(np.fft.rfft(SOUNDS[name].make(3.0, 16_000, np.random.default_rng(seed)))))
            centres.append((power * np.arange(len(power))).sum() / power.sum() / 3)
        return float(np.median(centres))

    low = [centroid(name) for name in ("wind_pops", "drops_on_capsule", "car_door")]
    middle = [centroid(name) for name in ("axe", "barks", "hoofs", "backfire")]
    high = [centroid(name) for name in ("mouse_clicks", "can_opening", "running_on_gravel")]
    assert max(low) < min(middle)
    assert max(middle) < min(high)


def test_no_sound_here_is_labelled_a_shot() -> None:
    assert all(sound.label != "gun_shot" for sound in SOUNDS.values())
