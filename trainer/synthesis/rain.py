"""Rain: drops on leaves, on the ground, and on the hard things that a recorder hangs under.

Drop sizes are those of Marshall and Palmer ("The distribution of raindrops with size", J. Meteorology, 1948), fall
speeds those of Atlas and Ulbrich (J. Applied Meteorology, 1977); a drop's blow is its momentum. A few large drops are
therefore much louder than the rest, and a roof or a box turns each into an impulse.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.grains import at_random, banked, placed, scattered
from trainer.synthesis.spectrum import Audio, around, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

Drop = Callable[[int, np.random.Generator], Audio]

LEAF = Body((700, 3500), (2, 5), (0.08, 0.3), (0.0002, 0.0015), click=(0.1, 0.8))
MEMBRANE = Body((60, 400), (3, 9), (0.07, 0.3), (0.0004, 0.002), (0.6, 1.0), (0.2, 1.0))


def rain_on_leaves(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A wet forest, float64 [n], peak 1: a hiss of far drops, and near ones on leaves."""
    return _rain(seconds, rate_hz, random, on(LEAF), (60, 1500), hiss=(0.03, 0.3))


def rain_on_ground(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Rain into puddles, float64 [n], peak 1: ringing bubbles."""
    return _rain(seconds, rate_hz, random, bubble, (30, 1000), hiss=(0.03, 0.3))


def rain_on_tin(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Rain on a tin roof, float64 [n], peak 1: each drop rings the sheet."""
    return _rain(seconds, rate_hz, random, on(BODIES["sheet"]), (15, 1500), hiss=(0, 0.15))


def rain_on_tarpaulin(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Rain on stretched plastic or canvas, float64 [n], peak 1: dull, dry thumps."""
    return _rain(seconds, rate_hz, random, on(MEMBRANE), (8, 600), hiss=(0, 0.15))


def rain_on_plastic(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Drops on the recorder's own box, float64 [n], peak 1: few, close and sharp."""
    return _rain(seconds, rate_hz, random, on(BODIES["box"]), (1, 100), hiss=(0, 0.2))


def drips(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """After the rain, float64 [n], peak 1: single large drops, on leaves, puddles, sheet or box; at least one."""
    surfaces = (on(LEAF), bubble, on(MEMBRANE), on(BODIES["sheet"]), on(BODIES["box"]))
    drop = surfaces[int(random.integers(len(surfaces)))]
    at_s = at_random(seconds, random.uniform(0.3, 5), random, at_least=1)
    sounds = [drop(rate_hz, random) for _ in at_s]
    return peaked(placed(round(seconds * rate_hz), at_s, np.exp(random.normal(0, 0.6, len(at_s))), sounds, rate_hz))


def bubble(rate_hz: int, random: np.random.Generator) -> Audio:
    """A drop in a puddle: a tick, and some milliseconds later the bubble that it leaves behind rings (Minnaert,
    "On musical air-bubbles and the sounds of running water", Philosophical Magazine, 1933), float64 [n], peak 1."""
    pitch_hz = random.uniform(900, min(7000, 0.4 * rate_hz))
    decay_s = 1 / (np.pi * pitch_hz * random.uniform(0.01, 0.05))
    t = np.arange(max(8, round(min(5 * decay_s, 0.08) * rate_hz))) / rate_hz
    rings = np.sin(2 * np.pi * pitch_hz * t * (1 + random.uniform(0, 3) * t)) * np.exp(-t / decay_s)
    late = round(random.uniform(0, 0.02) * rate_hz)
    sound = np.zeros(late + len(t))
    sound[: min(3, len(sound))] = random.uniform(0.1, 0.6) * np.array([1.0, -0.7, 0.2])[: len(sound)]
    sound[late:] += rings
    return peaked(sound)


def on(body: Body) -> Drop:
    """A drop on something of this kind."""
    return lambda rate_hz, random: strike(body, rate_hz, random, longest_s=0.25)


def drop_blows(drops: int, millimetres_per_hour: float, random: np.random.Generator) -> NDArray[np.float64]:
    """How hard so many drops hit, over a drop of 1 mm, float64 [drops]: momentum over the time that the drop takes
    to flatten. Diameters of Marshall and Palmer (from 0.3 to 6 mm, decaying by 4.1 R^-0.21 a mm), as fast as Atlas and
    Ulbrich have them (3.78 D^0.67 m/s)."""
    diameters_mm = np.clip(0.3 + random.exponential(millimetres_per_hour**0.21 / 4.1, drops), 0.3, 6.0)
    return np.asarray(diameters_mm**2 * diameters_mm ** (2 * 0.67))


def _rain(
    seconds: float,
    rate_hz: int,
    random: np.random.Generator,
    drop: Drop,
    drops_per_s: tuple[float, float],
    hiss: tuple[float, float],
) -> Audio:
    samples = round(seconds * rate_hz)
    share = random.uniform()
    per_s = float(np.exp(np.log(drops_per_s[0]) + share * np.log(drops_per_s[1] / drops_per_s[0])))
    at_s = at_random(seconds, per_s, random, at_least=1)
    # Near drops are louder: they fall evenly on a disc around the microphone.
    nearness = 1 / np.sqrt(0.03 + random.uniform(0, 1, len(at_s)))
    blows = drop_blows(len(at_s), float(0.5 * 160**share), random) * nearness
    bank = banked([drop(rate_hz, random) for _ in range(8)])
    near = peaked(scattered(samples, at_s, blows, bank, rate_hz, random))
    swell = np.exp(0.2 * drift(samples, rate_hz, 2.0, random))
    far = noise(samples, rate_hz, around(random.uniform(1500, 6000), random.uniform(0.8, 1.6)), random)
    return peaked(swell * (near + random.uniform(*hiss) * 0.25 * far))
