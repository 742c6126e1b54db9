"""Work with wood, and what wood does by itself: an axe, a saw, a bough that comes down, a fire.

Which part is how loud is a choice; when things land is gravity's, sqrt(2 h / g) after they break off.
"""

import numpy as np

from trainer.synthesis.grains import at_random, banked, placed, scattered
from trainer.synthesis.litter import CRACKLE
from trainer.synthesis.spectrum import Audio, around, between, convolved, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

BLADE = Body((900, 4500), (3, 8), (0.008, 0.06), (0.0002, 0.001), (1.0, 1.8), (0.2, 0.8))
LOG = Body((130, 700), (4, 12), (0.03, 0.12), (0.0004, 0.003), click=(0.0, 0.5))
BOUGH = Body((250, 1400), (4, 9), (0.03, 0.12), (0.0001, 0.0008), click=(0.3, 1.0))
GRAVITY_MPS2 = 9.81


def axe(rate_hz: int, random: np.random.Generator) -> Audio:
    """An axe bites into a trunk, float64 [n], peak 1: wood and a little steel at once, and chips that fly."""
    length = round(0.9 * rate_hz)
    chips = int(random.integers(0, 9))
    at_s = np.concatenate([[0.0, 0.0], random.uniform(0.05, 0.6, chips)])
    gains = np.concatenate([[1.0, random.uniform(0.05, 0.7)], random.uniform(0.01, 0.15, chips)])
    sounds = [strike(BODIES["trunk"], rate_hz, random, 0.6), strike(BLADE, rate_hz, random, 0.3)]
    sounds += [strike(CRACKLE, rate_hz, random, 0.05) for _ in range(chips)]
    return peaked(placed(length, at_s, gains, sounds, rate_hz))


def wood_splitting(rate_hz: int, random: np.random.Generator) -> Audio:
    """A log is split, float64 [n], peak 1: the blow, fibres that tear for some hundredths of a second, and the halves,
    which fall over and roll."""
    length = round(1.6 * rate_hz)
    blow = axe(rate_hz, random)
    tears = int(random.integers(10, 150))
    bank = banked([strike(CRACKLE if one else BOUGH, rate_hz, random, 0.06) for one in range(5)])
    torn_s = random.uniform(0, 0.01) + random.exponential(random.uniform(0.01, 0.06), tears)
    sound = random.uniform(0.2, 1.0) * peaked(
        scattered(length, torn_s, random.lognormal(-1, 0.8, tears), bank, rate_hz, random)
    )
    sound[: len(blow)] += blow[:length]
    falls = int(random.integers(1, 7))
    at_s = random.uniform(0.2, 0.6) + np.sort(random.exponential(0.15, falls))
    logs = [strike(LOG, rate_hz, random, 0.5) for _ in range(falls)]
    return peaked(sound + placed(length, at_s, random.uniform(0.05, 0.7, falls), logs, rate_hz))


def branch_fall(rate_hz: int, random: np.random.Generator) -> Audio:
    """A bough breaks, falls and lands, float64 [n] of up to 4 s, peak 1: cracks that follow each other ever sooner,
    leaves and twigs on the way down, the thud, and what bounces."""
    cracks = int(random.integers(1, 9))
    crack_s = random.uniform(0.05, 0.4) * np.concatenate([[0.0], np.cumsum(0.75 ** np.arange(cracks - 1))])
    falls_s = float(np.sqrt(2 * np.exp(random.uniform(np.log(1), np.log(18))) / GRAVITY_MPS2))
    lands_s = float(crack_s[-1]) + falls_s
    length = round((lands_s + 1.0) * rate_hz)
    sounds = [strike(BOUGH, rate_hz, random, 0.4) for _ in range(cracks)]
    sound = placed(length, crack_s, random.uniform(0.3, 1, cracks), sounds, rate_hz)
    # Faster, and through more leaves: what it brushes comes ever more often.
    brushed = int(random.integers(5, 250))
    brushed_s = lands_s - falls_s + falls_s * np.sqrt(random.uniform(0, 1, brushed))
    crushed_s = lands_s + random.gamma(2.0, 0.03, int(random.integers(20, 300)))
    bank = banked([strike(CRACKLE, rate_hz, random, 0.05) for _ in range(8)])
    for at_s, strength in ((brushed_s, (0.05, 0.4)), (crushed_s, (0.1, 0.8))):
        gains = random.lognormal(-1, 0.9, len(at_s))
        sound += random.uniform(*strength) * peaked(scattered(length, at_s, gains, bank, rate_hz, random))
    bounces = int(random.integers(1, 5))
    at_s = lands_s + np.concatenate([[0.0], np.cumsum(random.uniform(0.08, 0.3, bounces - 1))])
    landing = [strike(BODIES["door"] if one == 0 else LOG, rate_hz, random, 0.5) for one in range(bounces)]
    weights = random.uniform(0.3, 1.2) * random.uniform(0.4, 0.8) ** np.arange(bounces, dtype=np.float64)
    return peaked(sound + placed(length, at_s, np.asarray(weights), landing, rate_hz))


def hand_saw(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Somebody saws by hand, float64 [n], peak 1: strokes to and fro, 0.8 to 3 a second, the way out harder than the
    way back; teeth pass as fast as the blade moves, and blade and wood answer."""
    samples = round(seconds * rate_hz)
    t = np.arange(samples) / rate_hz
    strokes = random.uniform(0.8, 3.0) * (1 + 0.05 * drift(samples, rate_hz, 1.0, random))
    phase = np.cumsum(strokes) / rate_hz + random.uniform(0, 1)
    speed = np.abs(np.sin(np.pi * phase))
    out = np.where(np.mod(phase, 2) < 1, 1.0, random.uniform(0.1, 0.9))
    teeth = np.cumsum(random.uniform(150, 900) * speed) / rate_hz
    bite = 1 + random.uniform(0.2, 1) * np.sin(2 * np.pi * (teeth + 0.3 * drift(samples, rate_hz, 0.02, random)))
    rasp = noise(samples, rate_hz, around(random.uniform(1200, 5000), random.uniform(0.5, 1.3)), random)
    cut = peaked(rasp * bite * out * speed ** random.uniform(0.7, 4.0))
    answer = strike(BODIES["board"], rate_hz, random, 0.2)
    body = peaked(convolved(cut, answer)[:samples])
    pauses = drift(samples, rate_hz, random.uniform(1, 3), random) > random.uniform(-4, -1)
    hand = np.where(pauses if pauses.mean() > 0.5 else t >= 0, 1.0, 0.02)
    return peaked((cut + random.uniform(0.1, 1.0) * body) * hand)


def fire_crackle(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A wood fire, float64 [n], peak 1: pops of sap and steam, a few loud among many soft, over flames that flutter
    and hiss; at least one pop."""
    samples = round(seconds * rate_hz)
    bank = banked([strike(CRACKLE if one else BODIES["branch"], rate_hz, random, 0.04) for one in range(8)])
    often = at_random(seconds, float(np.exp(random.uniform(np.log(2), np.log(120)))), random, at_least=1)
    sound = peaked(scattered(samples, often, random.lognormal(-2, 1.3, len(often)), bank, rate_hz, random))
    flames = noise(samples, rate_hz, between(40, random.uniform(200, 900), 1), random)
    flames *= np.exp(random.uniform(0.1, 0.5) * drift(samples, rate_hz, random.uniform(0.05, 0.3), random))
    hiss = noise(samples, rate_hz, around(random.uniform(3000, 6500), 0.8), random)
    return peaked(sound + random.uniform(0, 0.02) * flames + random.uniform(0, 0.005) * hiss)
