"""Coughs, sneezes and barks: bursts of air and voice through a throat, and no word.

A throat of length L that is open at the mouth rings near (2 k - 1) c / 4 L, with bandwidths of 80 to 300 Hz (Fant,
"Acoustic Theory of Speech Production", 1960): 0.13 to 0.18 m for people, 0.08 to 0.25 m for dogs.
"""

import numpy as np

from trainer.synthesis.grains import in_rhythm, placed
from trainer.synthesis.spectrum import Audio, around, between, convolved, drift, noise, peaked
from trainer.synthesis.struck import ring

SPEED_MPS = 350.0
"""Of sound in warm, moist air."""


def cough(rate_hz: int, random: np.random.Generator) -> Audio:
    """A cough, float64 [n], peak 1, in the phases of one: the burst as the throat opens (30 to 60 ms), the rush of air,
    and often a voiced end (Korpáš, Sadloňová and Vrabec, "Analysis of the cough sound: an overview", Pulmonary
    Pharmacology, 1996)."""
    burst_s, rush_s, voiced_s = random.uniform(0.02, 0.06), random.uniform(0.06, 0.3), random.uniform(0.04, 0.2)
    length = round((burst_s + rush_s + voiced_s + 0.05) * rate_hz)
    t = np.arange(length) / rate_hz
    air = noise(length, rate_hz, between(200, random.uniform(2500, 7000), 1), random)
    strength = np.exp(-t / burst_s) + random.uniform(0.1, 0.5) * np.exp(-0.5 * ((t - burst_s) / rush_s) ** 2)
    sound = air * strength * np.minimum(1, (t + 1 / rate_hz) / random.uniform(0.001, 0.008))
    late = t - burst_s - rush_s
    voice = _voice(length, rate_hz, random.uniform(90, 400) * np.exp(-0.5 * t), 0.15, random)
    voiced = np.where(late > 0, np.sin(np.pi * np.clip(late / voiced_s, 0, 1)), 0.0)
    sound += random.uniform(0, 0.7) * voice * voiced
    return _through(sound, rate_hz, random.uniform(0.13, 0.18), random)


def sneeze(rate_hz: int, random: np.random.Generator) -> Audio:
    """A sneeze, float64 [n], peak 1: at times a breath in, then a burst that hisses between the teeth, voiced or not,
    within 0.1 to 0.4 s."""
    breath_s = random.uniform(0.1, 0.7) if random.uniform() < 0.5 else 0.0
    burst_s = random.uniform(0.08, 0.35)
    length = round((breath_s + burst_s + 0.25) * rate_hz)
    t = np.arange(length) / rate_hz
    since = t - breath_s
    breath = noise(length, rate_hz, around(random.uniform(800, 2500), 0.8), random)
    breath *= np.where(since < 0, np.clip(t / max(breath_s, 1e-3), 0, 1) ** 2, 0.0)
    hiss = noise(length, rate_hz, around(random.uniform(2000, 6000), random.uniform(0.5, 1.2)), random)
    burst = np.where(since >= 0, np.minimum(1, since / random.uniform(0.003, 0.03)), 0.0)
    burst *= np.exp(-np.clip(since, 0, None) / (0.5 * burst_s))
    voice = _voice(length, rate_hz, random.uniform(150, 600) * np.exp(-2 * np.clip(since, 0, None)), 0.08, random)
    mouth = _through(burst * (hiss + random.uniform(0, 1.5) * voice), rate_hz, random.uniform(0.13, 0.18), random)
    out = peaked(random.uniform(0.3, 1) * mouth[:length] + random.uniform(0.1, 1) * peaked(burst * hiss))
    return peaked(out + random.uniform(0.01, 0.1) * breath)


def barks(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One dog, float64 [n], peak 1: barks of 60 to 250 ms in rows; harsh, low and even, or clear, high and gliding
    (Yin and McCowan, "Barking in domestic dogs: context specificity and individual identification", Animal Behaviour,
    2004)."""
    size_m = random.uniform(0.08, 0.25)
    pitch_hz = 55 / size_m * random.uniform(0.7, 1.6)
    harsh = random.uniform(0.1, 1.0)
    few = [_bark(rate_hz, pitch_hz, size_m, harsh, random) for _ in range(3)]
    at_s = in_rhythm(seconds, float(np.exp(random.uniform(np.log(0.7), np.log(4)))), 0.2, random)
    kept = random.uniform(size=len(at_s)) < random.uniform(0.6, 1)
    kept[0] = True
    at_s = at_s[kept]
    sounds = [few[int(one)] for one in random.integers(3, size=len(at_s))]
    return peaked(placed(round(seconds * rate_hz), at_s, random.uniform(0.5, 1, len(at_s)), sounds, rate_hz))


def _bark(rate_hz: int, pitch_hz: float, size_m: float, harsh: float, random: np.random.Generator) -> Audio:
    length = round(random.uniform(0.06, 0.25) * rate_hz)
    part = np.arange(length) / length
    glide = 1 + random.uniform(0.05, 0.6) * (np.sin(np.pi * part**0.7) - 0.5)
    voice = _voice(length, rate_hz, pitch_hz * random.uniform(0.9, 1.1) * glide, 0.02 + 0.2 * harsh, random)
    air = noise(length, rate_hz, between(300, 5000, 1), random)
    open_mouth = np.minimum(1, part / random.uniform(0.03, 0.2)) * (1 - part) ** random.uniform(0.4, 1.5)
    return _through((voice + harsh * 0.5 * air) * open_mouth, rate_hz, size_m, random)


def _voice(length: int, rate_hz: int, pitch_hz: Audio, rough: float, random: np.random.Generator) -> Audio:
    """Vocal folds, float64 [length], RMS about 1: an airflow that closes sharply, unsteady by the part ``rough``."""
    pitch = np.broadcast_to(pitch_hz, length) * np.exp(rough * drift(length, rate_hz, 0.01, random))
    phase = np.mod(np.cumsum(pitch) / rate_hz, 1)
    flow = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2 * phase, 0.0)
    closing = np.diff(flow, prepend=0.0)
    return np.asarray(closing / max(float(np.sqrt(np.mean(np.square(closing)))), 1e-9))


def _through(source: Audio, rate_hz: int, length_m: float, random: np.random.Generator) -> Audio:
    """``source`` [n] through a throat, float64 [n + its ringing], peak 1."""
    count = 5
    quarter_hz = (2 * np.arange(count) + 1) * SPEED_MPS / (4 * length_m)
    frequency = np.asarray(quarter_hz * np.exp(random.normal(0, 0.15, count)))
    decay_s = np.asarray(1 / (np.pi * random.uniform(80, 300, count)))
    gains = np.asarray(random.uniform(0.4, 1, count) / (1 + np.arange(count)) ** random.uniform(0, 1))
    return peaked(convolved(source, ring(frequency, decay_s, gains, 0.04, rate_hz)))
