"""What a box on a tree hears of itself: twigs, drops, insects and hands at its housing, wind in its capsule.

These are at no distance, so nothing of the forest answers; the box rings (`struck.BODIES`), and what presses on the
capsule itself is low, strong and cut off where the capsule ends. How strong the parts are is a choice.
"""

import numpy as np

from trainer.synthesis.grains import at_random, banked, in_rhythm, placed, scattered
from trainer.synthesis.litter import CRACKLE
from trainer.synthesis.spectrum import Audio, around, between, convolved, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, contact, strike
from trainer.synthesis.wind import wind

SHELL = Body((180, 1200), (5, 14), (0.02, 0.1), (0.0001, 0.001), click=(0.1, 0.8))
CLAW = Body((1200, 5500), (3, 7), (0.03, 0.15), (0.00005, 0.0004), click=(0.3, 1.0))
PALM = Body((60, 300), (4, 10), (0.06, 0.25), (0.001, 0.01), (0.7, 1.1), (0.0, 0.3))


def twig_on_housing(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A twig beats against the box in the wind, float64 [n], peak 1: rows of taps as it sways, and it scrapes."""
    samples = round(seconds * rate_hz)
    few = [strike(SHELL if random.uniform() < 0.7 else BODIES["branch"], rate_hz, random, 0.3) for _ in range(4)]
    rows_s = at_random(seconds, random.uniform(0.2, 1.5), random, at_least=1)
    taps_per_s = random.uniform(2, 14)
    at_s = np.concatenate(
        [one + np.cumsum(random.uniform(0.5, 1.5, int(random.integers(1, 8)))) / taps_per_s for one in rows_s]
    )
    at_s -= at_s.min() - rows_s[0]
    sounds = [few[int(one)] for one in random.integers(4, size=len(at_s))]
    sound = peaked(placed(samples, at_s, random.lognormal(-0.5, 0.6, len(at_s)), sounds, rate_hz))
    swept = np.clip(drift(samples, rate_hz, random.uniform(0.1, 0.6), random) - random.uniform(0, 1.5), 0, None)
    bark = noise(samples, rate_hz, around(random.uniform(800, 4000), 0.9), random) * swept
    scrape = convolved(bark, strike(SHELL, rate_hz, random, 0.1))[:samples]
    return peaked(sound + random.uniform(0, 0.4) * peaked(scrape))


def drops_on_capsule(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Drops fall on the microphone's opening or its foam, float64 [n], peak 1: a push of 2 to 20 ms that drives the
    capsule to its end, a splash, and the film of water that bursts."""
    samples = round(seconds * rate_hz)
    drops = [_drop(rate_hz, random) for _ in range(5)]
    at_s = at_random(seconds, float(np.exp(random.uniform(np.log(0.3), np.log(12)))), random, at_least=1)
    sounds = [drops[int(one)] for one in random.integers(5, size=len(at_s))]
    sound = peaked(placed(samples, at_s, random.lognormal(-0.5, 0.7, len(at_s)), sounds, rate_hz))
    return _driven(sound, random)


def insect_on_housing(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A beetle or a moth at the box, float64 [n], peak 1: it walks, three legs at a time, 4 to 14 steps a second, or it
    flies against it, buzzing and striking."""
    samples = round(seconds * rate_hz)
    claws = banked([strike(CLAW, rate_hz, random, 0.05) for _ in range(8)])
    steps_s = in_rhythm(seconds, random.uniform(4, 14), 0.25, random)
    legs_s = (steps_s[:, None] + random.exponential(0.01, (len(steps_s), 3))).ravel()
    walked = np.interp(legs_s, np.arange(samples) / rate_hz, drift(samples, rate_hz, 0.7, random))
    gains = random.lognormal(-1, 0.7, len(legs_s)) * np.where(walked > random.uniform(-2, 0.3), 1.0, 0.02)
    sound = peaked(scattered(samples, legs_s, gains, claws, rate_hz, random))
    if random.uniform() < 0.5:
        hits_s = at_random(seconds, random.uniform(0.3, 4), random, at_least=1)
        bumps = [strike(SHELL, rate_hz, random, 0.2) for _ in range(3)]
        which = [bumps[int(one)] for one in random.integers(3, size=len(hits_s))]
        sound = 0.3 * sound + placed(samples, hits_s, random.lognormal(-0.5, 0.5, len(hits_s)), which, rate_hz)
        wings = np.cumsum(random.uniform(60, 350) * (1 + 0.04 * drift(samples, rate_hz, 0.2, random))) / rate_hz
        near = np.exp(drift(samples, rate_hz, 0.4, random))
        sound += random.uniform(0, 0.15) * near * (np.mod(wings, 1) - 0.5)
    return peaked(sound)


def handling(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Somebody mounts or takes down the box, or its cable and its strap strike it, float64 [n], peak 1: bumps, rubbing
    and small clicks."""
    samples = round(seconds * rate_hz)
    bumps_s = at_random(seconds, random.uniform(0.5, 4), random, at_least=1)
    kinds = (PALM, SHELL, BODIES["box"], BODIES["key"], CRACKLE)
    few = [strike(kinds[int(random.integers(len(kinds)))], rate_hz, random, 0.3) for _ in range(6)]
    sounds = [few[int(one)] for one in random.integers(6, size=len(bumps_s))]
    sound = peaked(placed(samples, bumps_s, random.lognormal(-0.5, 0.7, len(bumps_s)), sounds, rate_hz))
    rubbed = np.clip(drift(samples, rate_hz, random.uniform(0.08, 0.5), random) - random.uniform(-0.5, 1), 0, None)
    grain = noise(samples, rate_hz, between(random.uniform(80, 400), random.uniform(1000, 6000), 1), random)
    grain *= np.exp(random.uniform(0.2, 1.2) * drift(samples, rate_hz, 0.004, random))
    return _driven(peaked(sound + random.uniform(0, 0.6) * peaked(grain * rubbed)), random)


def wind_pops(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Gusts that strike an unshielded capsule, float64 [n], peak 1: pushes of 5 to 60 ms that drive it to its end, in
    rows, over the rumble."""
    samples = round(seconds * rate_hz)
    rows_s = at_random(seconds, random.uniform(0.3, 2.5), random, at_least=1)
    at_s = np.concatenate([one + random.exponential(0.15, int(random.integers(1, 8))) for one in rows_s])
    at_s -= at_s.min() - rows_s[0]
    pushes = []
    for _ in range(5):
        push = contact(float(np.exp(random.uniform(np.log(0.005), np.log(0.06)))), rate_hz)
        tumble = noise(len(push), rate_hz, between(20, random.uniform(200, 1500), 1), random)
        pushes.append(peaked(push * (1 + random.uniform(0, 1.5) * tumble)))
    sounds = [pushes[int(one)] for one in random.integers(5, size=len(at_s))]
    signs = random.choice((-1.0, 1.0), len(at_s)) * random.lognormal(-0.5, 0.7, len(at_s))
    sound = peaked(placed(samples, at_s, signs, sounds, rate_hz))
    return _driven(peaked(sound + random.uniform(0.02, 0.5) * wind(seconds, rate_hz, random)), random)


def _drop(rate_hz: int, random: np.random.Generator) -> Audio:
    length = round(0.15 * rate_hz)
    t = np.arange(length) / rate_hz
    push = contact(float(np.exp(random.uniform(np.log(0.002), np.log(0.02)))), rate_hz)
    sound = np.zeros(length)
    sound[: len(push)] = push
    splash = noise(length, rate_hz, around(random.uniform(1000, 6000), 1.0), random)
    sound += random.uniform(0.05, 0.8) * peaked(splash * np.exp(-t / random.uniform(0.001, 0.01)))
    film = strike(CRACKLE, rate_hz, random, 0.03)
    late = round(random.uniform(0.01, 0.1) * rate_hz)
    sound[late : late + len(film)] += random.uniform(0, 0.4) * film[: length - late]
    return peaked(sound)


def _driven(sound: Audio, random: np.random.Generator) -> Audio:
    """``sound`` as a capsule gives it that reaches its end, or hardly."""
    drive = float(np.exp(random.uniform(np.log(0.2), np.log(6))))
    return peaked(np.asarray(np.tanh(drive * sound)))
