"""Mixes for the student: patches of one sound over another, drawn from a bank, seeded.

Two spectrograms add up as incoherent sound does: in power, band by band. On top come a smooth equaliser and a level.
What a patch then holds is known, so it also has a label, where it is clear: a shot counts only if its loud part is in
the patch and above the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import LOG_OFFSET, MEL_BANDS, PATCH_FRAMES
from trainer.data.labels import BACKGROUND, SHOT, SPEECH
from trainer.distillation.bank import Bank

UNCLEAR = -1
BEDS = frozenset({BACKGROUND, "rain", "wind", "crickets", "insects", "sea_waves", "chirping_birds", "engine", SPEECH})
"""Labels of sounds that others are mixed over."""
SHARES = {"shot": 0.28, "impulse": 0.15, "made": 0.18, "voice": 0.14, "other": 0.17}
"""How often a mix holds each: shots, short sounds that were recorded and that were made, voices, what goes on; the rest
are beds alone."""
CONTINUOUS = BEDS | {"chainsaw", "helicopter", "siren", "frog", "jackhammer", "casual"}
SNR_DB = (-5.0, 30.0)
LOUDEST_FRAMES = 20
CLEAR_ABOVE_DB = 0.0
LEVEL_DB = (-50.0, 0.0)
EQUALISER_DB = 6.0
_LOW_BAND, _HIGH_BAND = 8, 60
"""Mel bands of about 300 to 6000 Hz, in which ratios are meant."""


@dataclass(frozen=True)
class Mixes:
    patches: NDArray[np.float32]
    """Log-mel, float32 [n, 96, 64]."""
    labels: NDArray[np.int64]
    """Index of the label, int64 [n]; `UNCLEAR` where it says nothing."""


class Mixer:
    """Draws mixes from a bank. ``labels`` are the names that its indices mean, `SHOT` first."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self._bank = bank
        self._random = np.random.default_rng(seed)
        known = sorted({one.label for one in bank.sounds} - {SHOT, BACKGROUND})
        self.labels: list[str] = [SHOT, BACKGROUND, *known]
        groups: dict[str, dict[str, list[int]]] = {**{name: {} for name in SHARES}, "bed": {}}
        for number, one in enumerate(bank.sounds):
            if one.voice:
                # Each kind of made ones as often as all recorded ones: those are few.
                groups["voice"].setdefault(one.recording if one.synthetic else "recorded", []).append(number)
            if one.label == SHOT:
                # Synthesised shots have a group of their own: one in five.
                groups["shot"].setdefault("synthetic" if one.synthetic else "", []).append(number)
            elif one.label in CONTINUOUS - {SPEECH}:
                groups["other"].setdefault(one.label, []).append(number)
            elif one.label != SPEECH and one.synthetic:
                groups["made"].setdefault(one.recording, []).append(number)  # by kind: a label may have several
            elif one.label != SPEECH:
                groups["impulse"].setdefault(one.label, []).append(number)
            if one.label in BEDS:
                groups["bed"].setdefault(one.label, []).append(number)
        self._groups = groups

    def draw(self, count: int) -> Mixes:
        """``count`` mixes."""
        random = self._random
        power = np.empty((count, PATCH_FRAMES, MEL_BANDS), np.float32)
        labels = np.empty(count, np.int64)
        for row in range(count):
            power[row], labels[row] = self._one()
        power *= self._equalisers(count)[:, None, :]
        power *= (10 ** (random.uniform(*LEVEL_DB, count) / 10)).astype(np.float32)[:, None, None]
        return Mixes(np.log(np.sqrt(power) + np.float32(LOG_OFFSET)), labels)

    def _one(self) -> tuple[NDArray[np.float32], int]:
        random = self._random
        draw = random.random()
        kind = "bed"
        for name, share in SHARES.items():
            if draw < share:
                kind = name if self._groups[name] else "bed"
                break
            draw -= share
        bed_number = self._pick(self._groups["bed"], BACKGROUND)
        bed, _ = self._slice(bed_number, False)
        if kind == "bed":
            return bed, self.labels.index(self._bank.sounds[bed_number].label)
        number = self._pick(self._groups[kind], "")
        front, has_loudest = self._slice(number, kind not in {"other", "voice"})
        snr_db = float(random.uniform(*SNR_DB))
        if random.random() < 0.1:  # alone, as on a clean recording
            mixed, snr_db = front, 60.0
        else:
            ratio = max(_level(bed, PATCH_FRAMES), 1e-9) / max(_level(front, LOUDEST_FRAMES), 1e-9)
            gain = ratio * 10 ** (snr_db / 10)
            # The louder one stays as it is in the bank, at a peak of full scale, so that nothing is above it.
            mixed = bed * np.float32(min(1, 1 / gain)) + front * np.float32(min(1, gain))
        clear = has_loudest and snr_db >= CLEAR_ABOVE_DB
        return mixed, self.labels.index(self._bank.sounds[number].label) if clear else UNCLEAR

    def _pick(self, group: dict[str, list[int]], favourite: str) -> int:
        """A sound of a label that is drawn first, so that common labels do not drown the rare; half of the time the
        favourite one."""
        random = self._random
        names: Sequence[str] = list(group)
        if favourite in group and (random.random() < 0.5 or (favourite == "" and random.random() < 0.6)):
            chosen = group[favourite]
        else:
            chosen = group[names[int(random.integers(len(names)))]]
        return chosen[int(random.integers(len(chosen)))]

    def _slice(self, number: int, around_loudest: bool) -> tuple[NDArray[np.float32], bool]:
        """Power float32 [96, 64] of a piece of a sound, and whether it holds its loudest part well inside."""
        random, one = self._random, self._bank.sounds[number]
        length = one.stop - one.start
        if length <= PATCH_FRAMES:
            start, loudest = 0, None
        elif around_loudest and random.random() < 0.8:
            frames = np.asarray(self._bank.frames[one.start : one.stop, _LOW_BAND:_HIGH_BAND], np.float32)
            loud = np.exp(2 * frames).mean(axis=1)
            # Any of the loud moments: a burst has several.
            peaks = np.flatnonzero(loud >= 0.3 * loud.max())
            loudest = int(peaks[int(random.integers(len(peaks)))])
            start = int(np.clip(loudest - random.integers(8, 80), 0, length - PATCH_FRAMES))
        else:
            start, loudest = int(random.integers(length - PATCH_FRAMES + 1)), None
        patch = np.asarray(self._bank.frames[one.start + start : one.start + start + PATCH_FRAMES], np.float32)
        power = np.zeros((PATCH_FRAMES, MEL_BANDS), np.float32)
        power[: len(patch)] = np.square(np.maximum(np.exp(patch) - np.float32(LOG_OFFSET), 0))
        return power, not around_loudest or loudest is not None

    def _equalisers(self, count: int) -> NDArray[np.float32]:
        """Smooth gains in power, float32 [count, 64]; a third of them flat."""
        random = self._random
        knots = random.uniform(-EQUALISER_DB, EQUALISER_DB, (count, 6))
        knots[random.random(count) < 1 / 3] = 0
        at = np.linspace(0, 5, MEL_BANDS)
        curves = np.stack([np.interp(at, np.arange(6), row) for row in knots])
        return np.asarray(10 ** (curves / 10), np.float32)


def _level(power: NDArray[np.float32], frames: int) -> float:
    """Mean power of the loudest ``frames`` in the bands that matter."""
    loud = np.sort(power[:, _LOW_BAND:_HIGH_BAND].mean(axis=1))[-frames:]
    return float(loud.mean())
