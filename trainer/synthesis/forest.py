"""The impulse response of a forest: what trunks, leaves and hills send after a sound's first wavefront.

Single trunks answer first, few and sparse, as the images of the source at rigid cylinders do (Spratt and Abel, "A
digital reverberator modeled after the scattering of acoustic waves by trees in a forest", AES 125th convention,
2008); a trunk turns back treble more than bass, which goes round it. Then all that is scattered more than once:
noise that decays, its treble faster, by leaves and air. Forests reverberate for up to 1.2 to 3 s (Albert et al., "Low
frequency acoustic pulse propagation in temperate forests", J. Acoust. Soc. Am., 2015, doi:10.1121/1.4923365). The
figures of the draws are choices.
"""

import numpy as np
from numpy.typing import NDArray

CROSSOVERS_HZ = (600.0, 2400.0)
LONGEST_S = 1.5


def forest_response(
    reverberation_s: float, wetness_db: float, rate_hz: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """1 at sample 0, then the scattered sound, ``wetness_db`` of energy over the direct; float64 [n].

    ``reverberation_s`` is the time in which the middle of three bands decays by 60 dB; the response ends when 48 dB
    are gone, or after `LONGEST_S`.
    """
    length = max(2, round(min(0.8 * reverberation_s, LONGEST_S) * rate_hz))
    scattered = _diffuse(length, reverberation_s, rate_hz, random)
    trunks = _trunks(length, reverberation_s, rate_hz, random)
    share = random.uniform(0.05, 0.6)
    scattered *= np.sqrt((1 - share) / max(float(np.sum(np.square(scattered))), 1e-12))
    scattered += trunks * np.sqrt(share / max(float(np.sum(np.square(trunks))), 1e-12))
    response = scattered * 10 ** (wetness_db / 20)
    response[0] = 1.0
    return response


def _trunks(length: int, reverberation_s: float, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Sparse reflections from 3 ms on: the first strong and single, later ones weaker."""
    nearest_s, count = random.uniform(0.003, 0.03), int(random.integers(4, 40))
    delays_s = nearest_s + random.uniform(0, 1, count) ** 1.5 * min(0.4, 0.5 * reverberation_s)
    gains = random.choice((-1.0, 1.0), count) * np.exp(random.normal(0, 0.5, count))
    gains *= nearest_s / (nearest_s + delays_s) * 10 ** (-3 * delays_s / reverberation_s)
    at = np.rint(delays_s * rate_hz).astype(int)
    inside = at < length - 1
    sound = np.zeros(length)
    np.add.at(sound, at[inside], gains[inside])
    sound[1:] -= random.uniform(0.0, 0.7) * sound[:-1]
    return sound


def _diffuse(length: int, reverberation_s: float, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Noise in three bands, each with its own decay, that builds up in some milliseconds."""
    size = 1 << (length - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / rate_hz)
    below = [1 / (1 + (frequency / crossover_hz) ** 4) for crossover_hz in CROSSOVERS_HZ]
    weights = 10 ** (random.uniform((-6, -2, -8), (3, 2, 2)) / 20)
    shapes = weights[:, None] * np.stack([below[0], (1 - below[0]) * below[1], 1 - below[1]])
    shapes[:, frequency < 40] = 0
    # Single precision is enough for noise, and twice as fast.
    spectrum = random.standard_normal(2 * len(frequency), dtype=np.float32).view(np.complex64)
    bands = np.fft.irfft(shapes.astype(np.float32) * spectrum, size)[:, :length]
    decays_s = reverberation_s * random.uniform((0.8, 1.0, 0.3), (1.4, 1.0, 0.8))
    t = np.arange(length, dtype=np.float32) / np.float32(rate_hz)
    for band, decay_s in enumerate(decays_s):
        bands[band] *= np.exp(t * np.float32(-3 * np.log(10) / decay_s))
    built_up = 1 - np.exp(t * np.float32(-1 / random.uniform(0.002, 0.03)))
    return np.asarray(bands.sum(axis=0) * built_up, dtype=np.float64)
