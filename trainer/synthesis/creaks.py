"""Creaks: what sticks and slips, again and again.

While it sticks, force builds up with the speed at which the parts are moved; where it passes what friction holds, they
slip, and a blow sets the wood ringing (Akay, "Acoustics of friction", J. Acoust. Soc. Am., 2002). So the rate of the
slips follows the speed, a long stick is a strong slip, and a fast creak is a tone, a slow one a row of cracks.
"""

import numpy as np

from trainer.synthesis.spectrum import Audio, around, convolved, drift, noise, peaked
from trainer.synthesis.struck import Body, strike

PANEL = Body((250, 1500), (8, 20), (0.03, 0.25), (0.00005, 0.0005), (0.8, 1.3), (0.0, 0.4))
TRUNK = Body((80, 500), (6, 16), (0.015, 0.08), (0.0003, 0.003), (0.9, 1.4), (0.0, 0.4))


def door_creak(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A hinge or a stair, float64 [n], peak 1: it is moved for 0.3 to 3 s, and its pitch goes with the hand; 30 to 700
    slips a second."""
    samples = round(seconds * rate_hz)
    fastest = float(np.exp(random.uniform(np.log(30), np.log(700))))
    hand = drift(samples, rate_hz, random.uniform(0.3, 1.5), random)
    moved = np.clip(hand + random.uniform(0, 1.2), 0, None) ** random.uniform(0.3, 1)
    per_s = fastest * moved * np.exp(random.uniform(0, 0.15) * drift(samples, rate_hz, 0.15, random))
    unsteady = float(np.exp(random.uniform(np.log(0.0005), np.log(0.1))))
    return _creaking(per_s, rate_hz, PANEL, unsteady, random)


def tree_creak(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Two trunks rub in the wind, float64 [n], peak 1: they sway within 2 to 9 s, creak on the way, rest where they
    turn, and at times crack; 3 to 150 slips a second."""
    samples = round(seconds * rate_hz)
    t = np.arange(samples) / rate_hz
    sway = np.abs(np.sin(np.pi * (t / random.uniform(2, 9) + random.uniform(0, 1))))
    sway *= np.exp(random.uniform(0.1, 0.6) * drift(samples, rate_hz, 1.0, random))
    fastest = float(np.exp(random.uniform(np.log(3), np.log(150))))
    per_s = fastest * np.clip(sway - random.uniform(0, 0.6), 0, None)
    return _creaking(per_s, rate_hz, TRUNK, random.uniform(0.1, 0.6), random)


def slips(per_s: Audio, rate_hz: int, unsteady: float, random: np.random.Generator) -> tuple[Audio, Audio]:
    """When it slips, in seconds, float64 [k >= 1], and how strongly, float64 [k]: ``per_s`` [n] times a second, each
    time to stick off by the part ``unsteady``."""
    phase = np.concatenate([[0.0], np.cumsum(per_s) / rate_hz])
    wanted = np.cumsum(np.maximum(1 + unsteady * random.standard_normal(int(phase[-1]) + 2), 0.1))
    wanted = wanted[wanted <= phase[-1]]
    at_s = np.interp(wanted, phase, np.arange(len(phase)) / rate_hz)
    if not len(at_s):
        at_s = np.array([random.uniform(0, 0.5) * len(per_s) / rate_hz])
    stuck_s = np.diff(at_s, prepend=0.0)
    return at_s, np.clip(stuck_s / max(float(np.median(stuck_s)), 1e-6), 0.05, 4.0) ** 0.7


def _creaking(per_s: Audio, rate_hz: int, body: Body, unsteady: float, random: np.random.Generator) -> Audio:
    at_s, strengths = slips(per_s, rate_hz, unsteady, random)
    at, part = np.divmod(at_s * rate_hz, 1)
    # Between two samples, else a tone would be rough.
    train: Audio = np.zeros(len(per_s) + 2)
    np.add.at(train, at.astype(int), (1 - part) * strengths)
    np.add.at(train, at.astype(int) + 1, part * strengths)
    # One body, struck where it rubs: every slip sounds alike.
    sound = peaked(convolved(train, strike(body, rate_hz, random, 0.3))[: len(per_s)])
    rubbed = noise(len(per_s), rate_hz, around(random.uniform(500, 4000), 1.0), random)
    return peaked(sound + random.uniform(0, 0.03) * rubbed * per_s / max(float(per_s.max()), 1e-9))
