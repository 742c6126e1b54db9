"""Birds: whistles, trills, caws, and the drumming of woodpeckers, which is a row of blows on wood."""

import numpy as np

from trainer.synthesis.grains import in_rhythm, placed
from trainer.synthesis.spectrum import Audio, drift, noise, peaked, shaped
from trainer.synthesis.struck import BODIES, strike


def birdsong(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One bird's song, float64 [n], peak 1: a phrase of one to eight whistled notes, again and again."""
    notes = [_note(rate_hz, random) for _ in range(int(random.integers(1, 9)))]
    gaps_s = random.uniform(0.01, 0.3, len(notes))
    lengths_s = np.array([len(note) / rate_hz for note in notes])
    starts_s = np.cumsum(gaps_s + lengths_s) - gaps_s[0] - lengths_s
    phrase = placed(
        round(float(starts_s[-1] + lengths_s[-1]) * rate_hz) + 1, starts_s, np.ones(len(notes)), notes, rate_hz
    )
    at_s = in_rhythm(seconds, 1 / (len(phrase) / rate_hz + random.uniform(0.2, 3)), 0.2, random)
    return peaked(placed(round(seconds * rate_hz), at_s, np.ones(len(at_s)), [phrase] * len(at_s), rate_hz))


def caws(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A crow, a hornbill or a parrot, float64 [n], peak 1: hoarse, harmonic calls of 0.15 to 0.6 s."""
    voice_hz, call_s = random.uniform(250, 900), random.uniform(0.15, 0.6)
    formants = [(random.uniform(900, 3500), random.uniform(0.15, 0.5)) for _ in range(3)]
    calls = []
    at_s = in_rhythm(seconds, random.uniform(0.4, 2), 0.2, random)
    length = round(call_s * rate_hz)
    t = np.arange(length) / rate_hz
    for _ in range(min(3, len(at_s))):
        hoarse = 1 + random.uniform(0.01, 0.08) * drift(length, rate_hz, 0.01, random)
        phase = np.cumsum(voice_hz * hoarse * (1 - 0.2 * t / call_s)) / rate_hz
        buzz = 1 - 2 * np.mod(phase, 1) + random.uniform(0, 0.5) * random.standard_normal(length)
        throat = shaped(
            buzz,
            rate_hz,
            lambda f: np.asarray(
                sum(np.exp(-0.5 * (np.log2(np.maximum(f, 1) / hz) / octaves) ** 2) for hz, octaves in formants)
            ),
        )
        calls.append(peaked(throat * np.sin(np.pi * t / call_s) ** 0.5))
    sounds = [calls[int(one)] for one in random.integers(len(calls), size=len(at_s))]
    return peaked(placed(round(seconds * rate_hz), at_s, np.ones(len(at_s)), sounds, rate_hz))


def drumming(rate_hz: int, random: np.random.Generator) -> Audio:
    """A woodpecker's roll on a dead branch, float64 [n] of about a second, peak 1: 8 to 30 blows, 12 to 28 a second,
    faster or slower and weaker towards the end."""
    blows = int(random.integers(8, 31))
    gaps_s = 1 / random.uniform(12, 28) * np.linspace(1, random.uniform(0.6, 1.3), blows)
    at_s = np.cumsum(gaps_s) - gaps_s[0]
    one = strike(BODIES["trunk"], rate_hz, random)
    gains = np.linspace(1, random.uniform(0.3, 1), blows) * random.uniform(0.8, 1, blows)
    return peaked(placed(round((at_s[-1] + 0.2) * rate_hz), at_s, gains, [one] * blows, rate_hz))


def _note(rate_hz: int, random: np.random.Generator) -> Audio:
    """A whistle that glides, wavers or trills, or a short burst of noise."""
    length = round(float(np.exp(random.uniform(np.log(0.03), np.log(0.5)))) * rate_hz)
    t = np.arange(length) / rate_hz
    part = np.arange(length) / max(1, length - 1)
    envelope = np.sin(np.pi * part) ** random.uniform(0.4, 1.5)
    if random.uniform() < 0.1:
        return peaked(
            noise(length, rate_hz, lambda f: np.exp(-0.5 * (np.log2(np.maximum(f, 1) / 4500) / 0.5) ** 2), random)
            * envelope
        )
    first_hz, last_hz = np.exp(random.uniform(np.log(1500), np.log(7000), 2))
    pitch_hz = first_hz * (last_hz / first_hz) ** (part * random.uniform(0, 1))
    pitch_hz = pitch_hz * (1 + random.choice((0, 0, 0.05, 0.15)) * np.sin(2 * np.pi * random.uniform(8, 60) * t))
    phase = 2 * np.pi * np.cumsum(np.minimum(pitch_hz, 0.45 * rate_hz)) / rate_hz
    overtone = random.uniform(0, 0.2) * np.sin(2 * phase) if pitch_hz.max() < 0.22 * rate_hz else 0.0
    return peaked((np.sin(phase) + overtone) * envelope)
