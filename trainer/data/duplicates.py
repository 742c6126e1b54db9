"""Which files hold the same sound: exact copies, and copies that were resampled, re-encoded, made louder or cut.

Two steps. Anchors of like fingerprints (``fingerprint.py``) that stand equally far apart in both files make a pair a
candidate; each anchor is compared with a bounded number of others, so the work grows with the number of files and not
with its square. Then both files are opened at that place: only where the waveforms themselves agree, sample by sample,
is one a copy of the other. Two shots of one gun, or two takes of one bird, are no copies.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.data.fingerprint import Fingerprint, in_band

TABLES = 16
KEY_BITS = 16
"""Anchors whose codes agree in one of `TABLES` fixed choices of `KEY_BITS` bits are looked at. On the public pack that
finds 95 to 98 of 100 copies, cut or strongly compressed; what is missed is short or silent but for a moment."""
NEIGHBOURS = 64
"""Most anchors of one key that each is compared with."""
MOST_BITS_APART = 18
JITTER_MS = 4
VOTES = 2
"""Anchors that must agree about the offset."""
AGREE = 0.35
"""Least correlation of two waveforms that are copies, in the fingerprint's band and with its spectrum flattened."""
LONGEST_LOOK_S = 4.0
SLACK_S = 0.05
"""How far an offset may be from what the anchors say: encoders delay, and MP3 is entered with some play."""

Reader = Callable[[float, float], NDArray[np.float32]]
"""From, to in seconds → float32 [n] at 16 kHz; what lies outside the file is left out. May raise."""


@dataclass(frozen=True)
class Candidate:
    """Two files (their numbers, the first the smaller) that may hold the same sound."""

    one: int
    other: int
    start_s: float
    """Where in the first the like anchors begin,"""
    stop_s: float
    """and end."""
    offset_s: float
    """What stands at t in the first stands at t - offset in the other."""


def candidates(prints: Sequence[Fingerprint], new: NDArray[np.bool_] | None = None) -> list[Candidate]:
    """Pairs of ``prints`` that are worth a look; with ``new`` (bool [n]) only those with a new file in them."""
    file_of = np.repeat(np.arange(len(prints)), [len(one.codes) for one in prints])
    codes = np.concatenate([np.empty(0, np.uint64), *(one.codes for one in prints)])
    at_ms = np.concatenate([np.empty(0, np.int64), *(one.at_ms.astype(np.int64) for one in prints)])
    fresh = np.ones(len(prints), np.bool_) if new is None else new
    matches = _matches(codes, file_of, fresh)
    if len(matches) == 0:
        return []
    first, second = matches[:, 0], matches[:, 1]
    one, other = file_of[first], file_of[second]
    offset = at_ms[first] - at_ms[second]
    order = np.lexsort((offset, other, one))
    one, other, offset, start = one[order], other[order], offset[order], at_ms[first][order]
    edges = np.flatnonzero(np.r_[True, (np.diff(one) != 0) | (np.diff(other) != 0), True])
    found = []
    for begin, end in pairwise(edges):
        if end - begin < VOTES:
            continue
        offsets, places = offset[begin:end], start[begin:end]
        reach = np.searchsorted(offsets, offsets + 2 * JITTER_MS, "right")
        best = int(np.argmax(reach - np.arange(len(offsets))))
        agreed = np.unique(places[best : reach[best]])
        if len(agreed) < VOTES:
            continue
        found.append(
            Candidate(
                int(one[begin]),
                int(other[begin]),
                float(agreed[0]) / 1000,
                float(agreed[-1]) / 1000,
                float(np.median(offsets[best : reach[best]])) / 1000,
            )
        )
    return found


def is_copy(candidate: Candidate, one: Reader, other: Reader) -> bool:
    """Whether the waveforms agree where the candidate says. Raises what the readers raise."""
    return agreement(candidate, one, other) >= AGREE


def agreement(candidate: Candidate, one: Reader, other: Reader) -> float:
    """Largest correlation of both waveforms at the candidate's place, 0 to 1, either way up."""
    middle = (candidate.start_s + candidate.stop_s) / 2
    half = min(LONGEST_LOOK_S, candidate.stop_s - candidate.start_s + 0.3) / 2
    start, stop = max(0.0, middle - half, candidate.offset_s), middle + half
    sound = one(start, stop)
    first_s = start - candidate.offset_s - SLACK_S
    there = other(max(0.0, first_s), first_s + len(sound) / SAMPLE_RATE_HZ + 2 * SLACK_S)
    # Silence stands for what lies outside of the file, so that every lag is tried.
    slack = round(SLACK_S * SAMPLE_RATE_HZ)
    before = round(max(0.0, -first_s) * SAMPLE_RATE_HZ)
    there = np.pad(there, (before, max(0, len(sound) + 2 * slack - before - len(there))))
    return _correlation(_flattened(sound), _flattened(there))


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of ``count`` things the smallest number of those it hangs together with by ``pairs``."""
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return [find(i) for i in range(count)]


def _matches(codes: NDArray[np.uint64], file_of: NDArray[np.intp], fresh: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pairs of anchors of different files that are alike, int64 [n, 2]; of each pair the file with the smaller number
    comes first."""
    random = np.random.default_rng(0)
    found: list[NDArray[np.int64]] = []
    for _ in range(TABLES):
        mask = np.bitwise_or.reduce(np.uint64(1) << random.choice(64, KEY_BITS, replace=False).astype(np.uint64))
        keys = codes & mask
        order = np.lexsort((codes, keys))
        keys = keys[order]
        for step in range(1, min(NEIGHBOURS, len(order))):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if len(same) == 0:
                break
            a, b = order[same], order[same + step]
            apart = np.bitwise_count(codes[a] ^ codes[b])
            wanted = (file_of[a] != file_of[b]) & (apart <= MOST_BITS_APART) & (fresh[file_of[a]] | fresh[file_of[b]])
            a, b = a[wanted], b[wanted]
            # Anchors are numbered file by file, so the smaller anchor is of the smaller file.
            found.append(np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1))
    if not found:
        return np.empty((0, 2), np.int64)
    return np.unique(np.concatenate(found), axis=0)


def _flattened(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Band-limited, with the root of its spectrum: else one hum or whistle, common to many places, decides."""
    from scipy import fft

    if len(sound) == 0:
        return sound
    spectrum = fft.rfft(in_band(sound))
    magnitude = np.abs(spectrum)
    flat: NDArray[np.float32] = fft.irfft(spectrum / np.sqrt(magnitude + 1e-9), len(sound))
    return flat


def _correlation(short: NDArray[np.float32], long: NDArray[np.float32]) -> float:
    from scipy.signal import correlate

    count = len(short)
    if count < SAMPLE_RATE_HZ // 10:
        return 0.0
    power = np.cumsum(np.r_[0.0, long.astype(np.float64) ** 2])
    norm = np.sqrt((power[count:] - power[:-count]) * float(np.sum(short.astype(np.float64) ** 2)))
    return float(np.max(np.abs(correlate(long, short, "valid")) / np.maximum(norm, 1e-9)))
