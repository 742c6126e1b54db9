"""Insects and frogs: pulses of a tone or of a narrow band, in chirps, trills or choirs."""

import numpy as np

from trainer.synthesis.grains import at_random, in_rhythm
from trainer.synthesis.spectrum import Audio, around, drift, noise, peaked


def crickets(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One to five crickets, float64 [n], peak 1: a nearly pure tone of 2.5 to 6 kHz, 15 to 60 pulses a second, in
    chirps of a few or in one long trill."""
    samples = round(seconds * rate_hz)
    t = np.arange(samples) / rate_hz
    choir = np.zeros(samples)
    for _ in range(int(random.integers(1, 6))):
        tone_hz = random.uniform(2500, 6000) * (1 + 0.002 * drift(samples, rate_hz, 1.0, random))
        pulses_hz, offset = random.uniform(15, 60), random.uniform(0, 1)
        wing = np.maximum(0, np.sin(2 * np.pi * (pulses_hz * t + offset))) ** random.uniform(0.5, 2)
        if random.uniform() < 0.7:
            chirps_hz, part = random.uniform(0.7, 4), random.uniform(0.15, 0.5)
            wing = wing * np.clip(10 * (part - np.mod(chirps_hz * t + offset, 1)), 0, 1)
        choir += random.uniform(0.1, 1) * wing * np.sin(2 * np.pi * np.cumsum(tone_hz) / rate_hz)
    return peaked(choir)


def cicadas(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A choir of cicadas, float64 [n], peak 1: one to three bands of 3 to 7.5 kHz, rattling, swelling over seconds."""
    samples = round(seconds * rate_hz)
    t = np.arange(samples) / rate_hz
    choir = np.zeros(samples)
    for _ in range(int(random.integers(1, 4))):
        band = noise(samples, rate_hz, around(random.uniform(3000, 7500), random.uniform(0.03, 0.25)), random)
        rattle = 1 + random.uniform(0, 0.9) * np.sin(2 * np.pi * random.uniform(40, 350) * t)
        swell = np.exp(random.uniform(0.1, 0.8) * drift(samples, rate_hz, random.uniform(0.5, 4), random))
        choir += random.uniform(0.2, 1) * band * rattle * swell
    return peaked(choir)


def frogs(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One to four frogs, float64 [n], peak 1: croaks, which are rows of quick, resonant pulses."""
    samples = round(seconds * rate_hz)
    pond = np.zeros(samples)
    for _ in range(int(random.integers(1, 5))):
        pulses_hz, throat_hz = random.uniform(15, 120), float(np.exp(random.uniform(np.log(300), np.log(3500))))
        croak_s, loudness = random.uniform(0.05, 0.7), random.uniform(0.2, 1)
        length = max(2, round(croak_s * rate_hz))
        t = np.arange(length) / rate_hz
        phase = np.mod(pulses_hz * t, 1) / pulses_hz
        tone_hz = throat_hz * (1 + random.uniform(0.01, 0.08) * drift(length, rate_hz, 0.01, random))
        hoarse = random.uniform(0, 0.6) * noise(length, rate_hz, around(throat_hz, 0.6), random)
        voice = np.exp(-phase * random.uniform(60, 400)) * (np.sin(2 * np.pi * np.cumsum(tone_hz) / rate_hz) + hoarse)
        croak = voice * np.sin(np.pi * np.arange(length) / length) ** random.uniform(0.3, 1)
        for at_s in in_rhythm(seconds, random.uniform(0.3, 3), 0.3, random):
            at = round(float(at_s) * rate_hz)
            part = croak[: max(0, samples - at)]
            pond[at : at + len(part)] += loudness * random.uniform(0.6, 1) * part
    return peaked(pond)


def clicking_insects(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Katydids and grasshoppers, float64 [n], peak 1: rows of sharp clicks, each some milliseconds of treble."""
    samples = round(seconds * rate_hz)
    sound = np.zeros(samples)
    length = max(8, round(random.uniform(0.001, 0.006) * rate_hz))
    click = noise(length, rate_hz, around(random.uniform(4000, 7500), 0.4), random)
    click *= np.exp(-np.arange(length) / length * 5)
    for row_s in at_random(seconds, random.uniform(0.5, 4), random, at_least=1):
        clicks_hz = random.uniform(8, 90)
        for one in range(int(random.integers(2, 20))):
            at = round((float(row_s) + one / clicks_hz) * rate_hz)
            part = click[: max(0, samples - at)]
            sound[at : at + len(part)] += random.uniform(0.5, 1) * part
    return peaked(sound)
