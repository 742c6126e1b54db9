"""Minutes of a forest with shots in it, and with what is no shot, every event annotated.

    samples, events = soundscape(60.0, 16_000, np.random.default_rng(7), shots_per_min=2)

The ambience is made (wind, leaves, insects, birds, light rain), or given. Events stand apart from each other, each at
a drawn distance and a drawn signal-to-noise ratio: its loudest 0.2 s over the ambience around it, in the band in
which the trainer mixes (`mixing.BAND_HZ`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation.field import distance
from trainer.augmentation.mixing import BAND_HZ
from trainer.data.labels import SHOT
from trainer.synthesis.annotation import Event
from trainer.synthesis.guns import KINDS, drawn_shot
from trainer.synthesis.sounds import SOUNDS
from trainer.synthesis.spectrum import Audio, noise

Samples = NDArray[np.float32]
Range = tuple[float, float]

BEDS = ("wind", "leaves_in_wind", "crickets", "cicadas", "birdsong", "frogs", "rain_on_leaves")
OTHERS = tuple(name for name, sound in SOUNDS.items() if sound.impulsive and sound.label != "fireworks")
"""Hard negatives: all that is impulsive, but fireworks, which are neither shot nor nothing."""
APART_S = 1.0
"""Between two events, and before the first."""
_SILENT = 1e-9
SECTION_S, OVERLAP_S = 30.0, 3.0
"""The made ambience changes, softly, as often."""


class DoNotFitError(ValueError):
    """More events than the time holds."""


@dataclass(frozen=True)
class _Sounding:
    """An event before it is placed."""

    label: str
    sound: str
    samples: Audio
    onsets: tuple[int, ...]
    end: int
    distance_m: float
    snr_db: float


def soundscape(
    length_s: float,
    rate_hz: int,
    random: np.random.Generator,
    shots_per_min: float = 2.0,
    others_per_min: float = 6.0,
    snr_db: Range = (0.0, 30.0),
    distance_m: Range = (30.0, 800.0),
    kinds: Sequence[str] = tuple(KINDS),
    others: Sequence[str] = OTHERS,
    beds: Sequence[str] = BEDS,
    level_dbfs: float = -50.0,
    ambience: Samples | None = None,
) -> tuple[Samples, list[Event]]:
    """``(samples float32 [round(length_s * rate_hz)], events in order of time)``.

    One in four events of shots is a burst. ``level_dbfs`` is the ambience's RMS, in the band, if it is made; one that
    is given (float32 [n > 0] at ``rate_hz``, repeated if it is short) stays as loud as it is. What goes over full
    scale is cut, as a device cuts it.

    Raises:
        DoNotFitError: the events do not fit into ``length_s``.
        KeyError: a name that is in neither `KINDS` nor `SOUNDS`.
    """
    samples = round(length_s * rate_hz)
    shots, rest = round(shots_per_min * length_s / 60), round(others_per_min * length_s / 60)
    soundings = [
        _shots(kinds[int(random.integers(len(kinds)))], rate_hz, distance_m, snr_db, random) for _ in range(shots)
    ]
    soundings += [
        _other(others[int(random.integers(len(others)))], rate_hz, distance_m, snr_db, random) for _ in range(rest)
    ]
    soundings = [soundings[int(one)] for one in random.permutation(len(soundings))]
    starts = _starts([len(one.samples) for one in soundings], samples, rate_hz, random)
    if ambience is None:
        scene = _made(samples, rate_hz, beds, level_dbfs, random)
    else:
        scene = _repeated(ambience, samples, random)
    events, near = [], round(0.95 * APART_S * rate_hz)
    for start, one in zip(starts, soundings, strict=True):
        # The events stand apart, so that this is ambience alone.
        around = scene[max(0, start - near) : start + len(one.samples) + near].astype(np.float64)
        level = float(np.sqrt(np.mean(np.square(in_band(around, rate_hz)))))
        snr = round(one.snr_db, 2) if level > _SILENT else float("inf")
        wanted = (level if level > _SILENT else 10 ** (level_dbfs / 20)) * 10 ** (one.snr_db / 20)
        gain = wanted / max(loudest(in_band(one.samples, rate_hz), rate_hz), 1e-12)
        scene[start : start + len(one.samples)] += (gain * one.samples).astype(np.float32)
        onsets_s = tuple(round((start + onset) / rate_hz, 6) for onset in one.onsets)
        end_s = round((start + one.end) / rate_hz, 6)
        events.append(
            Event(one.label, one.sound, one.label == SHOT, onsets_s[0], end_s, snr, round(one.distance_m, 1), onsets_s)
        )
    np.clip(scene, -1, 1, out=scene)
    return scene, sorted(events, key=lambda event: event.onset_s)


def in_band(sound: Audio, rate_hz: int) -> Audio:
    """``sound`` [n] between 300 and 6000 Hz, float64 [n]."""
    spectrum = np.fft.rfft(sound)
    frequency = np.fft.rfftfreq(len(sound), 1 / rate_hz)
    spectrum[(frequency < BAND_HZ[0]) | (frequency > BAND_HZ[1])] = 0
    return np.asarray(np.fft.irfft(spectrum, len(sound)))


def loudest(sound: Audio, rate_hz: int) -> float:
    """RMS of the loudest 0.2 s."""
    length = min(len(sound), rate_hz // 5)
    power = np.concatenate([[0.0], np.cumsum(np.square(sound))])
    return float(np.sqrt(max(0.0, float((power[length:] - power[:-length]).max())) / length))


def shot_and_onsets(
    kind: str, rate_hz: int, away_m: float, random: np.random.Generator
) -> tuple[Audio, tuple[int, ...]]:
    """One shot, or in one case of four 2 to 5 of the same gun, float64 [n], and the sample where each begins."""
    one = drawn_shot(kind, away_m, rate_hz, random).astype(np.float64)
    again = int(random.integers(1, 5)) if random.uniform() < 0.25 else 0
    delays = np.cumsum(np.full(again, random.uniform(0.1, 1.5)) * random.uniform(0.85, 1.15, again))
    onsets = [0, *(round(float(delay) * rate_hz) for delay in delays)]
    sound = np.zeros(onsets[-1] + len(one))
    for onset in onsets:
        sound[onset : onset + len(one)] += random.uniform(0.8, 1.0) * one
    return sound, tuple(onsets)


def _shots(kind: str, rate_hz: int, distance_m: Range, snr_db: Range, random: np.random.Generator) -> _Sounding:
    away_m = _log_uniform(distance_m, random)
    sound, onsets = shot_and_onsets(kind, rate_hz, away_m, random)
    return _Sounding(SHOT, kind, sound, onsets, _end(sound), away_m, random.uniform(*snr_db))


def _other(name: str, rate_hz: int, distance_m: Range, snr_db: Range, random: np.random.Generator) -> _Sounding:
    """Something else: what lasts swells and fades, so that its beginning is no blow of its own."""
    seconds = random.uniform(1.0, 6.0)
    sound = SOUNDS[name].make(seconds, rate_hz, random)
    away_m = _log_uniform(distance_m, random)
    sound = distance(sound.astype(np.float32), away_m, random, rate_hz).astype(np.float64)
    fade = round(0.3 * rate_hz)
    sound[:fade] *= np.square(np.sin(np.linspace(0, np.pi / 2, fade)))
    sound[-fade:] *= np.square(np.cos(np.linspace(0, np.pi / 2, fade)))
    begins = int(np.argmax(np.abs(sound) > 0.05 * np.abs(sound).max(initial=1e-12)))
    return _Sounding(SOUNDS[name].label, name, sound, (begins,), _end(sound), away_m, random.uniform(*snr_db))


def _end(sound: Audio) -> int:
    heard = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max(initial=1e-12))
    return int(heard[-1]) + 1 if len(heard) else len(sound)


def _starts(lengths: Sequence[int], samples: int, rate_hz: int, random: np.random.Generator) -> list[int]:
    """Where each event begins: in this order, apart, the time that is left over spread at random."""
    apart = round(APART_S * rate_hz)
    left = samples - sum(lengths) - apart * (len(lengths) + 1)
    if left < 0:
        needed_s = (samples - left) / rate_hz
        raise DoNotFitError(
            f"{len(lengths)} events need {needed_s:.0f} s with {APART_S:g} s between them, there are "
            f"{samples / rate_hz:g} s: ask for fewer a minute or for a longer soundscape"
        )
    slack = np.sort(random.integers(0, left + 1, len(lengths)))
    before = np.cumsum([0, *lengths])[: len(lengths)]
    return [int(s + b + apart * (k + 1)) for k, (s, b) in enumerate(zip(slack, before, strict=True))]


def _made(samples: int, rate_hz: int, beds: Sequence[str], level_dbfs: float, random: np.random.Generator) -> Samples:
    """Two to four of ``beds`` together, made anew every half minute, each time at other strengths."""
    scene = np.zeros(samples, dtype=np.float32)
    if not beds:
        return scene
    some = random.choice(len(beds), size=min(len(beds), int(random.integers(2, 5))), replace=False)
    overlap = round(OVERLAP_S * rate_hz)
    step = round(SECTION_S * rate_hz)
    ramp = np.sin(np.linspace(0, np.pi / 2, overlap))
    for start in range(0, samples, step):
        # A forest is never silent in any band, nor is a microphone.
        section = 0.1 * noise(step + overlap, rate_hz, lambda f: (1 + f / 100) ** -0.5, random)
        for one in some:
            sound = SOUNDS[beds[int(one)]].make(len(section) / rate_hz, rate_hz, random)
            weight = 10 ** (random.uniform(-15, 0) / 20)
            section += weight * sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-12)
        level = float(np.sqrt(np.mean(np.square(in_band(section, rate_hz)))))
        section *= 10 ** (level_dbfs / 20) / max(level, 1e-12)
        if start:
            section[:overlap] *= ramp
        section[step:] *= ramp[::-1]
        part = section[: samples - start]
        scene[start : start + len(part)] += part.astype(np.float32)
    return scene


def _repeated(ambience: Samples, samples: int, random: np.random.Generator) -> Samples:
    """A piece of the ambience of this length, from anywhere in it; a short one again and again, softly joined."""
    if len(ambience) >= samples:
        start = int(random.integers(len(ambience) - samples + 1))
        return ambience[start : start + samples].copy()
    overlap = len(ambience) // 4
    ramp = np.sin(np.linspace(0, np.pi / 2, overlap)).astype(np.float32)
    piece = ambience.copy()
    piece[:overlap] *= ramp
    piece[len(piece) - overlap :] *= ramp[::-1]
    scene = np.zeros(samples + 2 * len(piece), dtype=np.float32)
    for start in range(0, samples + overlap, len(piece) - overlap):
        scene[start : start + len(piece)] += piece
    return scene[overlap : overlap + samples]


def _log_uniform(limits: Range, random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(np.log(limits[0]), np.log(limits[1]))))
