"""Engines: a train of pulses, one for each stroke that fires, through whatever radiates it.

Every cylinder fires a little differently and every time a little otherwise, and that is what an ear takes for an
engine; a worn diesel knocks, and each knock is a small impulse of 1 to 4 kHz. The figures are choices.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.grains import banked, scattered
from trainer.synthesis.spectrum import Audio, around, between, convolved, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, ring, strike

KNOCK = Body((700, 2500), (3, 9), (0.02, 0.1), (0.0001, 0.0006), (0.8, 1.4), (0.2, 0.8))


class Firing(NamedTuple):
    """When the cylinders fire, in seconds, float64 [k], and how strongly."""

    at_s: NDArray[np.float64]
    gains: NDArray[np.float64]


def idling_diesel(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A lorry or a generator, float64 [n], peak 1: four to eight cylinders at 550 to 1500 turns a minute, knocking."""
    cylinders = int(random.choice((2, 3, 4, 4, 6, 8)))
    per_s = random.uniform(550, 1500) / 60 * cylinders / 2
    fired = firing(seconds, rate_hz, _steady(seconds, rate_hz, per_s, random), cylinders, 0.03, random)
    return _engine(seconds, rate_hz, fired, exhaust_hz=(40, 160), knocks=(0.3, 3), hiss=(0.05, 0.3), random=random)


def knocking_engine(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A pump or a two-wheeled tractor, float64 [n], peak 1: one or two cylinders, 4 to 15 hard knocks a second."""
    per_s = random.uniform(4, 15)
    fired = firing(seconds, rate_hz, _steady(seconds, rate_hz, per_s, random), int(random.integers(1, 3)), 0.06, random)
    return _engine(seconds, rate_hz, fired, exhaust_hz=(50, 250), knocks=(1, 6), hiss=(0, 0.1), random=random)


def two_stroke(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A moped or an outboard, float64 [n], peak 1: 25 to 120 strokes a second, revving, misfiring when idle."""
    per_s = float(np.exp(random.uniform(np.log(25), np.log(120))))
    revs = per_s * np.exp(random.uniform(0.02, 0.35) * drift(round(seconds * rate_hz), rate_hz, 1.5, random))
    fired = firing(seconds, rate_hz, revs, 1, 0.04, random)
    return _engine(seconds, rate_hz, fired, exhaust_hz=(120, 500), knocks=(0, 0.5), hiss=(0.05, 0.4), random=random)


def chainsaw(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A chainsaw, float64 [n], peak 1: idle at 40 strokes a second, up to 130 to 230 in the cut, slowed by the wood,
    and the chain's rasp with it."""
    samples = round(seconds * rate_hz)
    full, idle = random.uniform(130, 230), random.uniform(35, 55)
    wanted = (drift(samples, rate_hz, random.uniform(1, 3), random) > random.uniform(-1.5, 0.5)).astype(np.float64)
    # The engine follows the throttle in some tenths of a second.
    lag = round(random.uniform(0.1, 0.4) * rate_hz)
    throttle = np.clip(
        convolved(np.pad(wanted, (lag, 0), mode="edge"), np.full(lag, 1 / lag))[lag : lag + samples], 0, 1
    )
    load = 1 - 0.15 * throttle * np.clip(drift(samples, rate_hz, 0.5, random), 0, 2)
    fired = firing(seconds, rate_hz, (idle + (full - idle) * throttle) * load, 1, 0.02, random)
    engine = _engine(seconds, rate_hz, fired, exhaust_hz=(200, 700), knocks=(0, 0.3), hiss=(0.05, 0.2), random=random)
    rasp = noise(samples, rate_hz, between(random.uniform(800, 2000), random.uniform(4000, 9000)), random)
    return peaked(engine + random.uniform(0.02, 0.2) * rasp * throttle)


def jackhammer(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A pneumatic hammer, float64 [n], peak 1: 12 to 32 blows a second of steel on stone, the ground's thud, the air's
    exhaust; it stops and starts."""
    samples = round(seconds * rate_hz)
    fired = firing(seconds, rate_hz, _steady(seconds, rate_hz, random.uniform(12, 32), random), 1, 0.02, random)
    on = np.interp(fired.at_s, np.arange(samples) / rate_hz, drift(samples, rate_hz, random.uniform(1, 4), random))
    gains = fired.gains * (on > random.uniform(-2.5, 0))
    if not gains.any():
        gains = fired.gains
    names = ("chisel", "stone", "trunk")
    sound = np.zeros(samples)
    for name, share in zip(names, random.uniform((0.3, 0.1, 0.3), (1, 0.8, 1)), strict=True):
        bank = banked([strike(BODIES[name], rate_hz, random, 0.25) for _ in range(2)])
        sound += share * scattered(samples, fired.at_s, gains, bank, rate_hz, random)
    puff = noise(round(0.02 * rate_hz), rate_hz, around(random.uniform(800, 4000), 1.0), random)
    puff *= np.hanning(len(puff))
    sound += random.uniform(0.02, 0.2) * scattered(samples, fired.at_s, gains, puff[None], rate_hz, random)
    return peaked(sound)


def helicopter(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A rotor, float64 [n], peak 1: 9 to 28 blade slaps a second, low and round, under a turbine's hiss and whine."""
    samples = round(seconds * rate_hz)
    fired = firing(seconds, rate_hz, _steady(seconds, rate_hz, random.uniform(9, 28), random), 2, 0.004, random)
    slap = np.diff(np.hanning(max(8, round(random.uniform(0.004, 0.02) * rate_hz))))
    sound = peaked(scattered(samples, fired.at_s, fired.gains, slap[None], rate_hz, random))
    sound += random.uniform(0.02, 0.15) * noise(samples, rate_hz, between(150, random.uniform(800, 5000), 1), random)
    t = np.arange(samples) / rate_hz
    sound += random.uniform(0, 0.05) * np.sin(2 * np.pi * random.uniform(600, 4000) * t)
    return peaked(sound * np.exp(0.3 * drift(samples, rate_hz, 3.0, random)))


def firing(
    seconds: float, rate_hz: int, per_s: Audio, cylinders: int, unsteady: float, random: np.random.Generator
) -> Firing:
    """The strokes of an engine that fires ``per_s`` [n] times a second: cylinders in turn, each with its own strength
    and lateness, each stroke off by the part ``unsteady``; at least one stroke."""
    phase = np.concatenate([[0.0], np.cumsum(per_s) / rate_hz])
    count = max(1, int(phase[-1]))
    at_s = np.interp(np.arange(count) + random.uniform(0, 0.5), phase, np.arange(len(phase)) / rate_hz)
    turn = np.arange(count) % cylinders
    late = unsteady * (random.standard_normal(count) + random.standard_normal(cylinders)[turn])
    strength = np.exp(3 * unsteady * random.standard_normal(count) + random.normal(0, 0.2, cylinders)[turn])
    mean_s = seconds / max(float(phase[-1]), 1.0)
    return Firing(np.clip(at_s + late * mean_s, 0, seconds), strength)


def _steady(seconds: float, rate_hz: int, per_s: float, random: np.random.Generator) -> Audio:
    return np.asarray(per_s * (1 + 0.015 * drift(round(seconds * rate_hz), rate_hz, 1.0, random)))


def _engine(
    seconds: float,
    rate_hz: int,
    fired: Firing,
    exhaust_hz: tuple[float, float],
    knocks: tuple[float, float],
    hiss: tuple[float, float],
    random: np.random.Generator,
) -> Audio:
    """Exhaust, knocks and the machine's hiss, which breathes with the strokes."""
    samples = round(seconds * rate_hz)
    strokes = _pipes(random.uniform(*exhaust_hz), rate_hz, random)
    sound = peaked(scattered(samples, fired.at_s, fired.gains, strokes, rate_hz, random))
    strength = random.uniform(*knocks)
    if strength > 0.05:
        bank = banked([strike(KNOCK, rate_hz, random, 0.03) for _ in range(3)])
        hard = fired.gains * np.exp(random.normal(0, 0.5, len(fired.gains)))
        sound += 0.5 * strength * peaked(scattered(samples, fired.at_s, hard, bank, rate_hz, random))
    breath = noise(samples, rate_hz, between(random.uniform(150, 600), random.uniform(1500, 7000), 1), random)
    sound += 0.5 * random.uniform(*hiss) * breath * (0.5 + np.abs(sound))
    return peaked(sound)


def _pipes(first_hz: float, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """What an exhaust makes of a stroke, some ways, float64 [k, n]: the pipe's resonances, heavily damped, and the
    turbulence of the gas."""
    overtones = np.arange(12) + random.uniform(0.5, 1.0)
    damping, falling, rough = random.uniform(1.0, 4.0), random.uniform(0.3, 1.2), random.uniform(0.2, 1.5)
    gas, gas_s = around(random.uniform(300, 2500), random.uniform(0.8, 1.5)), random.uniform(0.003, 0.015)
    ways = []
    for _ in range(6):
        frequency = np.asarray(first_hz * overtones * np.exp(random.normal(0, 0.04, 12)))
        decay_s = np.asarray(damping / (np.pi * frequency))
        gains = np.asarray(random.uniform(0.3, 1, 12) / (1 + np.arange(12)) ** falling)
        stroke = peaked(ring(frequency, decay_s, gains, min(0.15, 6 * float(decay_s.max())), rate_hz))
        puff = noise(len(stroke), rate_hz, gas, random) * np.exp(-np.arange(len(stroke)) / rate_hz / gas_s)
        ways.append(stroke + rough * random.uniform(0.5, 1) * peaked(puff))
    return banked(ways)
