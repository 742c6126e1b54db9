"""Gunshots from physics: what a microphone in a forest hears of a shot, without a recording of one.

    shot = gunshot(Gun(), Place(distance_m=120), sample_rate_hz=48_000, random=np.random.default_rng(7))

The path of the sound, with the sources where there are any; the other figures are choices:

- **Muzzle blast**: the modified Friedlander wave, p(t) = (1 - t/T) exp(-b t/T), a jump and a longer, shallower
  suction (Friedlander 1946; Dewey, "The shape of the blast wave: studies of the Friedlander equation").
- **Ballistic crack** of a supersonic bullet: an N-wave, earlier than the blast by the geometry of the Mach cone
  (Maher, "Modeling and signal processing of acoustic gunshot recordings", IEEE 12th DSP Workshop, 2006).
- **Ground reflection**: the image source, weaker and duller (soft ground).
- **Trunks and hills**: single reflections at random delays, 1/r weaker, and a diffuse tail: noise that decays
  exponentially, its treble faster. Forests reverberate for longer than is chosen here: 1.2 to 3 s over 30 m
  (Albert et al., "Low frequency acoustic pulse propagation in temperate forests", J. Acoust. Soc. Am., 2015,
  doi:10.1121/1.4923365).
- **Air**: absorption by ISO 9613-1 at 20 °C and 70 % humidity.
- **Microphone**: a small capsule saturates softly on a blast.

Bare pulses do not sound like shots to YAMNet (under 0.06); with the tail and the overload of the defaults, a near
shot, its gun classes reach 0.8. The balance was searched for that: it is a sound for tests, not for training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Gain = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Amplitude for each frequency in Hz."""

SPEED_OF_SOUND_MPS = 343.0
"""At 20 °C."""
AIR_HZ = (63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)
AIR_DB_PER_KM = (0.1, 0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6, 276.2)
"""The formula of ISO 9613-1:1993 for pure tones at the exact mid-band frequencies, 1000 times 10^(0.3 k) Hz."""


@dataclass(frozen=True)
class Gun:
    """A rifle by default."""

    positive_phase_s: float = 0.001
    """T of the Friedlander wave where the microphone is."""
    decay: float = 1.0
    """b of the modified Friedlander wave."""
    bullet_mps: float = 0.0
    """Above the speed of sound the bullet cracks; 0 leaves the crack out (subsonic, or fired away)."""


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
    trunks: int = 12
    """Single reflections in the first 0.4 s."""
    reverberation_s: float = 0.3
    """Time in which the diffuse tail falls by 60 dB."""
    tail: float = 80.0
    """Energy of the diffuse tail over that of the direct blast, before air."""
    overload: float = 18.0
    """How far the blast drives the microphone into saturation (tanh); towards 0 it stays linear."""


def gunshot(gun: Gun, place: Place, sample_rate_hz: int, random: np.random.Generator) -> Samples:
    """One shot, float32 [n], peak 1; sample 0 is the arrival of its first wavefront."""
    length = round((0.5 + place.reverberation_s) * sample_rate_hz)
    blast = friedlander(gun.positive_phase_s, gun.decay, sample_rate_hz)
    lead_s, crack = 0.0, np.zeros(0)
    if gun.bullet_mps > SPEED_OF_SOUND_MPS:
        lead_s = crack_lead_s(gun.bullet_mps, place.distance_m, place.miss_m)
        crack = 0.6 * n_wave(0.0002, sample_rate_hz)
    arrivals = np.zeros(length)
    _add(arrivals, blast, lead_s, sample_rate_hz)
    _add(arrivals, crack, 0.0, sample_rate_hz)
    for delay_s, gain in _reflections(place, random):
        _add(arrivals, gain * _dull(blast, 3000.0, sample_rate_hz), lead_s + delay_s, sample_rate_hz)
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


def n_wave(duration_s: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """A shock wave: jump, linear fall through zero, jump back."""
    return np.linspace(1.0, -1.0, max(2, round(duration_s * sample_rate_hz)))


def crack_lead_s(bullet_mps: float, distance_m: float, miss_m: float) -> float:
    """How long before the muzzle blast the crack arrives, for a bullet of constant speed passing at ``miss_m``.

    The crack leaves the trajectory where the Mach cone meets the microphone; its half angle is arcsin(1 / Mach).
    """
    along = float(np.sqrt(max(distance_m**2 - miss_m**2, 0.0)))
    mach = bullet_mps / SPEED_OF_SOUND_MPS
    crack_s = along / bullet_mps + miss_m / SPEED_OF_SOUND_MPS * float(np.sqrt(1 - 1 / mach**2))
    return max(0.0, distance_m / SPEED_OF_SOUND_MPS - crack_s)


def diffuse_tail(
    length: int, reverberation_s: float, sample_rate_hz: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Scattered sound: noise [n] that builds up in 4 ms and decays, octave by octave, the treble faster."""
    t = np.arange(length) / sample_rate_hz
    tail = np.zeros(length)
    noise = random.standard_normal(length)
    for centre_hz in (125, 250, 500, 1000, 2000, 4000):
        if centre_hz * 1.4 > sample_rate_hz / 2:
            break
        band = shaped(noise, sample_rate_hz, around(centre_hz, 0.5))
        decay_s = reverberation_s / (1 + centre_hz / 4400)
        tail += band * 10 ** (-3 * t / decay_s) * (1 - np.exp(-t / 0.004)) * (centre_hz / 500) ** 0.2
    return tail


def air(samples: NDArray[np.float64], distance_m: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """What ``distance_m`` of air leave of the treble."""

    def gain(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        db_per_km = np.interp(np.log(np.maximum(frequency, 1)), np.log(AIR_HZ), AIR_DB_PER_KM)
        return np.asarray(10 ** (-db_per_km * distance_m / 1000 / 20))

    return shaped(samples, sample_rate_hz, gain)


def shaped(samples: NDArray[np.float64], sample_rate_hz: int, gain: Gain) -> NDArray[np.float64]:
    """``samples`` with each frequency (Hz) times ``gain(frequency)``; zero phase."""
    size = 1 << (2 * len(samples) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * gain(
        np.asarray(np.fft.rfftfreq(size, 1 / sample_rate_hz), dtype=np.float64)
    )
    return np.asarray(np.fft.irfft(spectrum, size)[: len(samples)])


def around(centre_hz: float, octaves: float) -> Gain:
    """A bell around ``centre_hz``, ``octaves`` wide (standard deviation)."""
    return lambda f: np.asarray(np.exp(-0.5 * (np.log2(np.maximum(f, 1.0) / centre_hz) / octaves) ** 2))


def _reflections(place: Place, random: np.random.Generator) -> list[tuple[float, float]]:
    """``(delay_s, gain)`` of the ground and of trunks, relative to the direct path."""
    direct = float(np.hypot(place.distance_m, place.height_m - place.microphone_height_m))
    bounced = float(np.hypot(place.distance_m, place.height_m + place.microphone_height_m))
    reflections = [((bounced - direct) / SPEED_OF_SOUND_MPS, place.ground * direct / bounced)]
    for delay_s in np.sort(random.uniform(0.004, 0.4, place.trunks)):
        spreading = direct / (direct + delay_s * SPEED_OF_SOUND_MPS)
        gain = random.uniform(0.02, 0.2) * spreading * random.choice((-1.0, 1.0))
        reflections.append((float(delay_s), float(gain)))
    return reflections


def _dull(samples: NDArray[np.float64], corner_hz: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """First-order low-pass: rough bark and soft soil give little treble back."""
    return shaped(samples, sample_rate_hz, lambda frequency: 1 / (1 + (frequency / corner_hz) ** 2))


def _add(into: NDArray[np.float64], what: NDArray[np.float64], at_s: float, sample_rate_hz: int) -> None:
    at = round(at_s * sample_rate_hz)
    count = max(0, min(len(what), len(into) - at))
    into[at : at + count] += what[:count]
