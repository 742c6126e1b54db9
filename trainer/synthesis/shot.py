"""Gunshots from physics: what a microphone in a forest hears of a shot, without a recording of one.

    shot = gunshot(Gun(), Place(distance_m=120), sample_rate_hz=48_000, random=np.random.default_rng(7))

The path of the sound, with the sources where there are any; the other figures are choices:

- **Muzzle blast**: the modified Friedlander wave, p(t) = (1 - t/T) exp(-b t/T), a jump and a longer, shallower
  suction (Friedlander 1946; Dewey, "The shape of the blast wave: studies of the Friedlander equation").
- **Ballistic crack** of a supersonic bullet (`ballistics`): an N-wave, earlier than the blast by the geometry of the
  Mach cone, as much stronger or weaker than it as Whitham has it.
- **Ground reflection**: the image source, weaker and duller (soft ground).
- **Trunks and hills**: single reflections at random delays, 1/r weaker, and a diffuse tail: noise that decays
  exponentially, its treble faster. Forests reverberate for 1.2 to 3 s over 30 m
  (Albert et al., "Low frequency acoustic pulse propagation in temperate forests", J. Acoust. Soc. Am., 2015,
  doi:10.1121/1.4923365).
- **Air**: absorption by ISO 9613-1 (`air`) at 20 °C and 70 % humidity.
- **Microphone**: a small capsule saturates softly on a blast.

Bare pulses do not sound like shots to a model that learned recordings (under 0.06 for YAMNet's gun classes); with the
tail and the overload of the defaults, the model that ships scores 0.7 and more. The balance was searched for that: the
defaults are a sound for tests. Guns and places to learn from are drawn (`guns`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.synthesis.air import absorption_db_per_m
from trainer.synthesis.ballistics import SPEED_OF_SOUND_MPS, crack_lead_s, n_wave, n_wave_pa, n_wave_s
from trainer.synthesis.spectrum import all_shaped, around, shaped

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Gun:
    """A rifle by default."""

    positive_phase_s: float = 0.0016
    """T of the Friedlander wave where the microphone is."""
    decay: float = 1.2
    """b of the modified Friedlander wave."""
    bullet_mps: float = 0.0
    """Above the speed of sound the bullet cracks; 0 leaves the crack out (subsonic, or fired away)."""
    calibre_m: float = 0.00762
    bullet_m: float = 0.03
    """Its length."""
    muzzle_pa: float = 2000.0
    """Peak of the blast 1 m from the muzzle, on the microphone's side of the gun: 160 dB."""


@dataclass(frozen=True)
class Place:
    """Where the shooter stands, and what stands around."""

    distance_m: float = 30.0
    height_m: float = 1.5
    """Of the muzzle."""
    microphone_height_m: float = 3.0
    miss_m: float = 20.0
    """How far the bullet passes from the microphone."""
    ground: float = 0.45
    """Part of the pressure that the ground gives back."""
    trunks: int = 20
    """Single reflections."""
    trunks_within_s: float = 0.4
    """How late the last of them may come."""
    reverberation_s: float = 1.4
    """Time in which the diffuse tail falls by 60 dB."""
    tail: float = 30.0
    """Energy of the diffuse tail over that of the direct blast, before air."""
    overload: float = 3.0
    """How far the blast drives the microphone into saturation (tanh); towards 0 it stays linear."""


def gunshot(gun: Gun, place: Place, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """One shot, float32 [n], peak 1; sample 0 is the arrival of its first wavefront."""
    blast = friedlander(gun.positive_phase_s, gun.decay, sample_rate_hz)
    lead_s, crack = 0.0, np.zeros(0)
    if gun.bullet_mps > SPEED_OF_SOUND_MPS:
        lead_s = crack_lead_s(gun.bullet_mps, place.distance_m, place.miss_m)
        mach, miss_m = gun.bullet_mps / SPEED_OF_SOUND_MPS, max(place.miss_m, 1.0)
        over = n_wave_pa(mach, gun.calibre_m, gun.bullet_m, miss_m) * max(place.distance_m, 1.0) / gun.muzzle_pa
        crack = over * n_wave(n_wave_s(mach, gun.calibre_m, gun.bullet_m, miss_m), sample_rate_hz)
    length = round((0.5 + place.reverberation_s + lead_s) * sample_rate_hz)
    arrivals = np.zeros(length)
    _add(arrivals, blast, lead_s, sample_rate_hz)
    _add(arrivals, crack, 0.0, sample_rate_hz)
    if len(crack):
        bounced = place.ground * _dull(crack, 3000.0, sample_rate_hz)
        _add(arrivals, bounced, _bounce_s(place, place.miss_m), sample_rate_hz)
    echo = _dull(blast, 3000.0, sample_rate_hz)
    for delay_s, gain in _reflections(place, random):
        _add(arrivals, gain * echo, lead_s + delay_s, sample_rate_hz)
    energy = float(np.sum(np.square(blast)))
    tail = diffuse_tail(length - round(lead_s * sample_rate_hz), place.reverberation_s, sample_rate_hz, random)
    tail *= np.sqrt(place.tail * energy / np.sum(np.square(tail)))
    arrivals[length - len(tail) :] += tail
    heard = air(arrivals, place.distance_m, sample_rate_hz)
    heard = np.tanh(place.overload * heard / np.abs(heard).max()) / np.tanh(place.overload)
    return np.asarray(heard, dtype=np.float32)


def friedlander(positive_phase_s: float, decay: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """The pressure of a blast, peak 1 at sample 0, until it has died away."""
    t = np.arange(round(12 * positive_phase_s / decay * sample_rate_hz) + 2) / sample_rate_hz / positive_phase_s
    return np.asarray((1 - t) * np.exp(-decay * t))


def diffuse_tail(
    length: int, reverberation_s: float, sample_rate_hz: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Scattered sound: noise [n] that builds up in 4 ms and decays, octave by octave, the treble faster."""
    t = np.arange(length) / sample_rate_hz
    tail = np.zeros(length)
    noise = random.standard_normal(length)
    centres_hz = [hz for hz in (125, 250, 500, 1000, 2000, 4000) if hz * 1.4 <= sample_rate_hz / 2]
    shapes = [around(hz, 0.5) for hz in centres_hz]
    for centre_hz, band in zip(centres_hz, all_shaped(noise, sample_rate_hz, shapes), strict=True):
        decay_s = reverberation_s / (1 + centre_hz / 4400)
        tail += band * 10 ** (-3 * t / decay_s) * (1 - np.exp(-t / 0.004)) * (centre_hz / 500) ** 0.2
    return tail


def air(samples: NDArray[np.float64], distance_m: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """What ``distance_m`` of air leave of the treble."""
    return shaped(samples, sample_rate_hz, lambda f: np.asarray(10 ** (-absorption_db_per_m(f) * distance_m / 20)))


def _reflections(place: Place, random: np.random.Generator) -> list[tuple[float, float]]:
    """``(delay_s, gain)`` of the ground and of trunks, relative to the direct path."""
    direct = float(np.hypot(place.distance_m, place.height_m - place.microphone_height_m))
    bounced = float(np.hypot(place.distance_m, place.height_m + place.microphone_height_m))
    reflections = [(_bounce_s(place, place.distance_m), place.ground * direct / bounced)]
    for delay_s in np.sort(random.uniform(0.004, place.trunks_within_s, place.trunks)):
        spreading = direct / (direct + delay_s * SPEED_OF_SOUND_MPS)
        gain = random.uniform(0.02, 0.2) * spreading * random.choice((-1.0, 1.0))
        reflections.append((float(delay_s), float(gain)))
    return reflections


def _bounce_s(place: Place, distance_m: float) -> float:
    """How much later the ground's reflection comes than the sound itself, over ``distance_m``."""
    direct = float(np.hypot(distance_m, place.height_m - place.microphone_height_m))
    bounced = float(np.hypot(distance_m, place.height_m + place.microphone_height_m))
    return (bounced - direct) / SPEED_OF_SOUND_MPS


def _dull(samples: NDArray[np.float64], corner_hz: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """First-order low-pass: rough bark and soft soil give little treble back."""
    return shaped(samples, sample_rate_hz, lambda frequency: 1 / (1 + (frequency / corner_hz) ** 2))


def _add(into: NDArray[np.float64], what: NDArray[np.float64], at_s: float, sample_rate_hz: int) -> None:
    at = round(at_s * sample_rate_hz)
    count = max(0, min(len(what), len(into) - at))
    into[at : at + count] += what[:count]
