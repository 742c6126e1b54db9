"""When exactly a shot began, and how many there were: impulse onsets from the waveform.

The network says that a window of about a second holds a shot; the waveform says where, to a few milliseconds.
Run on candidates only, so it may look carefully:

1. Band: a zero-phase first-order band-pass around what forest air leaves of a shot (300 to 6000 Hz), so wind
   below and insects above count for little. First order keeps its pre-ringing under a millisecond.
2. Rise: energy of the next `ATTACK_MS` over that of the background before it. A detection function of local
   energy in the sense of Bello et al., "A Tutorial on Onset Detection in Music Signals", IEEE Trans. Speech
   Audio Process. 13(5), 2005.
3. Back to the start: from the peak of the envelope to the last block that still looked like background.
4. Reflections: muzzle blasts bounce off ground and trunks. An impulse soon after a shot and clearly weaker
   (`ECHOES`) is its reflection (on reflections in recordings: Maher, "Acoustical Characterization of Gunshots",
   SAFE 2007); within `SEPARATION_S` it is always the same shot, so faster automatic fire than some 900 rounds a
   minute is counted low.

A supersonic bullet's crack reaches the microphone before the muzzle blast. Closer than `SEPARATION_S` they count
as one; farther apart (a shooter at hundreds of metres, firing past the microphone) as two.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SILENCE_DBFS = -120.0
"""The level of nothing; dB need a floor."""
BLOCK_MS = 1.0
"""Resolution of the energies."""
ATTACK_MS = 4.0
"""A blast's energy in the band arrives within this."""
BACKGROUND_MS = 30.0
"""What a rise is measured against: the sound just before, in a burst the tail of the shot before it."""
RISE_DB = 7.0
"""Smallest rise. Steady noise in the band stays under 4 dB, with 4 ms holding some forty independent values."""
SEPARATION_S = 0.065
"""Two shots are at least this far apart."""
ECHOES = ((0.150, 3.0), (0.500, 6.0))
"""(seconds, dB): an impulse up to this late and at least this much weaker is a reflection: near trunks, far edges."""
NOISE_PEAK = 4.0
"""Steady noise seldom exceeds this many times its own RMS within 10 ms."""
PRE_RINGING = 0.1
"""The band-pass's impulse response has fallen below this 1.2 ms before its peak."""
DIRECT_S = 0.020
DIRECT_DB = 15.0
"""Far off, the direct sound may be this much weaker than the scattered sound that follows within `DIRECT_S`."""
BAND_HZ = (300.0, 6000.0)


class Impulse(NamedTuple):
    """One impulse: the sample where it begins, the peak of the unfiltered sound in its first 20 ms, and its peak
    power in the band, by which impulses are compared (wind moves the unfiltered peak)."""

    onset: int
    level_dbfs: float
    strength_db: float


def find_impulses(samples: NDArray[np.float32], sample_rate_hz: int) -> list[Impulse]:
    """Where shots begin in ``samples`` (float32 [n], full scale ±1, any rate from 8 kHz), ascending, and how loud.

    The first ``BACKGROUND_MS`` serve as background: give some sound before what is sought. Empty if nothing rises out
    of it.
    """
    block = max(1, round(sample_rate_hz * BLOCK_MS / 1000))
    count = len(samples) // block
    attack, before = round(ATTACK_MS / BLOCK_MS), round(BACKGROUND_MS / BLOCK_MS)
    if count < before + 2 * attack:
        return []
    banded = _band(np.asarray(samples, dtype=np.float32), sample_rate_hz)
    energy = np.square(banded[: count * block]).reshape(count, block).mean(axis=1, dtype=np.float64)
    rise_db = _rise_db(energy, attack, before)
    loudest_first = sorted(_rises(rise_db, energy, attack), key=lambda one: -one.power)
    found: list[_Rise] = []
    for rise in loudest_first:
        same = [k for k, louder in enumerate(found) if _same_shot(rise, louder, block / sample_rate_hz)]
        if not same:
            found.append(rise)
        elif _is_its_start(rise, found[same[0]], block / sample_rate_hz):
            found[same[0]] = found[same[0]]._replace(first=rise.first)
    look = round(0.020 * sample_rate_hz)
    placed = sorted((_exact(banded, rise, before, block), rise.power) for rise in found)
    return [
        Impulse(index, level_dbfs(samples[index : index + look]), 10 * float(np.log10(max(power, 1e-12))))
        for index, power in placed
    ]


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Peak level of float32 [n] in dB relative to full scale (±1), at least `SILENCE_DBFS`."""
    peak = float(np.max(np.abs(samples))) if len(samples) else 0.0
    return max(SILENCE_DBFS, 20 * float(np.log10(peak))) if peak > 0 else SILENCE_DBFS


def _band(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Zero-phase first-order band-pass: the squared magnitudes of an RC high-pass and low-pass."""
    # Padding keeps the ends from meeting each other.
    padded = np.pad(samples, 64, mode="reflect") if len(samples) > 64 else samples
    size = 1 << (len(padded) - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    low, high = (frequency / edge for edge in BAND_HZ)
    gain = low**2 / (1 + low**2) / (1 + high**2)
    banded = np.fft.irfft(np.fft.rfft(padded, size) * gain, size)[: len(padded)]
    offset = (len(padded) - len(samples)) // 2
    return banded[offset : offset + len(samples)].astype(np.float32)


def _rise_db(energy: NDArray[np.float64], attack: int, before: int) -> NDArray[np.float64]:
    """Per block: mean energy of this and the next blocks over the background just before, in dB."""
    total = np.concatenate(([0.0], np.cumsum(energy)))
    count = len(energy)
    at = np.arange(count)
    stop = np.minimum(at + attack, count)
    ahead = (total[stop] - total[at]) / np.maximum(stop - at, 1)
    begin = np.maximum(at - before, 0)
    behind = (total[at] - total[begin]) / np.maximum(at - begin, 1)
    # Digital silence before a shot must not make the faintest rounding noise a rise.
    floor = max(1e-12, float(energy.max()) * 1e-6)
    rise = 10 * np.log10((ahead + floor) / (behind + floor))
    rise[: before // 2] = 0.0
    return np.asarray(rise)


class _Rise(NamedTuple):
    first: int
    """Block where the energy ahead first stood out."""
    steepest: int
    power: float
    """Peak energy that it leads to."""


def _rises(rise_db: NDArray[np.float64], energy: NDArray[np.float64], attack: int) -> list[_Rise]:
    """The runs of blocks where the energy rises."""
    rising = np.flatnonzero(rise_db >= RISE_DB)
    rises = []
    for run in np.split(rising, np.flatnonzero(np.diff(rising) > 1) + 1):
        if len(run):
            steepest = int(run[np.argmax(rise_db[run])])
            rises.append(_Rise(int(run[0]), steepest, float(energy[steepest : steepest + 2 * attack].max())))
    return rises


def _same_shot(rise: _Rise, louder: _Rise, block_s: float) -> bool:
    """Whether a weaker rise belongs to a louder one already found."""
    apart_s = (rise.steepest - louder.steepest) * block_s
    if abs(apart_s) < SEPARATION_S:
        return True
    return any(
        0 < apart_s < late_s and rise.power < louder.power * 10 ** (-weaker_db / 10) for late_s, weaker_db in ECHOES
    )


def _is_its_start(rise: _Rise, louder: _Rise, block_s: float) -> bool:
    """Whether the weaker rise just before is the direct sound, and the louder one what the forest made of it."""
    ahead_s = (louder.first - rise.first) * block_s
    return 0 < ahead_s <= DIRECT_S and rise.power >= louder.power * 10 ** (-DIRECT_DB / 10)


def _exact(banded: NDArray[np.float32], rise: _Rise, before: int, block: int) -> int:
    """The sample where the rise leaves the background."""
    behind = banded[max(0, rise.first - before) * block : max(1, rise.first - 1) * block]
    start = max(0, rise.first - 1) * block
    envelope = np.abs(banded[start : (rise.steepest + 8) * block])
    noise = NOISE_PEAK * float(np.sqrt(np.mean(np.square(behind))))
    # Above the background's own peaks, and more than the filter's ringing ahead of something louder.
    ahead = np.lib.stride_tricks.sliding_window_view(np.pad(envelope, (0, 3 * block)), 3 * block + 1).max(axis=1)
    begun = (envelope >= min(noise, 0.7 * float(envelope.max()))) & (envelope >= PRE_RINGING * ahead)
    return start + int(np.argmax(begun))
