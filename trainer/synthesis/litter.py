"""What walks and breaks on the forest floor: steps in leaf litter, animals in it, twigs."""

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.grains import banked, in_rhythm, placed, scattered
from trainer.synthesis.spectrum import Audio, around, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

CRACKLE = Body((1500, 6000), (2, 5), (0.05, 0.3), (0.0001, 0.0006), click=(0.3, 1.0))


def footsteps(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Somebody walks or runs through leaves, float64 [n], peak 1: heel and toe, each a thud and a burst of crackles,
    1.4 to 3 steps a second."""
    samples = round(seconds * rate_hz)
    bank = banked([strike(CRACKLE, rate_hz, random, 0.05) for _ in range(8)])
    dryness = random.uniform(0.2, 1)
    at_s = in_rhythm(seconds, random.uniform(1.4, 3.0), 0.06, random)
    steps = [step(rate_hz, bank, dryness, random) for _ in range(min(4, len(at_s)))]
    sounds = [steps[one % len(steps)] for one in range(len(at_s))]
    return peaked(placed(samples, at_s, random.uniform(0.6, 1, len(at_s)), sounds, rate_hz))


def rustling(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """An animal in the litter, float64 [n], peak 1: crackles in short, uneven rushes."""
    samples = round(seconds * rate_hz)
    bank = banked([strike(CRACKLE, rate_hz, random, 0.05) for _ in range(8)])
    rush_s = random.uniform(0, seconds, max(1, round(seconds * random.uniform(0.5, 3))))
    at_s = (rush_s[:, None] + random.exponential(0.1, (len(rush_s), int(random.integers(40, 300))))).ravel()
    return peaked(scattered(samples, at_s, random.lognormal(-1, 0.8, len(at_s)), bank, rate_hz, random))


def twig_snap(rate_hz: int, random: np.random.Generator) -> Audio:
    """A twig or branch breaks, float64 [n], peak 1: fibres tear, then one to three cracks within some hundredths of a
    second."""
    length = round(0.35 * rate_hz)
    cracks = int(random.integers(1, 4))
    before_s = random.uniform(0, 0.06)
    at_s = before_s + np.concatenate([[0.0], random.exponential(0.03, cracks - 1).cumsum()])
    gains = np.concatenate([[1.0], random.uniform(0.2, 0.8, cracks - 1)])
    sound = placed(length, at_s, gains, [strike(BODIES["branch"], rate_hz, random) for _ in range(cracks)], rate_hz)
    tears = int(random.integers(0, 12))
    bank = banked([strike(CRACKLE, rate_hz, random, 0.03) for _ in range(4)])
    torn = scattered(
        length, random.uniform(0, before_s + 0.05, tears), random.uniform(0.02, 0.25, tears), bank, rate_hz, random
    )
    sound = sound + torn
    return peaked(sound[int(np.argmax(np.abs(sound) > 1e-3)) :])


def step(rate_hz: int, bank: NDArray[np.float64], dryness: float, random: np.random.Generator) -> Audio:
    """Heel and toe on what crackles as the rows of ``bank`` do, float64 [n], peak 1."""
    length = round(0.45 * rate_hz)
    toe_s = random.uniform(0.08, 0.2)
    crackles = int(random.integers(60, 500))
    at_s = np.where(random.uniform(size=crackles) < 0.6, 0.0, toe_s) + random.gamma(2.0, 0.02, crackles)
    crackle = peaked(scattered(length, at_s, random.lognormal(-1, 0.9, crackles), bank, rate_hz, random))
    thud = noise(length, rate_hz, around(random.uniform(70, 200), 0.6), random)
    t = np.arange(length) / rate_hz
    thud *= np.exp(-t / random.uniform(0.01, 0.03))
    hiss = noise(length, rate_hz, around(random.uniform(2000, 5000), 1.0), random) * np.exp(-t / 0.06)
    return peaked(dryness * crackle + random.uniform(0.0, 0.4) * peaked(thud) + random.uniform(0.1, 0.7) * peaked(hiss))
