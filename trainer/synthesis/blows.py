"""Hands, hammers and doors: single blows that a gunshot is mistaken for."""

import numpy as np

from trainer.synthesis.grains import placed, scattered
from trainer.synthesis.spectrum import Audio, around, convolved, drift, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

CAR = Body((45, 180), (8, 20), (0.05, 0.2), (0.001, 0.008), (0.7, 1.2), (0.0, 0.3))


def clap(rate_hz: int, random: np.random.Generator) -> Audio:
    """Two hands, float64 [n], peak 1: a burst of a millisecond, coloured by the hollow between them, 500 to 2500 Hz
    (Peltola, Erkut, Cook and Välimäki, "Synthesis of hand clapping sounds", IEEE Trans. Audio Speech Lang. Process.,
    2007)."""
    length = round(0.12 * rate_hz)
    t = np.arange(length) / rate_hz
    hollow = noise(length, rate_hz, around(random.uniform(500, 2500), random.uniform(0.2, 0.7)), random)
    smack = noise(length, rate_hz, around(random.uniform(1500, 5000), 1.2), random)
    sound = hollow * np.exp(-t / random.uniform(0.004, 0.02))
    sound += random.uniform(0.3, 2) * smack * np.exp(-t / random.uniform(0.0005, 0.003))
    return peaked(sound * np.minimum(1, (t + 1 / rate_hz) / 0.0003))


def applause(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """A crowd claps, float64 [n], peak 1: 4 to 300 people, each 2 to 5 times a second and out of step, the near ones
    louder, swelling and ebbing."""
    samples = round(seconds * rate_hz)
    hands = np.stack([clap(rate_hz, random) for _ in range(12)])
    people = round(float(np.exp(random.uniform(np.log(4), np.log(300)))))
    times = np.arange(max(2, int(5 * seconds) + 1))
    gaps_s = 1 / random.uniform(2, 5, people)
    at_s = gaps_s[:, None] * (times + random.uniform(0, 1, (people, 1)) + random.normal(0, 0.06, (people, len(times))))
    loud = 1 / np.sqrt(0.02 + random.uniform(0, 1, people))
    gains = loud[:, None] * np.exp(random.normal(0, 0.2, at_s.shape))
    swell = np.exp(random.uniform(0, 0.8) * drift(samples, rate_hz, random.uniform(1, 4), random))
    sound = np.zeros(samples)
    for person in range(12):
        # Everybody claps with the same hands all the time.
        mine = (np.arange(people) % 12 == person)[:, None] & (at_s >= 0) & (at_s < seconds)
        sound += scattered(samples, at_s[mine], gains[mine], hands[person : person + 1], rate_hz, random)
    return peaked(sound * swell)


def knock(rate_hz: int, random: np.random.Generator) -> Audio:
    """A knuckle, a stick or an axe on wood, float64 [n], peak 1."""
    return strike(BODIES["board" if random.uniform() < 0.5 else "trunk"], rate_hz, random)


def hammer_on_nail(rate_hz: int, random: np.random.Generator) -> Audio:
    """The nail rings and the board answers, float64 [n], peak 1."""
    nail, board = strike(BODIES["nail"], rate_hz, random, 0.3), strike(BODIES["board"], rate_hz, random, 0.4)
    return _together(nail, random.uniform(0.3, 1.5) * board)


def hammer_on_metal(rate_hz: int, random: np.random.Generator) -> Audio:
    """A hammer on iron: an anvil, a pipe, a rail, float64 [n], peak 1."""
    return strike(BODIES["iron"], rate_hz, random)


def clank(rate_hz: int, random: np.random.Generator) -> Audio:
    """Metal falls or is thrown down, float64 [n], peak 1: it bounces, sooner and weaker each time."""
    bounces = int(random.integers(1, 7))
    gaps_s = random.uniform(0.05, 0.25) * random.uniform(0.5, 0.85) ** np.arange(bounces)
    at_s = np.cumsum(gaps_s) - gaps_s[0]
    gains = np.asarray(random.uniform(0.4, 0.9) ** np.arange(bounces), dtype=np.float64)
    body = BODIES["iron" if random.uniform() < 0.6 else "sheet"]
    sounds = [strike(body, rate_hz, random, 0.8) for _ in range(min(3, bounces))]
    length = round(float(at_s[-1]) * rate_hz) + max(len(sound) for sound in sounds)
    return peaked(placed(length, at_s, gains, [sounds[one % len(sounds)] for one in range(bounces)], rate_hz))


def door_slam(rate_hz: int, random: np.random.Generator) -> Audio:
    """A door of a house or a car, float64 [n], peak 1: latch, thud, rattle, and the room behind it."""
    thud = strike(BODIES["door"], rate_hz, random, 0.7)
    at_s = np.array([0.0, random.uniform(0, 0.02), *random.uniform(0.02, 0.2, int(random.integers(0, 5)))])
    gains = np.array([1.0, random.uniform(0.1, 0.6), *random.uniform(0.02, 0.2, len(at_s) - 2)])
    sounds = [thud, *(strike(BODIES["key"], rate_hz, random) for _ in range(len(at_s) - 1))]
    slam = placed(len(thud) + round(0.3 * rate_hz), at_s, gains, sounds, rate_hz)
    return peaked(convolved(slam, _room(rate_hz, random)))


def car_door(rate_hz: int, random: np.random.Generator) -> Audio:
    """A car's door, boot or bonnet is shut, float64 [n], peak 1: the seal's dull blow, the lock's two clicks, sheet
    metal, and what is loose in it."""
    loose = int(random.integers(0, 6))
    at_s = np.concatenate([[0.0, 0.0, random.uniform(0.005, 0.03)], random.uniform(0.03, 0.25, loose)])
    at_s[1] = random.uniform(0, 0.01)
    gains = np.concatenate([[1.0], random.uniform(0.1, 0.7, 2), random.uniform(0.02, 0.2, loose)])
    sounds = [strike(CAR, rate_hz, random, 0.5), strike(BODIES["key"], rate_hz, random)]
    sounds += [strike(BODIES["sheet"], rate_hz, random, 0.25)]
    sounds += [strike(BODIES["key"], rate_hz, random) for _ in range(loose)]
    shut = placed(round(0.9 * rate_hz), at_s, gains, sounds, rate_hz)
    # The cabin's air gives way: the larger and emptier it is, the lower.
    t = np.arange(len(shut)) / rate_hz
    cabin = noise(len(shut), rate_hz, around(random.uniform(45, 160), 0.4), random) * np.exp(
        -t / random.uniform(0.02, 0.1)
    )
    return peaked(shut + random.uniform(0.1, 1.2) * peaked(cabin))


def _room(rate_hz: int, random: np.random.Generator) -> Audio:
    """The response of a room, or of hardly any, float64 [n]: 1, then a decaying noise."""
    decay_s = random.uniform(0.02, 0.12)
    length = round(5 * decay_s * rate_hz)
    tail = noise(length, rate_hz, around(random.uniform(300, 1200), 1.5), random)
    tail *= np.exp(-np.arange(length) / rate_hz / decay_s)
    tail *= random.uniform(0, 0.8) / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    return tail


def _together(*sounds: Audio) -> Audio:
    out = np.zeros(max(len(sound) for sound in sounds))
    for sound in sounds:
        out[: len(sound)] += sound
    return peaked(out)
