"""Wind: what it does in a microphone, and in leaves."""

import numpy as np

from trainer.synthesis.spectrum import Audio, around, drift, noise, peaked


def wind(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Turbulence at the microphone, in gusts, float64 [n], peak 1: a rumble whose pressure goes with the square of the
    speed and whose spectrum falls as that of turbulence does (Kolmogorov's -5/3, steeper where the capsule is larger
    than the eddies); strong gusts overload the capsule, and some wind is heard in leaves."""
    samples = round(seconds * rate_hz)
    speed = _gusts(samples, rate_hz, random)
    corner_hz, slope = random.uniform(30, 250), random.uniform(5 / 6, 2.0)
    rumble = noise(samples, rate_hz, lambda f: 1 / (1 + (f / corner_hz) ** 2) ** slope, random)
    blown = rumble * speed**2
    drive = np.exp(random.uniform(np.log(0.05), np.log(1.5)))
    blown = np.tanh(drive * blown) / drive
    leaves = random.uniform(0, 0.15) * _leaves(samples, rate_hz, speed, random)
    return peaked(blown + leaves)


def leaves_in_wind(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Foliage, float64 [n], peak 1: a hiss that swells with the gusts; the stiffer the leaves, the higher."""
    samples = round(seconds * rate_hz)
    return peaked(_leaves(samples, rate_hz, _gusts(samples, rate_hz, random), random))


def _gusts(samples: int, rate_hz: int, random: np.random.Generator) -> Audio:
    """The wind's speed over its mean, float64 [samples], never still."""
    slow = drift(samples, rate_hz, random.uniform(2, 8), random)
    quick = drift(samples, rate_hz, random.uniform(0.2, 1), random)
    return np.exp(random.uniform(0.1, 0.5) * slow + random.uniform(0.02, 0.2) * quick)


def _leaves(samples: int, rate_hz: int, speed: Audio, random: np.random.Generator) -> Audio:
    hiss = noise(samples, rate_hz, around(random.uniform(1200, 5000), random.uniform(0.6, 1.4)), random)
    flutter = np.exp(random.uniform(0, 0.4) * drift(samples, rate_hz, random.uniform(0.02, 0.1), random))
    return np.asarray(hiss * flutter * speed**2.5)
