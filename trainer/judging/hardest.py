"""The moments that teach most: the false alarms with the highest score, and the clearest shots that were missed.

Where a model gives few false alarms, those that a lower threshold would give follow.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.judging.hearing import Listened, excerpt
from trainer.judging.metrics import Metrics, Moment
from trainer.judging.sounds import Shot, Sound
from trainer.judging.tally import Pair

FOLDER = "excerpts"
BEFORE_S, AFTER_S = 1.5, 2.5
MIDDLE_S = 0.49
"""Of a window."""


def hardest_false_alarms(pairs: Sequence[Pair], column: int, threshold: float, count: int) -> list[Moment]:
    """The detector's own, in these sounds, and then the highest window of each sound without shots that gave none, from
    a fifth of the ``threshold`` on. At most two of one recording, or one bad hour would fill the list."""
    found, next_in_line = [], []
    for one, matched in pairs:
        if matched.false_alarms:
            events = [one.events[event] for event in matched.false_alarms]
            found += [_moment(one, event.onset_s, event.score) for event in events]
        elif not one.sound.shots and len(one.scores):
            highest = int(one.scores[:, column].argmax())
            score = float(one.scores[highest, column])
            if score >= threshold / 5:
                next_in_line.append(_moment(one, float(one.starts_s[highest]) + MIDDLE_S, score))
    for moments in (found, next_in_line):
        moments.sort(key=lambda moment: (-moment.score, moment.sound, moment.onset_s))
    return _spread([*found, *next_in_line], count)


def hardest_misses(pairs: Sequence[Pair], column: int, window_s: float, count: int) -> list[Moment]:
    """Of the bursts that no event matched; the highest ratio first, then the nearest, then the lowest score."""
    found = []
    for one, matched in pairs:
        starts = one.starts_s
        for burst, first, hit in zip(matched.bursts, matched.first, matched.found, strict=True):
            if not hit:
                until = burst[-1] + one.sound.somewhere_s
                holding = (starts + window_s > burst[0]) & (starts <= until)
                shot, score = one.sound.shot(first), float(one.scores[holding, column].max(initial=0))
                found.append(_moment(one, burst[0], score, shot))
    found.sort(key=_clearest)
    return _spread(found, count)


def write_excerpts(metrics: Metrics, sounds: Sequence[Sound], folder: Path) -> Metrics:
    """Cut the hardest moments out of their sounds into ``folder/excerpts``, as FLAC at most at 16 kHz, and say so.

    Raises:
        SourceError, OSError: a sound cannot be read or a file not written.
    """
    known = {sound.title: sound for sound in sounds}

    def cut(moments: Sequence[Moment], kind: str) -> list[Moment]:
        named = []
        for number, moment in enumerate(moments, 1):
            name = f"{FOLDER}/{kind}_{number:02d}.flac"
            if moment.sound in known:
                _write(known[moment.sound], moment.onset_s, folder / name)
                named.append(moment.model_copy(update={"excerpt": name}))
            else:
                named.append(moment)
        return named

    return metrics.model_copy(
        update={"false_alarms": cut(metrics.false_alarms, "false_alarm"), "misses": cut(metrics.misses, "miss")}
    )


def _write(sound: Sound, onset_s: float, path: Path) -> None:
    import soundfile
    import soxr

    samples, rate = excerpt(sound, onset_s, BEFORE_S, AFTER_S)
    if rate > 16_000:
        samples, rate = soxr.resample(samples, rate, 16_000, quality="HQ"), 16_000
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), rate, subtype="PCM_16", format="FLAC")


def _moment(one: Listened, onset_s: float, score: float, shot: Shot | None = None) -> Moment:
    sound = one.sound
    return Moment(
        sound=sound.title,
        recording=shot.recording if shot else sound.recording,
        label=sound.label,
        onset_s=round(onset_s, 3),
        score=round(score, 6),
        snr_db=shot.snr_db if shot else None,
        distance_m=shot.distance_m if shot else None,
    )


def _clearest(moment: Moment) -> tuple[float, float, float, str]:
    snr = moment.snr_db if moment.snr_db is not None else 0.0
    return -snr, moment.distance_m if moment.distance_m is not None else 0.0, moment.score, moment.sound


def _spread(moments: Sequence[Moment], count: int, of_one: int = 2) -> list[Moment]:
    seen: dict[str, int] = {}
    chosen: list[Moment] = []
    for moment in moments:
        seen[moment.recording] = seen.get(moment.recording, 0) + 1
        if seen[moment.recording] <= of_one and len(chosen) < count:
            chosen.append(moment)
    return chosen
