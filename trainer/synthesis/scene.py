"""A forest scene with shots in it, made from nothing but a seed: for the demo and for tests.

    samples, rate_hz, annotations = demo_scene(seed=1)

Forty seconds at 48 kHz: wind, insects and drips; single shots, a burst of three; and things that are no shots
(a knock on wood, distant thunder, a creaking call). Every event is annotated, the others too, with ``"shot": False``.
Deterministic: the same seed gives the same samples on the same NumPy.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.shot import Gun, Place, Samples, gunshot
from trainer.synthesis.spectrum import around, shaped

RATE_HZ = 48_000
LENGTH_S = 40.0
PEAK = 0.7
"""Of a shot: loud, 3 dB under full scale."""


@dataclass(frozen=True)
class Annotation:
    """One event of the scene. ``onsets_s`` are the arrivals of its first wavefronts."""

    label: str
    shot: bool
    onsets_s: list[float]
    end_s: float

    @property
    def onset_s(self) -> float:
        return self.onsets_s[0]


def demo_scene(seed: int = 1) -> tuple[Samples, int, list[Annotation]]:
    """``(samples float32 [n], rate_hz, annotations in order of time)`` of the committed scene."""
    random = np.random.default_rng(seed)
    scene = ambience(LENGTH_S, RATE_HZ, random)
    annotations: list[Annotation] = []

    def place(label: str, onsets_s: list[float], sounds: list[NDArray[np.float64]], heard_s: float) -> None:
        for onset_s, sound in zip(onsets_s, sounds, strict=True):
            at = round(onset_s * RATE_HZ)
            count = min(len(sound), len(scene) - at)
            scene[at : at + count] += sound[:count]
        annotations.append(Annotation(label, label == "gun_shot", onsets_s, round(onsets_s[-1] + heard_s, 3)))

    def shots(*onsets_s: float, distance_m: float, peak: float) -> None:
        where = Place(distance_m=distance_m)
        sounds = [peak * gunshot(Gun(), where, RATE_HZ, random).astype(np.float64) for _ in onsets_s]
        place("gun_shot", list(onsets_s), sounds, 0.5)

    shots(5.0, distance_m=40, peak=PEAK)
    place("wood_knock", [11.0, 11.45], [0.2 * wood_knock(RATE_HZ, random) for _ in range(2)], 0.15)
    shots(15.0, 15.45, 15.9, distance_m=30, peak=PEAK)
    place("thunder", [21.5], [0.12 * thunder(4.5, RATE_HZ, random)], 4.5)
    place("bird_call", [28.0, 28.5, 29.0], [0.05 * bird_call(RATE_HZ, random) for _ in range(3)], 0.25)
    shots(33.0, distance_m=60, peak=0.8 * PEAK)
    return np.clip(scene, -1, 1).astype(np.float32), RATE_HZ, annotations


def write_scene(path: Path, seed: int = 1) -> list[Annotation]:
    """Write `demo_scene` as a 24-bit file (the suffix says which kind) and its annotations as JSON beside it."""
    import json

    import soundfile

    samples, rate_hz, annotations = demo_scene(seed)
    soundfile.write(path, samples, rate_hz, subtype="PCM_24")
    document = {"seed": seed, "sample_rate_hz": rate_hz, "events": [asdict(one) for one in annotations]}
    path.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    return annotations


def ambience(length_s: float, rate_hz: int, random: np.random.Generator, level: float = 0.0012) -> NDArray[np.float64]:
    """A quiet forest, float64 [n], about ``level`` RMS: wind in gusts, a band of insects, drips from leaves."""
    count = round(length_s * rate_hz)
    t = np.arange(count) / rate_hz
    # Wind: a rumble, here falling by 9 dB an octave above some 100 Hz.
    wind = shaped(random.standard_normal(count), rate_hz, lambda f: 1 / (1 + (f / 120) ** 2) ** 0.75)
    gusts = 1 + 0.5 * np.sin(2 * np.pi * t / 7.3 + random.uniform(0, 6.28)) * np.sin(2 * np.pi * t / 3.1)
    leaves = shaped(random.standard_normal(count), rate_hz, around(2500, 1.0))
    # Cicadas and crickets: a narrow band, its amplitude pulsing some tens of times a second.
    insects = shaped(random.standard_normal(count), rate_hz, around(5200, 0.06))
    insects *= 0.6 + 0.4 * np.sin(2 * np.pi * 28 * t)
    sound = level * (0.9 * gusts * _unit(wind) + 0.25 * gusts * _unit(leaves) + 0.3 * _unit(insects))
    for at_s in random.uniform(0, length_s - 0.1, round(length_s / 4)):
        drop = drip(rate_hz, random)
        at = round(float(at_s) * rate_hz)
        sound[at : at + len(drop)] += random.uniform(0.5, 2.0) * level * drop[: count - at]
    return np.asarray(sound)


def drip(rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A drop on a leaf or a puddle: the ringing bubble of Minnaert (Philosophical Magazine, 1933), pitch rising."""
    t = np.arange(round(0.04 * rate_hz)) / rate_hz
    pitch_hz = random.uniform(1200, 3000)
    return np.asarray(np.sin(2 * np.pi * pitch_hz * t * (1 + 3 * t)) * np.exp(-t / 0.008))


def wood_knock(rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A blow on a trunk: a few damped modes (modal synthesis), peak 1."""
    t = np.arange(round(0.15 * rate_hz)) / rate_hz
    sound = np.zeros(len(t))
    for mode_hz, gain in ((310, 1.0), (720, 0.6), (1240, 0.35), (1900, 0.15)):
        sound += gain * np.sin(2 * np.pi * mode_hz * random.uniform(0.97, 1.03) * t) * np.exp(-t * mode_hz / 12)
    return np.asarray(sound / np.abs(sound).max())


def thunder(length_s: float, rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A far rumble: noise under 150 Hz that swells and rolls, peak 1."""
    count = round(length_s * rate_hz)
    t = np.arange(count) / rate_hz
    rumble = shaped(random.standard_normal(count), rate_hz, lambda f: 1 / (1 + (f / 110) ** 4))
    swell = np.minimum(t / 1.2, 1) * np.exp(-np.maximum(t - 1.2, 0) / 1.3)
    roll = 1 + 0.4 * np.sin(2 * np.pi * 0.9 * t + random.uniform(0, 6.28))
    sound = rumble * swell * roll * np.minimum((length_s - t) / 0.2, 1)
    return np.asarray(sound / np.abs(sound).max())


def bird_call(rate_hz: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A whistled note that falls, peak 1."""
    t = np.arange(round(0.25 * rate_hz)) / rate_hz
    start_hz = random.uniform(2800, 3300)
    return np.asarray(np.sin(2 * np.pi * (start_hz * t - 1800 * t**2)) * np.sin(np.pi * t / 0.25) ** 2)


def _unit(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(samples / np.sqrt(np.mean(np.square(samples))))
