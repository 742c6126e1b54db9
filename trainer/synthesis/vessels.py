"""Dishes, bottles, tins and chains, and balls: hard things that meet."""

import numpy as np

from trainer.synthesis.grains import at_random, banked, in_rhythm, placed, scattered
from trainer.synthesis.releases import TIN, cork
from trainer.synthesis.spectrum import Audio, peaked
from trainer.synthesis.struck import BODIES, Body, strike

PLATE = Body((700, 3500), (4, 12), (0.002, 0.02), (0.0001, 0.0005), (0.8, 1.4), (0.1, 0.6))
CUTLERY = Body((1800, 6500), (4, 9), (0.0015, 0.01), (0.00005, 0.0003), (1.2, 1.9), (0.2, 0.8))
BOTTLE = Body((900, 3500), (3, 8), (0.002, 0.012), (0.0001, 0.0004), (0.9, 1.5), (0.1, 0.6))
LINK = Body((1500, 5500), (4, 9), (0.002, 0.02), (0.00005, 0.0003), (1.0, 1.8), (0.2, 0.8))
RUBBER = Body((70, 350), (3, 9), (0.05, 0.25), (0.001, 0.006), (0.7, 1.2), (0.0, 0.3))
HARD_BALL = Body((700, 3500), (3, 8), (0.02, 0.1), (0.0002, 0.001), click=(0.1, 0.7))


def dishes(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Plates, cups and cutlery, float64 [n], peak 1: set down, stacked, dropped into a drawer, in clusters."""
    samples = round(seconds * rate_hz)
    share = random.uniform(0.0, 1.0)
    things = [strike(PLATE if random.uniform() < share else CUTLERY, rate_hz, random, 0.6) for _ in range(10)]
    starts_s = at_random(seconds, random.uniform(0.4, 3), random, at_least=1)
    hits = random.integers(1, int(random.integers(2, 16)), len(starts_s))
    at_s = np.repeat(starts_s, hits) + np.where(np.arange(hits.sum()) > 0, random.exponential(0.08, hits.sum()), 0.0)
    gains = random.lognormal(-0.7, 0.8, len(at_s))
    return peaked(scattered(samples, at_s, gains, banked(things), rate_hz, random))


def bottles(rate_hz: int, random: np.random.Generator) -> Audio:
    """A bottle or a tin is struck, knocked over or thrown away, float64 [n], peak 1: it rings, its air too, and it may
    bounce and roll."""
    body = BOTTLE if random.uniform() < 0.5 else TIN
    bounces = int(random.integers(1, 9))
    gaps_s = random.uniform(0.05, 0.35) * random.uniform(0.55, 0.95) ** np.arange(bounces)
    at_s = np.cumsum(gaps_s) - gaps_s[0]
    gains = np.asarray(random.uniform(0.4, 0.95) ** np.arange(bounces) * random.uniform(0.5, 1, bounces))
    few = [strike(body, rate_hz, random, 0.6) for _ in range(min(3, bounces))]
    length = round((float(at_s[-1]) + 0.7) * rate_hz)
    sound = placed(length, at_s, gains, [few[one % len(few)] for one in range(bounces)], rate_hz)
    hollow = cork(rate_hz, random)
    sound[: len(hollow)] += random.uniform(0, 0.8) * gains[0] * hollow[:length]
    return peaked(sound)


def chains(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A chain, a gate or a bunch of keys is shaken, float64 [n], peak 1: links that strike each other 20 to 150 times
    a second while it is moved, and now and then the gate."""
    samples = round(seconds * rate_hz)
    links = banked([strike(LINK, rate_hz, random, 0.15) for _ in range(8)])
    shakes_s = in_rhythm(seconds, float(np.exp(random.uniform(np.log(0.5), np.log(7)))), 0.3, random)
    each = int(random.integers(4, 60))
    at_s = (shakes_s[:, None] + random.gamma(2.0, random.uniform(0.01, 0.12), (len(shakes_s), each))).ravel()
    at_s[:each] -= at_s[:each].min() - shakes_s[0]
    sound = peaked(scattered(samples, at_s, random.lognormal(-1, 0.7, len(at_s)), links, rate_hz, random))
    gate = [strike(BODIES["iron" if random.uniform() < 0.6 else "sheet"], rate_hz, random, 0.8)] * len(shakes_s)
    struck = np.where(random.uniform(size=len(shakes_s)) < random.uniform(0, 0.6), random.uniform(0.2, 2), 0.0)
    return peaked(sound + placed(samples, shakes_s, struck, gate, rate_hz))


def bouncing_ball(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A ball is dropped, float64 [n], peak 1: each bounce keeps a part e of the speed, so that the gaps and the blows
    shrink by e (0.5 to 0.93); dribbled ones go on. Tennis to basketball."""
    body = RUBBER if random.uniform() < 0.5 else HARD_BALL
    ground = BODIES[("board", "stone", "door")[int(random.integers(3))]]
    kept, first_s = random.uniform(0.5, 0.93) if random.uniform() < 0.7 else 1.0, random.uniform(0.25, 1.1)
    shrunk = np.asarray(kept ** np.arange(60, dtype=np.float64))
    at_s = random.uniform(0, min(1.0, seconds / 2)) + np.concatenate([[0.0], np.cumsum(first_s * shrunk)[:-1]])
    hits = at_s < seconds
    ball, floor = strike(body, rate_hz, random, 0.3), strike(ground, rate_hz, random, 0.3)
    blow = np.zeros(max(len(ball), len(floor)))
    blow[: len(ball)] += ball
    blow[: len(floor)] += random.uniform(0.05, 0.6) * floor
    gains = shrunk[hits] * random.uniform(0.8, 1, int(hits.sum()))
    return peaked(placed(round(seconds * rate_hz), at_s[hits], gains, [blow] * len(gains), rate_hz))
