"""Stone on stone: knocked together, and down a slope."""

import numpy as np

from trainer.synthesis.grains import placed
from trainer.synthesis.spectrum import Audio, around, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

BOULDER = Body((150, 1000), (4, 10), (0.02, 0.09), (0.0003, 0.002), click=(0.1, 0.8))


def stone_knock(rate_hz: int, random: np.random.Generator) -> Audio:
    """Two stones of a fist's or a head's size, float64 [n], peak 1."""
    return strike(BODIES["stone"] if random.uniform() < 0.6 else BOULDER, rate_hz, random, 0.4)


def falling_stones(rate_hz: int, random: np.random.Generator) -> Audio:
    """One stone to a small slide, float64 [n] of up to 3 s, peak 1: each bounces at gaps that grow and shrink with the
    slope; large ones thud, and gravel runs after them."""
    length = round(random.uniform(0.8, 3.0) * rate_hz)
    sound = np.zeros(length)
    for stone in range(int(random.integers(1, 9))):
        bounces = int(random.integers(2, 12))
        gaps_s = random.uniform(0.06, 0.4) * random.uniform(0.7, 1.1) ** np.arange(bounces)
        at_s = (random.exponential(0.3) if stone else 0.0) + np.cumsum(gaps_s * random.uniform(0.6, 1.4, bounces))
        at_s -= at_s[0] if not stone else 0.0
        few = [stone_knock(rate_hz, random) for _ in range(2)]
        gains = random.uniform(0.3, 1) * random.uniform(0.2, 1, bounces)
        sound += placed(length, at_s, gains, [few[one % 2] for one in range(bounces)], rate_hz)
    t = np.arange(length) / rate_hz
    gravel = noise(length, rate_hz, around(random.uniform(1500, 5000), 0.9), random)
    return peaked(peaked(sound) + random.uniform(0, 0.08) * gravel * np.exp(-t / random.uniform(0.2, 1.0)))
