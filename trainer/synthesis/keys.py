"""Keys and glass: small hard things."""

import numpy as np

from trainer.synthesis.grains import banked, in_rhythm, placed, scattered
from trainer.synthesis.spectrum import Audio, around, noise, peaked
from trainer.synthesis.struck import BODIES, Body, strike

TYPE = Body((1200, 4500), (4, 10), (0.01, 0.05), (0.0001, 0.0004), click=(0.3, 1.0))


def key_click(rate_hz: int, random: np.random.Generator) -> Audio:
    """A key, a switch, a safety catch, float64 [n], peak 1: down, and up again 40 to 150 ms later, weaker."""
    up_s = random.uniform(0.04, 0.15)
    sounds = [strike(BODIES["key"], rate_hz, random) for _ in range(2)]
    length = round(up_s * rate_hz) + len(sounds[1]) + len(sounds[0])
    return peaked(placed(length, np.array([0.0, up_s]), np.array([1.0, random.uniform(0.1, 0.7)]), sounds, rate_hz))


def typewriter(seconds: float, rate_hz: int, random: np.random.Generator) -> Audio:
    """Somebody types on an old machine, float64 [n], peak 1: levers strike the platen 3 to 9 times a second, in words;
    now and then the bell, and the carriage comes back."""
    samples = round(seconds * rate_hz)
    lever = [_lever(rate_hz, random) for _ in range(4)]
    at_s = in_rhythm(seconds, random.uniform(3, 9), 0.35, random)
    at_s = at_s[random.uniform(size=len(at_s)) > 0.12] if len(at_s) > 3 else at_s
    sounds = [lever[int(one)] for one in random.integers(len(lever), size=len(at_s))]
    sound = placed(samples, at_s, random.uniform(0.5, 1, len(at_s)), sounds, rate_hz)
    if seconds > 2 and random.uniform() < 0.3:
        bell_s = random.uniform(0.5, seconds - 1)
        ratchet_s = bell_s + 0.4 + np.arange(20) / random.uniform(40, 80)
        clicks = [strike(BODIES["key"], rate_hz, random)] * 20
        sound += placed(samples, ratchet_s, random.uniform(0.1, 0.3, 20), clicks, rate_hz)
        bell = strike(BODIES["nail"], rate_hz, random)
        sound += placed(samples, np.array([bell_s]), np.array([random.uniform(0.2, 0.6)]), [bell], rate_hz)
    return peaked(sound)


def glass_break(rate_hz: int, random: np.random.Generator) -> Audio:
    """A pane or a bottle, float64 [n] of up to 1.5 s, peak 1: a crack, and shards that fall and ring, ever fewer."""
    length = round(random.uniform(0.5, 1.5) * rate_hz)
    shards = int(random.integers(15, 120))
    at_s = random.exponential(random.uniform(0.05, 0.3), shards)
    bank = banked([strike(BODIES["glass"], rate_hz, random, 0.25) for _ in range(10)])
    falling = scattered(length, at_s, random.lognormal(-1, 0.8, shards), bank, rate_hz, random)
    t = np.arange(length) / rate_hz
    crack = noise(length, rate_hz, around(random.uniform(2500, 6000), 1.0), random)
    crack *= np.exp(-t / random.uniform(0.002, 0.02))
    return peaked(peaked(falling) + random.uniform(0.2, 1.5) * peaked(crack))


def _lever(rate_hz: int, random: np.random.Generator) -> Audio:
    """The key goes down, the type strikes, the lever falls back."""
    sounds = [strike(body, rate_hz, random, 0.15) for body in (BODIES["key"], BODIES["board"], TYPE, BODIES["key"])]
    at_s = np.array([0.0, 0.02, 0.021, 0.021 + random.uniform(0.03, 0.08)])
    gains = np.array([0.2, random.uniform(0.3, 1), random.uniform(0.1, 0.6), random.uniform(0.1, 0.4)])
    return peaked(placed(round(0.35 * rate_hz), at_s, gains, sounds, rate_hz))
