"""Hail: hard and heavy where rain is soft.

A stone of ice falls as fast as its weight and the air's drag balance, v = sqrt(4 ρ_ice g D / (3 ρ_air C)), 13 m/s at
1 cm for C = 0.6; its blow is its momentum. Diameters decay exponentially from 5 mm on, a choice, as the rates are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.grains import at_random, banked, scattered
from trainer.synthesis.rain import LEAF, Drop
from trainer.synthesis.spectrum import Audio, around, drift, noise, peaked
from trainer.synthesis.struck import BODIES, strike

ICE_KG_M3, AIR_KG_M3, GRAVITY_MPS2, DRAG = 900.0, 1.2, 9.81, 0.6


def hail_on_tin(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """On a tin roof or a car, float64 [n], peak 1: 5 to 400 blows a second, each of which the sheet rings from."""
    return _hail(seconds, rate_hz, random, ("sheet", "sheet", "iron"), (5, 400))


def hail_on_housing(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """On the recorder's own box, float64 [n], peak 1: 0.7 to 40 blows a second, close and sharp."""
    return _hail(seconds, rate_hz, random, ("box",), (0.7, 40))


def hail_in_forest(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """On leaves, branches and the ground, float64 [n], peak 1: 20 to 1000 blows a second, near and far."""
    return _hail(seconds, rate_hz, random, ("leaf", "leaf", "branch", "stone", "trunk"), (20, 1000))


def fall_mps(diameter_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """How fast ice of this diameter falls, float64 of its shape."""
    return np.asarray(np.sqrt(4 * ICE_KG_M3 * GRAVITY_MPS2 * diameter_m / (3 * AIR_KG_M3 * DRAG)))


def _hail(
    seconds: float, rate_hz: int, random: np.random.Generator, surfaces: tuple[str, ...], per_s: tuple[float, float]
) -> Audio:
    samples = round(seconds * rate_hz)
    hits: list[Drop] = [_on(name) for name in surfaces]
    bank = banked([hits[one % len(hits)](rate_hz, random) for one in range(max(8, len(hits)))])
    at_s = at_random(seconds, float(np.exp(random.uniform(*np.log(per_s)))), random, at_least=1)
    diameter_m = np.minimum(0.005 + random.exponential(random.uniform(0.001, 0.005), len(at_s)), 0.04)
    # Near ones are louder: they fall evenly on a disc around the microphone.
    nearness = 1 / np.sqrt(0.03 + random.uniform(0, 1, len(at_s)))
    blows = diameter_m**3 * fall_mps(diameter_m) * nearness
    near = peaked(scattered(samples, at_s, blows, bank, rate_hz, random))
    swell = np.exp(0.3 * drift(samples, rate_hz, 2.0, random))
    far = noise(samples, rate_hz, around(random.uniform(1200, 5000), random.uniform(0.8, 1.5)), random)
    return peaked(swell * (near + random.uniform(0, 0.015) * far))


def _on(name: str) -> Drop:
    # Ice is harder than a drop, and its contact shorter.
    body = replace(LEAF if name == "leaf" else BODIES[name], contact_s=(0.00005, 0.0003), click=(0.2, 1.0))
    return lambda rate_hz, random: strike(body, rate_hz, random, longest_s=0.3)
