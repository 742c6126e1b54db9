"""Many small sounds in time: when they come, and how they add up."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.forest import forest_response
from trainer.synthesis.rooms import room_response
from trainer.synthesis.spectrum import Audio, convolved, peaked

Single = Callable[[int, np.random.Generator], Audio]
"""``(rate_hz, random)`` gives one event, float64 [n], peak 1, its onset at sample 0."""
Texture = Callable[[float, int, np.random.Generator], Audio]
"""``(seconds, rate_hz, random)`` gives sound for so long, float64 [n], peak 1."""


def at_random(seconds: float, per_second: float, random: np.random.Generator, at_least: int = 0) -> NDArray[np.float64]:
    """Times of a Poisson process, in order, float64 [k]."""
    count = max(at_least, int(random.poisson(max(0.0, seconds * per_second))))
    return np.sort(random.uniform(0, max(seconds, 0.0), count))


def in_rhythm(seconds: float, per_second: float, unsteady: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Times of a hand or a machine: about ``per_second``, each interval off by the part ``unsteady``; at least one."""
    count = max(1, int(seconds * per_second * 1.5) + 1)
    gaps = np.maximum(1 + unsteady * random.standard_normal(count), 0.1) / per_second
    times = random.uniform(0, min(seconds / 2, 1 / per_second)) + np.cumsum(gaps) - gaps[0]
    kept: NDArray[np.float64] = times[times < seconds]
    return kept if len(kept) else np.zeros(1)


def placed(
    samples: int, at_s: NDArray[np.float64], gains: NDArray[np.float64], sounds: Sequence[Audio], rate_hz: int
) -> Audio:
    """``sounds`` [k] at ``at_s`` [k], times ``gains`` [k], float64 [samples]; what is beyond the end is cut."""
    out = np.zeros(samples)
    for at, gain, sound in zip(np.rint(at_s * rate_hz).astype(int).tolist(), gains.tolist(), sounds, strict=True):
        part = sound[: max(0, samples - at)]
        out[at : at + len(part)] += gain * part
    return out


def scattered(
    samples: int,
    at_s: NDArray[np.float64],
    gains: NDArray[np.float64],
    bank: NDArray[np.float64],
    rate_hz: int,
    random: np.random.Generator,
) -> Audio:
    """Thousands of grains, each a random row of ``bank`` [kinds, length], float64 [samples]."""
    length = bank.shape[1]
    out = np.zeros(samples + length + 1)
    at = np.clip(np.rint(at_s * rate_hz).astype(int), 0, samples)
    which = random.integers(len(bank), size=len(at))
    for kind in range(len(bank)):
        # A train of pulses for each kind of grain, which one convolution makes sound.
        mine = which == kind
        if mine.any():
            train = np.bincount(at[mine], weights=gains[mine], minlength=samples + 1)
            out[: samples + length] += convolved(train, bank[kind])
    return out[:samples]


def banked(sounds: Sequence[Audio]) -> NDArray[np.float64]:
    """Sounds as the rows of one array, the shorter filled with silence."""
    bank = np.zeros((len(sounds), max(len(sound) for sound in sounds)))
    for row, sound in zip(bank, sounds, strict=True):
        row[: len(sound)] = sound
    return bank


def repeated(single: Single, per_second: tuple[float, float], unsteady: float = 0.15) -> Texture:
    """``single`` again and again in a drawn rhythm, louder and softer, each a new one of a few."""

    def texture(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
        rate = float(np.exp(random.uniform(*np.log(per_second))))
        at_s = in_rhythm(seconds, rate, unsteady, random)
        few = [single(rate_hz, random) for _ in range(int(random.integers(1, 4)))]
        sounds = [few[int(one)] for one in random.integers(len(few), size=len(at_s))]
        gains = np.exp(random.normal(0, 0.2, len(at_s)))
        return peaked(placed(round(seconds * rate_hz), at_s, gains, sounds, rate_hz))

    return texture


def once(single: Single) -> Texture:
    """``single`` one time, somewhere in the first half."""

    def texture(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
        at_s = np.array([random.uniform(0, seconds / 2)])
        return peaked(placed(round(seconds * rate_hz), at_s, np.ones(1), [single(rate_hz, random)], rate_hz))

    return texture


def outdoors(texture: Texture) -> Texture:
    """``texture`` as it is heard from some way off: with the reflections of a forest (`forest`)."""

    def heard(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
        reverberation_s = float(np.exp(random.uniform(np.log(0.2), np.log(1.5))))
        response = forest_response(reverberation_s, random.uniform(-25, 3), rate_hz, random)
        dry = texture(seconds, rate_hz, random)
        return peaked(convolved(dry, response)[: len(dry)])

    return heard


def indoors(texture: Texture) -> Texture:
    """``texture`` in a room (`rooms`)."""

    def heard(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
        dry = texture(seconds, rate_hz, random)
        return peaked(convolved(dry, room_response(rate_hz, random))[: len(dry)])

    return heard


def anywhere(texture: Texture) -> Texture:
    """``texture`` outdoors, in a room, or close to the microphone, as often each."""
    ways = (texture, outdoors(texture), indoors(texture))
    return lambda seconds, rate_hz, random: ways[int(random.integers(len(ways)))](seconds, rate_hz, random)
