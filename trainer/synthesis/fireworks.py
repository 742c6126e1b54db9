"""Fireworks: bangs like shots', but in the air, in rows, with whistles and crackles. Neither shot nor nothing: a label
of its own, so that a trainer can leave them out or name them."""

import numpy as np

from trainer.synthesis.forest import forest_response
from trainer.synthesis.grains import at_random, placed
from trainer.synthesis.shot import friedlander
from trainer.synthesis.spectrum import Audio, around, convolved, drift, noise, peaked


def firework(rate_hz: int, random: np.random.Generator) -> Audio:
    """A rocket, float64 [n] of 1 to 6 s, peak 1: perhaps its rise, then the bang, then perhaps crackling stars."""
    bang = convolved(_bang(rate_hz, (0.0015, 0.006), random), _echo(rate_hz, random))
    parts = [bang]
    if random.uniform() < 0.5:
        parts.insert(0, random.uniform(0.03, 0.3) * _rise(random.uniform(0.6, 1.8), rate_hz, random))
    sound = np.concatenate(parts)
    if random.uniform() < 0.5:
        stars = crackle(random.uniform(0.5, 2.5), rate_hz, random)
        from_s = (len(sound) - len(bang)) / rate_hz + random.uniform(0.2, 0.7)
        length = max(len(sound), round(from_s * rate_hz) + len(stars))
        sound = np.pad(sound, (0, length - len(sound)))
        sound += placed(length, np.array([from_s]), np.array([random.uniform(0.05, 0.5)]), [stars], rate_hz)
    return peaked(sound)


def firecrackers(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A string of crackers, float64 [n], peak 1: 3 to 30 small bangs a second, at random."""
    at_s = at_random(seconds, float(np.exp(random.uniform(np.log(3), np.log(30)))), random, at_least=2)
    bangs = [_bang(rate_hz, (0.0002, 0.0008), random) for _ in range(4)]
    sounds = [bangs[int(one)] for one in random.integers(len(bangs), size=len(at_s))]
    dry = placed(round(seconds * rate_hz), at_s, random.lognormal(0, 0.4, len(at_s)), sounds, rate_hz)
    return peaked(convolved(dry, _echo(rate_hz, random))[: len(dry)])


def crackle(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Crackling stars, float64 [n], peak 1: hundreds of tiny bangs, thinning out."""
    many = int(seconds * random.uniform(40, 400)) + 2
    at_s = seconds * random.uniform(0, 1, many) ** random.uniform(1, 2)
    bangs = [_bang(rate_hz, (0.00008, 0.0003), random) for _ in range(4)]
    sounds = [bangs[int(one)] for one in random.integers(len(bangs), size=many)]
    dry = placed(round(seconds * rate_hz), at_s, random.lognormal(0, 0.6, many), sounds, rate_hz)
    return peaked(convolved(dry, _echo(rate_hz, random))[: len(dry)])


def _bang(rate_hz: int, positive_phase_s: tuple[float, float], random: np.random.Generator) -> Audio:
    return friedlander(random.uniform(*positive_phase_s), random.uniform(0.7, 2), rate_hz)


def _echo(rate_hz: int, random: np.random.Generator) -> Audio:
    return forest_response(random.uniform(0.3, 1.8), random.uniform(-8, 12), rate_hz, random)


def _rise(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A rocket's hiss, and some whistle: a tone that falls as it flies away."""
    samples = round(seconds * rate_hz)
    part = np.arange(samples) / samples
    hiss = noise(samples, rate_hz, around(random.uniform(2000, 5000), 0.8), random)
    tone_hz = (
        random.uniform(1500, 3500)
        * (1 - random.uniform(0, 0.4) * part)
        * (1 + 0.01 * drift(samples, rate_hz, 0.05, random))
    )
    whistle = np.sin(2 * np.pi * np.cumsum(tone_hz) / rate_hz)
    return peaked((hiss + random.choice((0, 3)) * whistle) * np.exp(-2 * part) * np.minimum(1, part * 20))
