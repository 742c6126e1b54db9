"""Thunder: a shock wave from every piece of a crooked channel, each arriving in its own time.

Few, "Power spectrum of thunder", J. Geophys. Res., 1969; Ribner and Roy, "Acoustics of thunder: a quasilinear model
for tortuous lightning", J. Acoust. Soc. Am., 1982: the channel is a chain of short straight pieces, a piece is heard
as an N-wave of some milliseconds, strongest across its length. Near lightning cracks, far lightning rolls.
"""

import numpy as np

from trainer.synthesis.air import Weather, absorption_db_per_m
from trainer.synthesis.ballistics import SPEED_OF_SOUND_MPS, n_wave
from trainer.synthesis.grains import banked, scattered
from trainer.synthesis.spectrum import Audio, convolved, noise, peaked, shaped

PIECE_M = 8.0


def thunder(rate_hz: int, random: np.random.Generator) -> Audio:
    """One peal, float64 [n] of 2 to 14 s, peak 1; lightning at 0.15 to 8 km."""
    return thunder_from(float(np.exp(random.uniform(np.log(150), np.log(8000)))), rate_hz, random)


def thunder_from(distance_m: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """One peal of lightning whose foot is ``distance_m`` away, float64 [n], peak 1, its first sound at sample 0."""
    height_m = random.uniform(1500, 5000)
    pieces = round(height_m * random.uniform(1.1, 1.8) / PIECE_M)
    # Tortuosity: the direction wanders about 16° a piece (Hill, J. Geophys. Res., 1968), and is drawn upwards.
    steps = random.normal(0, 0.28, (pieces, 3)).cumsum(axis=0)
    steps -= np.linspace(0, 1, pieces)[:, None] * steps[-1] * random.uniform(0.3, 1.0)
    steps[:, 2] = 1 + 0.3 * steps[:, 2]
    length_m = np.maximum(random.exponential(PIECE_M, pieces), 0.5)
    steps *= (length_m / np.linalg.norm(steps, axis=1))[:, None]
    foot = np.array([distance_m, 0.0, 0.0])
    middle = foot + np.cumsum(steps, axis=0) - steps / 2
    range_m = np.maximum(np.linalg.norm(middle, axis=1), 20.0)
    across = 1 - np.square(np.einsum("ij,ij->i", steps, middle) / (length_m * range_m))
    arrival_s = range_m / SPEED_OF_SOUND_MPS
    arrival_s -= arrival_s.min()
    inside = arrival_s < 13
    strength: Audio = length_m * (0.1 + across) / range_m * np.exp(random.normal(0, 0.5, pieces))
    # N-waves grow longer with the distance, and are of many lengths: no piece is like another.
    stretch = (distance_m / 500) ** 0.25
    waves_s = stretch * np.exp(random.uniform(np.log(0.002), np.log(0.02), 8))
    waves = banked([n_wave(float(wave_s), rate_hz) for wave_s in waves_s])
    samples = round((float(arrival_s[inside].max()) + 1) * rate_hz)
    sound = scattered(samples, arrival_s[inside], strength[inside], waves, rate_hz, random)
    weather = Weather(random.uniform(10, 30), random.uniform(60, 100))
    sound = shaped(sound, rate_hz, lambda f: np.asarray(10 ** (-absorption_db_per_m(f, weather) * distance_m / 20)))
    return peaked(_reverberant(sound, rate_hz, random))


def _reverberant(sound: Audio, rate_hz: int, random: np.random.Generator) -> Audio:
    """With hills and clouds behind it: a second of dull tail."""
    decay_s = random.uniform(0.1, 0.9)
    length = round(4 * decay_s * rate_hz)
    tail = noise(length, rate_hz, lambda f: 1 / (1 + (f / 300) ** 2), random)
    tail *= np.exp(-np.arange(length) / rate_hz / decay_s)
    tail *= random.uniform(0.2, 1.5) / np.sqrt(np.sum(np.square(tail)))
    tail[0] += 1
    whole = convolved(sound, tail)
    fade = min(len(whole), rate_hz // 2)
    whole[len(whole) - fade :] *= np.linspace(1, 0, fade)
    return whole
