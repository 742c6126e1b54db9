"""What the field does to a sound before a model hears it: the way through the forest, and the device's own ears.

    heard = in_the_field(waveform, random)                           # a plausible chain, drawn
    heard = in_the_field(waveform, random, frozenset({"forest"}))    # the same draws, but no forest: for an ablation

An effect takes a waveform float32 [n] at 16 kHz (or ``rate_hz``) and a generator, and gives a new one: finite for
every finite waveform, the same for the same generator, its peak where the peak was. Level is the mixing's business
(`mixing`), spreading with it: it is nothing but a level, 6 dB a doubling of the distance. Filters are causal, so a
shot stays where it was. Lengths stay [n], but for `forest` (its tail) and `burst` (the last shot's delay), which
append. On clips of some seconds an effect costs about 1 ms a second of sound, or less.

The order is that of the sound's way: ``WAY`` belongs to the shot alone, before it is mixed; ``DEVICE`` to all that a
microphone hears, so the trainer may put it after the mixing. `in_the_field` is one after the other.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.augmentation.response import (
    Waveform,
    bell_db,
    cut_db,
    grid_hz,
    minimum_phase,
    through,
    tilt_db,
)
from trainer.synthesis.air import Weather, absorption_db_per_m
from trainer.synthesis.forest import forest_response
from trainer.synthesis.ground import ground_gain

Effect = Callable[[Waveform, np.random.Generator], Waveform]

NEAR_M, FAR_M = 15.0, 1500.0
"""Between these a distance is drawn; what is closer sounds as recorded, what is further is not heard."""


def distance(waveform: Waveform, metres: float, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """``metres`` more of air (ISO 9613-1; weather drawn) over ground (`ground`; soil and heights drawn), float32 [n].

    Spreading is left to the mixing. Recordings have some distance in them already: this comes on top.
    """
    weather = Weather(random.uniform(5, 38), random.uniform(30, 100), random.uniform(80, 102))
    frequency = grid_hz(rate_hz)
    source_m, microphone_m = random.uniform(0.5, 2.0), random.uniform(1.5, 8.0)
    resistivity = float(np.exp(random.uniform(np.log(10), np.log(2000))))
    coherence = random.uniform(0.4, 0.95)
    ground = ground_gain(frequency, metres, source_m, microphone_m, resistivity, coherence, weather.speed_of_sound_mps)
    air = 10 ** (-absorption_db_per_m(frequency, weather) * metres / 20)
    return _as_loud_as(waveform, through(waveform, minimum_phase(ground * air)))


def further(waveform: Waveform, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """`distance` by a distance that is drawn, log-uniform from `NEAR_M` to `FAR_M`; float32 [n]."""
    return distance(waveform, float(np.exp(random.uniform(np.log(NEAR_M), np.log(FAR_M)))), random, rate_hz)


def forest(waveform: Waveform, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """The reflections of trunks and the diffuse tail of a forest (`forest_response`), float32 [n + tail].

    Drawn: the wetness, -20 to +5 dB of scattered energy over the direct; the reverberation time, 0.3 to 1.8 s. The
    tail is at most 1.5 s.
    """
    wetness_db, reverberation_s = random.uniform(-20, 5), float(np.exp(random.uniform(np.log(0.3), np.log(1.8))))
    response = forest_response(reverberation_s, wetness_db, rate_hz, random).astype(np.float32)
    return _as_loud_as(waveform, through(waveform, response, len(response) - 1))


def microphone(waveform: Waveform, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """A capsule in its housing, float32 [n]: a tilt, a low cut at 50 to 300 Hz, a resonance, and some waves."""
    frequency = grid_hz(rate_hz)
    curve = tilt_db(frequency, random.uniform(-1.5, 1.5))
    curve += cut_db(frequency, random.uniform(50, 300), int(random.integers(1, 3)), below=True)
    curve += bell_db(frequency, random.uniform(1500, 7000), random.uniform(0.15, 0.6), random.uniform(-6, 9))
    octaves = np.log2(np.maximum(frequency, 20.0) / 20)
    for periods in (0.15, 0.3, 0.6):
        curve += random.uniform(0, 1.5) * np.sin(2 * np.pi * (periods * octaves + random.uniform()))
    return _as_loud_as(waveform, through(waveform, minimum_phase(_amplitude(curve))))


def clipped(waveform: Waveform, random: np.random.Generator) -> Waveform:
    """An overload, float32 [n]: hard, 1 to 18 dB under the peak, or soft (tanh), driven as far."""
    peak = _peak(waveform)
    if not peak:
        return waveform.copy()
    over = np.float32(10 ** (random.uniform(1, 18) / 20))
    driven = waveform * (over / peak)
    if random.uniform() < 0.5:
        return np.asarray(np.clip(driven, -1, 1) * peak, dtype=np.float32)
    return np.asarray(np.tanh(driven) * (peak / np.tanh(over)), dtype=np.float32)


def filtered(waveform: Waveform, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """A chain of recording, float32 [n]: band limits at 20 to 400 Hz and above 2.5 kHz, and an equaliser."""
    frequency = grid_hz(rate_hz)
    low_hz, high_hz = (float(np.exp(random.uniform(np.log(a), np.log(b)))) for a, b in ((20, 400), (2500, 9000)))
    curve = cut_db(frequency, low_hz, int(random.integers(1, 5)), below=True)
    curve += cut_db(frequency, high_hz, int(random.integers(1, 7)), below=False)
    for _ in range(int(random.integers(0, 4))):
        centre_hz = float(np.exp(random.uniform(np.log(100), np.log(7000))))
        curve += bell_db(frequency, centre_hz, random.uniform(0.2, 1.0), random.uniform(-7, 7))
    return _as_loud_as(waveform, through(waveform, minimum_phase(_amplitude(curve))))


def burst(waveform: Waveform, random: np.random.Generator, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """The same gun again, 1 to 4 times, every 0.1 to 1.5 s; float32 [n + the last delay].

    The rhythm is drawn once, log-uniform, and kept as an automatic keeps it or a finger does (up to 20 %); each shot
    is up to 3 dB weaker than the first. Meant for shots: a burst of something that lasts is only an echo of it.
    """
    interval_s = float(np.exp(random.uniform(np.log(0.1), np.log(1.5))))
    again = min(1 + int(random.geometric(0.5)), 4) if interval_s < 0.5 else int(random.integers(1, 3))
    unsteady = random.uniform(0, 0.2)
    spacing_s = interval_s * (1 + unsteady * random.uniform(-1, 1, again))
    delays = np.rint(np.cumsum(np.clip(spacing_s, 0.1, 1.5)) * rate_hz).astype(int)
    gains = 10 ** (random.uniform(-3, 0, again) / 20)
    sound = np.zeros(len(waveform) + int(delays[-1]), dtype=np.float32)
    sound[: len(waveform)] = waveform
    for delay, gain in zip(delays, gains, strict=True):
        sound[delay : delay + len(waveform)] += np.float32(gain) * waveform
    return _as_loud_as(waveform, sound)


def lossy(waveform: Waveform, random: np.random.Generator) -> Waveform:
    """A noise floor 35 to 75 dB under the peak, or steps of 7 to 12 bits, or both; float32 [n].

    Some recordings to learn from are of 8 bits, and those are mostly shots: where every sound may have such a floor,
    it says nothing about shots.
    """
    peak, kind = _peak(waveform), random.integers(3)
    bits, headroom_db = random.integers(7, 13), random.uniform(0, 12)
    floor_db, colour = random.uniform(-75, -35), random.uniform(-0.3, 0.95)
    sound = waveform.copy()
    if kind != 0:
        noise = random.standard_normal(len(sound) + 1, dtype=np.float32)
        noise = noise[1:] + np.float32(colour) * noise[:-1]
        sound += noise * np.float32(peak * 10 ** (floor_db / 20) / np.sqrt(1 + colour**2))
    if kind != 1 and peak:
        step = np.float32(peak * 10 ** (headroom_db / 20) / 2 ** (bits - 1))
        sound = np.rint(sound / step) * step
    return _as_loud_as(waveform, sound)


WAY: Mapping[str, Effect] = {"burst": burst, "distance": further, "forest": forest}
DEVICE: Mapping[str, Effect] = {"microphone": microphone, "clipped": clipped, "filtered": filtered, "lossy": lossy}
FIELD: Mapping[str, Effect] = {**WAY, **DEVICE}
"""Every effect by name, in the order of the sound's way."""
CHANCE: Mapping[str, float] = {
    "burst": 0.2, "distance": 0.6, "forest": 0.5, "microphone": 0.5, "clipped": 0.25, "filtered": 0.3, "lossy": 0.5,
}  # fmt: skip
"""How often `in_the_field` applies each."""


def in_the_field(
    waveform: Waveform,
    random: np.random.Generator,
    without: frozenset[str] = frozenset(),
    among: Mapping[str, Effect] = FIELD,
) -> Waveform:
    """``waveform`` at 16 kHz after a chain drawn from ``among`` (`FIELD`, `WAY` or `DEVICE`), float32 [n or more].

    Each effect has its own stream of draws, so that leaving one out leaves the others as they were. It may be that
    none is drawn. Raises ValueError if ``without`` names no effect.
    """
    if unknown := without - FIELD.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: no effect of the field; there are {', '.join(FIELD)}")
    for name, own in _drawn(random, among):
        if name not in without:
            waveform = among[name](waveform, own)
    return waveform


def drawn(random: np.random.Generator, among: Mapping[str, Effect] = FIELD) -> frozenset[str]:
    """The effects that `in_the_field` would apply with this generator."""
    return frozenset(name for name, _ in _drawn(random, among))


def _drawn(random: np.random.Generator, among: Mapping[str, Effect]) -> Iterator[tuple[str, np.random.Generator]]:
    seeds = dict(zip(FIELD, random.integers(2**63, size=len(FIELD)), strict=True))
    for name in among:
        own = np.random.default_rng(int(seeds[name]))
        if own.uniform() < CHANCE[name]:
            yield name, own


def _amplitude(curve_db: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(10 ** (curve_db / 20))


def _peak(waveform: Waveform) -> np.float32:
    return np.float32(np.abs(waveform).max(initial=0.0))


def _as_loud_as(waveform: Waveform, sound: Waveform) -> Waveform:
    """``sound`` with the peak of ``waveform``."""
    wanted, peak = _peak(waveform), _peak(sound)
    return sound * np.float32(wanted / peak) if peak > 1e-30 else sound
