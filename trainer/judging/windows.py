"""Single windows: do their scores mean what they say, and how well do they part shots from the rest?

A window holds a shot when its onset lies well inside (`INSIDE_S`), and holds none when no shot is near. Those in
between are left out, and so are sounds whose shots fall nobody knows when.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.judging.hearing import Listened
from trainer.judging.metrics import Calibration, DetPoint
from trainer.judging.statistics import calibration

INSIDE_S = (0.08, 0.80)
"""Of a window's 0.975 s: a shot at the rim is not held by it."""
TAIL_S = 1.5
"""So long after its onset a shot may still be heard."""
POINTS = 60


def truth(one: Listened, window_s: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which windows hold a shot, and which hold none: bool [n] each."""
    starts = one.starts_s
    held = np.zeros(len(starts), bool)
    # What the detector adds after the end is no sound of this recording.
    free = starts + window_s <= one.seconds + 1e-6
    for shot in one.sound.onsets:
        late = shot - starts
        if one.sound.somewhere_s:
            free &= (late > window_s) | (late + one.sound.somewhere_s < -TAIL_S)
        else:
            held |= (late >= INSIDE_S[0]) & (late <= INSIDE_S[1])
            free &= (late > window_s) | (late < -TAIL_S)
    return held, free


def judge_windows(
    listened: Sequence[Listened], rated: Sequence[bool], column: int, window_s: float
) -> tuple[Calibration, list[DetPoint]]:
    """Of one label's scores, over rated sounds and those with shots."""
    with_shot, without = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for one, counts in zip(listened, rated, strict=True):
        held, free = truth(one, window_s)
        scores = one.scores[:, column]
        with_shot.append(scores[held])
        if counts or one.sound.shots:
            without.append(scores[free])
    shots, others = np.concatenate(with_shot), np.concatenate(without)
    outcomes = np.concatenate([np.ones(len(shots), bool), np.zeros(len(others), bool)])
    error, bins = calibration(np.concatenate([shots, others]), outcomes)
    return Calibration(error=error, bins=list(bins)), _det(np.sort(shots), np.sort(others))


def _det(shots: NDArray[np.float32], others: NDArray[np.float32]) -> list[DetPoint]:
    """Sorted scores of both kinds, to at most `POINTS` thresholds from high to low."""
    if not len(shots) or not len(others):
        return []
    # Half of the thresholds where the misses change, half, ever closer to the top, where the false alarms do.
    tail = len(others) - 1 - np.unique(np.geomspace(1, len(others), POINTS // 2).astype(np.intp) - 1)
    thresholds = np.unique(np.concatenate([np.quantile(shots, np.linspace(0, 1, POINTS // 2)), others[tail]]))[::-1]
    missed = np.searchsorted(shots, thresholds, "left") / len(shots)
    passed = 1 - np.searchsorted(others, thresholds, "left") / len(others)
    return [DetPoint(false_alarm=float(a), miss=float(b)) for a, b in zip(passed, missed, strict=True)]
