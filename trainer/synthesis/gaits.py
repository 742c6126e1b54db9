"""What runs and trots: feet and hoofs on gravel, boards, leaves and earth.

Four legs fall in orders of their own: a walk has four beats, a trot two (legs in diagonal pairs, all but together), a
gallop three or four close ones and a pause (Hildebrand, "Symmetrical gaits of horses", Science, 1965).
"""

import numpy as np

from trainer.synthesis.grains import banked, in_rhythm, placed, scattered
from trainer.synthesis.litter import CRACKLE, step
from trainer.synthesis.spectrum import Audio, around, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

PEBBLE = Body((1800, 5500), (2, 6), (0.01, 0.05), (0.0001, 0.0004), click=(0.2, 0.9))
SOLE = Body((60, 250), (4, 10), (0.06, 0.25), (0.001, 0.006), click=(0.0, 0.3))
HOOF = Body((500, 2200), (3, 8), (0.03, 0.12), (0.0003, 0.0015), click=(0.1, 0.7))
GAITS: dict[str, tuple[tuple[float, float], tuple[float, ...]]] = {
    "walk": ((0.7, 1.2), (0.0, 0.25, 0.5, 0.75)),
    "trot": ((1.2, 2.2), (0.0, 0.015, 0.5, 0.515)),
    "canter": ((1.5, 2.2), (0.0, 0.22, 0.24, 0.47)),
    "gallop": ((1.8, 2.8), (0.0, 0.1, 0.25, 0.35)),
}
"""Strides a second, and when in a stride each leg falls."""


def running_on_gravel(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Fast feet on gravel, float64 [n], peak 1: pebbles grind under 2 to 4 steps a second."""
    return _two_feet(seconds, rate_hz, (2.0, 4.0), PEBBLE, (0.5, 1.0), random)


def running_in_leaves(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Fast feet in dry leaves, float64 [n], peak 1."""
    return _two_feet(seconds, rate_hz, (2.0, 4.5), CRACKLE, (0.4, 1.0), random)


def steps_on_boards(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Shoes on a jetty, stairs or a floor, float64 [n], peak 1: heel, then toe, 1.3 to 4 steps a second, each board
    a little different."""
    samples = round(seconds * rate_hz)
    at_s = in_rhythm(seconds, float(np.exp(random.uniform(np.log(1.3), np.log(4.0)))), 0.06, random)
    hard = random.uniform(0.0, 1.0)
    boards = [
        [strike(BODIES["board"], rate_hz, random, 0.4), strike(SOLE, rate_hz, random, 0.3)]
        for _ in range(min(4, len(at_s)))
    ]
    toe_s = random.uniform(0.03, 0.16)
    steps = []
    for board, sole in boards:
        both = np.zeros(max(len(board), len(sole)))
        both[: len(board)] += (0.15 + hard) * board
        both[: len(sole)] += (1 - 0.7 * hard) * sole
        heel_and_toe = np.array([0.0, toe_s])
        gains = np.array([1.0, random.uniform(0.05, 0.8)])
        steps.append(placed(len(both) + round(toe_s * rate_hz), heel_and_toe, gains, [both, both], rate_hz))
    sounds = [steps[one % len(steps)] for one in range(len(at_s))]
    return peaked(placed(samples, at_s, random.uniform(0.5, 1, len(at_s)), sounds, rate_hz))


def hoofs(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A horse or a cow, float64 [n], peak 1: in one of `GAITS`, hoofs that clop on stone or thud on earth."""
    hard = random.uniform(0.0, 1.0)
    return _four_feet(seconds, rate_hz, 1.0, HOOF, (hard, 1.2 - hard, random.uniform(0, 0.3)), random)


def boar(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A boar or a deer in the litter, float64 [n], peak 1: shorter legs, so more strides, and leaves under each."""
    shares = (random.uniform(0, 0.3), random.uniform(0.3, 1.0), random.uniform(0.3, 1.5))
    return _four_feet(seconds, rate_hz, random.uniform(1.2, 1.9), HOOF, shares, random)


def _two_feet(
    seconds: float,
    rate_hz: int,
    per_second: tuple[float, float],
    ground: Body,
    dryness: tuple[float, float],
    random: np.random.Generator,
) -> Audio:
    bank = banked([strike(ground, rate_hz, random, 0.06) for _ in range(8)])
    dry = random.uniform(*dryness)
    at_s = in_rhythm(seconds, random.uniform(*per_second), 0.05, random)
    steps = [step(rate_hz, bank, dry, random) for _ in range(min(4, len(at_s)))]
    sounds = [steps[one % len(steps)] for one in range(len(at_s))]
    return peaked(placed(round(seconds * rate_hz), at_s, random.uniform(0.5, 1, len(at_s)), sounds, rate_hz))


def _four_feet(
    seconds: float, rate_hz: int, faster: float, hoof: Body, shares: tuple[float, float, float],
    random: np.random.Generator,
) -> Audio:  # fmt: skip
    """``shares``: of hoof, of earth and of leaves."""
    strides, legs = list(GAITS.values())[int(random.integers(len(GAITS)))]
    per_s = faster * random.uniform(*strides)
    stride_s = in_rhythm(seconds, per_s, 0.04, random)
    at_s = (stride_s[:, None] + np.array(legs) / per_s).ravel()
    at_s += np.abs(random.normal(0, 0.008, len(at_s)))
    gains = np.tile(random.uniform(0.5, 1, len(legs)), len(stride_s)) * random.uniform(0.7, 1, len(at_s))
    leaves = banked([strike(CRACKLE, rate_hz, random, 0.05) for _ in range(6)])
    feet = [_foot(rate_hz, hoof, leaves, shares, random) for _ in range(4)]
    sounds = [feet[one % 4] for one in range(len(at_s))]
    return peaked(placed(round(seconds * rate_hz), at_s, gains, sounds, rate_hz))


def _foot(
    rate_hz: int, hoof: Body, leaves: Audio, shares: tuple[float, float, float], random: np.random.Generator
) -> Audio:
    length = round(0.3 * rate_hz)
    t = np.arange(length) / rate_hz
    thud = noise(length, rate_hz, around(random.uniform(60, 180), 0.6), random) * np.exp(
        -t / random.uniform(0.01, 0.04)
    )
    crushed = int(random.integers(10, 120))
    crackle = scattered(
        length, random.gamma(2.0, 0.02, crushed), random.lognormal(-1, 0.9, crushed), leaves, rate_hz, random
    )
    sound = shares[1] * peaked(thud) + shares[2] * peaked(crackle)
    clop = strike(hoof, rate_hz, random, 0.25)[:length]
    sound[: len(clop)] += shares[0] * clop
    return peaked(sound)
