"""Small mechanisms: a mouse, a stapler, a camera, a clock, and clicks that are in the wire alone."""

import numpy as np

from trainer.synthesis.grains import at_random, in_rhythm, placed
from trainer.synthesis.spectrum import Audio, around, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

SWITCH = Body((1800, 5500), (3, 8), (0.02, 0.1), (0.00005, 0.0003), click=(0.3, 1.2))
SPRING = Body((700, 2600), (5, 12), (0.004, 0.03), (0.0001, 0.0006), (1.0, 1.8), (0.2, 0.8))
MIRROR = Body((300, 1500), (5, 12), (0.03, 0.12), (0.0002, 0.0008), click=(0.2, 0.8))
GEAR = Body((1500, 5000), (3, 8), (0.005, 0.04), (0.00005, 0.0003), click=(0.3, 1.0))


def mouse_clicks(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Somebody clicks, float64 [n], peak 1: one click or two, each a switch that goes down and comes up 50 to 150 ms
    later."""
    often = in_rhythm(seconds, float(np.exp(random.uniform(np.log(0.4), np.log(5)))), 0.5, random)
    again_s = random.uniform(0.13, 0.3)
    double = random.uniform(size=len(often)) < random.uniform(0, 0.5)
    down_s = np.concatenate([often, often[double] + again_s])
    held_s = random.uniform(0.05, 0.15) * random.uniform(0.8, 1.2, len(down_s))
    down, up = (strike(SWITCH, rate_hz, random, 0.1) for _ in range(2))
    softer = random.uniform(0.2, 1.0)
    at_s, gains = np.concatenate([down_s, down_s + held_s]), random.uniform(0.6, 1, 2 * len(down_s))
    gains[len(down_s) :] *= softer
    sounds = [down] * len(down_s) + [up] * len(down_s)
    return peaked(placed(round(seconds * rate_hz), at_s, gains, sounds, rate_hz))


def stapler(rate_hz: int, random: np.random.Generator) -> Audio:
    """A stapler, a punch or a stamp, float64 [n], peak 1: the arm comes down, the staple goes through, the spring
    throws the arm back."""
    sounds = [strike(body, rate_hz, random, 0.25) for body in (SPRING, BODIES["box"], BODIES["key"], SPRING)]
    through_s = random.uniform(0.02, 0.12)
    at_s = np.array([0.0, through_s, through_s + 0.002, through_s + random.uniform(0.08, 0.3)])
    gains = np.array([random.uniform(0.05, 0.5), 1.0, random.uniform(0.2, 1), random.uniform(0.1, 0.8)])
    return peaked(placed(round(0.7 * rate_hz), at_s, gains, sounds, rate_hz))


def camera_shutter(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A camera, float64 [n], peak 1: the mirror up, the curtain, the mirror down 30 to 150 ms later; one picture, or
    3 to 9 a second."""
    held_s = random.uniform(0.03, 0.15)
    sounds = [strike(body, rate_hz, random, 0.15) for body in (MIRROR, GEAR, GEAR, MIRROR)]
    at_s = np.array([0.0, random.uniform(0.005, 0.02), held_s, held_s + random.uniform(0.003, 0.02)])
    picture = placed(round(0.35 * rate_hz), at_s, random.uniform(0.2, 1, 4), sounds, rate_hz)
    wound = noise(len(picture), rate_hz, around(random.uniform(600, 3000), 0.7), random)
    picture += random.uniform(0, 0.05) * wound * np.hanning(len(picture))
    starts_s = in_rhythm(seconds, random.uniform(0.2, 1.0), 0.5, random)
    apart_s, row = 1 / random.uniform(3, 9), int(random.choice((1, 1, 3, 6)))
    every_s = (starts_s[:, None] + apart_s * np.arange(row)).ravel()
    gains = random.uniform(0.8, 1, len(every_s))
    return peaked(placed(round(seconds * rate_hz), every_s, gains, [picture] * len(every_s), rate_hz))


def clock_ticks(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A clock, a metronome or an indicator, float64 [n], peak 1: tick and tock, 1 to 6 a second, as even as clocks
    are."""
    tick, tock = (strike(GEAR if random.uniform() < 0.6 else BODIES["box"], rate_hz, random, 0.2) for _ in range(2))
    at_s = in_rhythm(seconds, float(random.choice((1, 2, 4, 5, 6, random.uniform(0.8, 4)))), 0.003, random)
    sounds = [(tick, tock)[one % 2] for one in range(len(at_s))]
    return peaked(placed(round(seconds * rate_hz), at_s, random.uniform(0.85, 1, len(at_s)), sounds, rate_hz))


def electrical_clicks(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """What comes over the wire and not through the air, float64 [n], peak 1: steps of a loose plug in bursts, the beat
    of an electric fence, a relay; each falls back as the input's coupling does, and nothing echoes."""
    samples = round(seconds * rate_hz)
    if random.uniform() < 0.5:
        at_s = in_rhythm(seconds, random.uniform(0.6, 1.4), 0.01, random)
    else:
        rows = at_random(seconds, random.uniform(0.3, 2), random, at_least=1)
        at_s = np.concatenate([one + random.exponential(0.03, int(random.integers(1, 30))) for one in rows])
    back_s = float(np.exp(random.uniform(np.log(0.00005), np.log(0.01))))
    length = max(4, round(8 * back_s * rate_hz))
    t = np.arange(length) / rate_hz
    step = np.exp(-t / back_s) * np.cos(2 * np.pi * random.uniform(0, 0.3) * rate_hz * t)
    signs = random.choice((-1.0, 1.0), len(at_s)) * random.lognormal(-0.5, random.uniform(0, 0.8), len(at_s))
    sound = placed(samples, np.minimum(at_s, (samples - 1) / rate_hz), signs, [step] * len(at_s), rate_hz)
    hum = np.sin(2 * np.pi * float(random.choice((50, 60))) * np.arange(samples) / rate_hz)
    hiss = random.standard_normal(samples)
    return peaked(peaked(sound) + random.uniform(0, 0.05) * hum + random.uniform(0.0005, 0.01) * hiss)
