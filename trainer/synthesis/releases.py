"""Gas let go at once: whips, balloons, corks, tins, compressed air, an exhaust that bangs.

What is compressed in a ball of radius a and let go sends an N: pressure that falls in a straight line from plus to
minus within 2 a / c (Landau and Lifshitz, "Fluid Mechanics", chapter on sound, spherical waves); a muzzle does much the
same, so these are the nearest to shots of all. The strengths of the parts are choices.
"""

import numpy as np

from trainer.synthesis.grains import at_random, placed
from trainer.synthesis.litter import CRACKLE
from trainer.synthesis.spectrum import Audio, around, between, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, contact, ring, strike

SPEED_MPS = 343.2
TIN = Body((1200, 4500), (5, 14), (0.01, 0.06), (0.00005, 0.0003), (0.9, 1.4), (0.3, 1.0))
DRIVER = Body((200, 900), (5, 14), (0.02, 0.1), (0.0002, 0.001), click=(0.2, 0.9))


def whip(rate_hz: int, random: np.random.Generator) -> Audio:
    """A whip, float64 [n], peak 1: a swish, then the boom of the loop at its end, which goes faster than sound
    (Goriely and McMillen, "Shape of a cracking whip", Physical Review Letters, 2002): an N of 0.1 to 0.7 ms."""
    swish_s = random.uniform(0.05, 0.3)
    before = round(swish_s * rate_hz)
    crack = _n_wave(random.uniform(0.0001, 0.0007), rate_hz, random)
    sound = np.zeros(before + len(crack) + round(0.05 * rate_hz))
    swish = noise(before, rate_hz, around(random.uniform(600, 3000), random.uniform(0.4, 0.9)), random)
    sound[:before] = random.uniform(0.002, 0.03) * swish * np.linspace(0, 1, before) ** 2
    sound[before : before + len(crack)] += crack
    return peaked(sound)


def balloon(rate_hz: int, random: np.random.Generator) -> Audio:
    """A balloon, a paper bag or a bubble of packing, float64 [n], peak 1: an N as long as it is wide, the longer the
    skin takes to tear the rounder, and the skin's own rattle."""
    radius_m = float(np.exp(random.uniform(np.log(0.005), np.log(0.2))))
    sound = np.zeros(round(0.2 * rate_hz))
    burst = _n_wave(2 * radius_m / SPEED_MPS, rate_hz, random)
    sound[: len(burst)] = burst
    t = np.arange(len(sound)) / rate_hz
    skin = noise(len(sound), rate_hz, around(random.uniform(1500, 6000), 0.9), random)
    sound += random.uniform(0.02, 0.4) * peaked(skin * np.exp(-t / random.uniform(0.002, 0.02)))
    return peaked(sound)


def cork(rate_hz: int, random: np.random.Generator) -> Audio:
    """A cork, a mouth's pop, a bottle that is struck on its neck, float64 [n], peak 1: the hollow rings as Helmholtz's
    resonator does, its pitch rising as it opens."""
    length = round(0.15 * rate_hz)
    t = np.arange(length) / rate_hz
    hollow_hz, decay_s = random.uniform(250, 1500), random.uniform(0.003, 0.02)
    sound = np.sin(2 * np.pi * hollow_hz * t * (1 + random.uniform(0, 8) * t)) * np.exp(-t / decay_s)
    puff = noise(length, rate_hz, around(random.uniform(800, 5000), 1.0), random)
    return peaked(sound + random.uniform(0.02, 0.6) * peaked(puff * np.exp(-t / random.uniform(0.001, 0.03))))


def can_opening(rate_hz: int, random: np.random.Generator) -> Audio:
    """A tin of something that fizzes, float64 [n], peak 1: the tab cracks, gas hisses out in 0.05 to 0.5 s, the lid
    tears and bends."""
    length = round(random.uniform(0.5, 1.5) * rate_hz)
    t = np.arange(length) / rate_hz
    hiss_s = float(np.exp(random.uniform(np.log(0.03), np.log(0.3))))
    hiss = noise(length, rate_hz, around(random.uniform(3000, 7000), random.uniform(0.5, 1.1)), random)
    hiss *= np.exp(-t / hiss_s) * np.minimum(1, t / 0.003)
    tears = int(random.integers(1, 14))
    at_s = np.concatenate([[0.0], random.uniform(0.1, 0.1 + random.uniform(0.05, 0.7), tears)])
    gains = np.concatenate([[1.0], random.uniform(0.03, 0.7, tears)])
    lids = [strike(TIN if one % 2 == 0 else CRACKLE, rate_hz, random, 0.12) for one in range(len(at_s))]
    return peaked(placed(length, at_s, gains, lids, rate_hz) + random.uniform(0.1, 1.2) * peaked(hiss))


def nail_gun(rate_hz: int, random: np.random.Generator) -> Audio:
    """A nailer or a stapler on compressed air, float64 [n], peak 1: the piston's bang, the nail in the board, and the
    cylinder's air, let out within a tenth of a second."""
    length = round(0.5 * rate_hz)
    sounds = [strike(DRIVER, rate_hz, random, 0.3), strike(BODIES["board"], rate_hz, random, 0.3)]
    bang = placed(length, random.uniform(0, 0.004, 2), random.uniform(0.3, 1, 2), sounds, rate_hz)
    puff = _air(length, rate_hz, random.uniform(0.01, 0.08), random)
    return peaked(bang + random.uniform(0.1, 1.0) * puff)


def air_brake(rate_hz: int, random: np.random.Generator) -> Audio:
    """A lorry's brakes or a hose let go, float64 [n], peak 1: a valve snaps open, air rushes out, and it snaps shut."""
    seconds = float(np.exp(random.uniform(np.log(0.1), np.log(1.5))))
    length = round((seconds + 0.3) * rate_hz)
    sound = _air(length, rate_hz, seconds * random.uniform(0.2, 1.0), random)
    sound[round(seconds * rate_hz) :] = 0
    valves = [strike(BODIES["key"], rate_hz, random) for _ in range(2)]
    gains = random.uniform(0.05, 1.2, 2)
    return peaked(sound + placed(length, np.array([0.0, seconds]), gains, valves, rate_hz))


def backfire(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """An engine that bangs into its exhaust, float64 [n], peak 1: 1 to 6 bangs in a row, rows apart, each a pulse of
    some milliseconds that rings in the pipe and tears at its mouth."""
    samples = round(seconds * rate_hz)
    pipe_hz = random.uniform(40, 180)
    bangs = [_bang(pipe_hz, rate_hz, random) for _ in range(3)]
    row_s = at_random(0.8 * seconds, random.uniform(0.1, 0.6), random, at_least=1)
    apart_s = random.uniform(0.06, 0.5)
    at_s = np.concatenate(
        [one + apart_s * np.arange(int(random.integers(1, 7))) * random.uniform(0.7, 1.3) for one in row_s]
    )
    sounds = [bangs[one % 3] for one in range(len(at_s))]
    sound = placed(samples, at_s, random.uniform(0.2, 1, len(at_s)), sounds, rate_hz)
    idle = noise(samples, rate_hz, around(random.uniform(80, 300), 0.8), random)
    return peaked(peaked(sound) + random.uniform(0, 0.03) * idle * np.exp(0.3 * drift(samples, rate_hz, 0.1, random)))


def _bang(pipe_hz: float, rate_hz: int, random: np.random.Generator) -> Audio:
    length = round(0.4 * rate_hz)
    t = np.arange(length) / rate_hz
    frequency = np.asarray(pipe_hz * (np.arange(14) + 0.5) * 2 * np.exp(random.normal(0, 0.03, 14)))
    decay_s = np.asarray(random.uniform(1.5, 8) / (np.pi * frequency))
    gains = np.asarray(random.uniform(0.3, 1, 14) / (1 + np.arange(14)) ** random.uniform(0.2, 1.0))
    pulse = contact(random.uniform(0.0005, 0.006), rate_hz)
    rings = peaked(np.convolve(ring(frequency, decay_s, gains, 0.4, rate_hz), pulse)[:length])
    gas = noise(length, rate_hz, around(random.uniform(400, 2500), random.uniform(0.8, 1.4)), random)
    return peaked(rings + random.uniform(0.3, 2) * peaked(gas * np.exp(-t / random.uniform(0.004, 0.04))))


def _n_wave(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Half of it over, half under the mean, its edges rounded by a drawn part, float64 [n >= 3], peak 1."""
    length = max(2, round(seconds * rate_hz))
    wave = np.concatenate([np.linspace(1, -1, length), [0.0]])
    rounded = contact(seconds * random.uniform(0.05, 0.6), rate_hz)
    return peaked(np.convolve(wave, rounded))


def _air(length: int, rate_hz: int, decay_s: float, random: np.random.Generator) -> Audio:
    """A jet, the more treble the narrower its hole, float64 [length], peak 1."""
    jet = noise(length, rate_hz, between(random.uniform(300, 2000), random.uniform(3000, 9000), 1), random)
    return peaked(jet * np.exp(-np.arange(length) / rate_hz / decay_s))
