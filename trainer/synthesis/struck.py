"""Things that are struck: modal synthesis, for every knock, clank and click here.

A body rings in damped modes, and inner friction decides how long: a mode of frequency f dies away as
exp(-π f loss t), so wood is dull, metal rings and glass stands between (van den Doel and Pai, "The sounds of physical
shapes", Presence, 1998). A soft or slow blow excites the low modes only: it is a pulse as long as the contact.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainer.synthesis.spectrum import Audio, around, noise, peaked

Range = tuple[float, float]
_BLOCK = 64


@dataclass(frozen=True)
class Body:
    """What things of a kind have in common: ranges to draw one from."""

    lowest_hz: Range
    modes: tuple[int, int]
    loss: Range
    """Loss factor (tan φ): 0.01 to 0.1 for wood and plastic, 0.0005 to 0.005 for metal, about 0.003 for glass."""
    contact_s: Range
    """Length of the blow."""
    stretch: Range = (0.8, 1.6)
    """Mode k lies near ``lowest_hz * k ** stretch``: 1 is a plate, 2 a bar."""
    click: Range = (0.0, 0.3)
    """Strength of the blow's own sound, against that of the modes."""


BODIES: Mapping[str, Body] = {
    "trunk": Body((120, 600), (5, 14), (0.04, 0.2), (0.0002, 0.003), click=(0.0, 0.7)),
    "board": Body((90, 500), (8, 24), (0.025, 0.12), (0.0002, 0.003), click=(0.0, 0.7)),
    "branch": Body((900, 2500), (3, 7), (0.03, 0.1), (0.0001, 0.0005), click=(0.3, 1.0)),
    "nail": Body((1200, 3500), (4, 9), (0.003, 0.02), (0.0001, 0.0004), (1.2, 1.9), (0.2, 0.8)),
    "iron": Body((250, 1800), (6, 18), (0.0007, 0.006), (0.0001, 0.0006), (1.0, 1.9), (0.1, 0.5)),
    "sheet": Body((90, 600), (20, 50), (0.01, 0.06), (0.00005, 0.0004), (0.9, 1.2), (0.0, 0.8)),
    "chisel": Body((400, 2500), (6, 16), (0.008, 0.05), (0.0001, 0.0005), (1.0, 1.8), (0.2, 0.8)),
    "box": Body((180, 900), (5, 12), (0.03, 0.1), (0.0002, 0.001), click=(0.1, 0.6)),
    "key": Body((900, 3000), (3, 8), (0.03, 0.12), (0.0001, 0.0006), click=(0.3, 1.2)),
    "glass": Body((1500, 6000), (4, 9), (0.001, 0.006), (0.00005, 0.0002), (0.9, 1.5), (0.1, 0.6)),
    "door": Body((35, 120), (8, 20), (0.04, 0.15), (0.002, 0.012), (0.7, 1.2), (0.0, 0.2)),
    "stone": Body((1200, 4500), (3, 8), (0.01, 0.04), (0.0001, 0.0003), click=(0.2, 0.9)),
}


def strike(body: Body, rate_hz: int, random: np.random.Generator, longest_s: float = 1.2) -> Audio:
    """One blow on something of this kind, float64 [n], peak 1, its onset at sample 0; ends in silence.

    Besides its modes it has a burst of noise: the crushing and scraping that no mode describes, and without which
    a blow sounds like an instrument.
    """
    count = int(random.integers(body.modes[0], body.modes[1] + 1))
    lowest_hz, stretch, loss = (_drawn(limits, random) for limits in (body.lowest_hz, body.stretch, body.loss))
    frequency = np.asarray(lowest_hz * np.arange(1, count + 1) ** stretch * np.exp(random.normal(0, 0.06, count)))
    decay_s = np.asarray(1 / (np.pi * frequency * loss * np.exp(random.normal(0, 0.3, count))))
    gains = random.exponential(1, count) * random.choice((-1.0, 1.0), count)
    gains /= np.arange(1, count + 1) ** random.uniform(0, 0.8)
    seconds = min(longest_s, 6.9 * float(decay_s.max()) + 0.005)
    blow = contact(_drawn(body.contact_s, random), rate_hz)
    sound = peaked(_struck_by(ring(frequency, decay_s, gains, seconds, rate_hz), blow))
    centre_hz = min(float(np.exp(random.uniform(np.log(lowest_hz), np.log(8 * lowest_hz)))), 0.4 * rate_hz)
    rough = noise(len(sound), rate_hz, around(centre_hz, random.uniform(0.6, 1.5)), random)
    rough *= np.exp(-np.arange(len(sound)) / rate_hz / np.exp(random.uniform(np.log(0.001), np.log(0.04))))
    sound += np.exp(random.uniform(np.log(0.1), np.log(3))) * peaked(rough)
    click = np.diff(blow, append=0.0)
    sound[: len(click)] += _drawn(body.click, random) * click[: len(sound)]
    fade = len(sound) // 4
    sound[len(sound) - fade :] *= np.linspace(1, 0, fade)
    return peaked(sound)


def ring(frequency_hz: Audio, decay_s: Audio, gains: Audio, seconds: float, rate_hz: int) -> Audio:
    """Damped sines [k], all starting at 0, float64 [n]; those that the rate cannot hold are left out."""
    held = frequency_hz < 0.47 * rate_hz
    s = (-1 / decay_s[held] + 2j * np.pi * frequency_hz[held])[:, None] / rate_hz
    samples = max(1, round(seconds * rate_hz))
    # What is computed once is doubled in length by one turn, exp(s (t + T)) = exp(s t) exp(s T), again and again.
    waves = -1j * gains[held][:, None] * np.exp(s * np.arange(min(samples, _BLOCK)))
    while waves.shape[1] < samples:
        waves = np.concatenate([waves, waves * np.exp(s * waves.shape[1])], axis=1)
    return np.asarray(waves.real.sum(axis=0)[:samples])


def contact(seconds: float, rate_hz: int) -> Audio:
    """The force of a blow: one hump, peak 1, float64 [n >= 1]."""
    samples = max(1, round(seconds * rate_hz))
    return np.asarray(np.sin(np.pi * (np.arange(samples) + 0.5) / samples))


def _struck_by(modes: Audio, blow: Audio) -> Audio:
    return np.convolve(modes, blow)[: len(modes)] if len(blow) > 1 else modes


def _drawn(limits: Range, random: np.random.Generator) -> float:
    """Log-uniform where the range spans it, else uniform."""
    low, high = limits
    if low > 0 and high > 2 * low:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))
    return float(random.uniform(low, high))
