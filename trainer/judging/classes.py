"""What sounds are taken for: the confusion matrix, and recall and precision of every class."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from edge.detection.model_file import Manifest
from trainer.judging.hearing import Listened
from trainer.judging.metrics import ClassResult, Confusion, Recall
from trainer.judging.statistics import share_by_recording
from trainer.judging.sweep import margins
from trainer.judging.windows import truth

NOTHING = "(nothing)"
"""What a model with no label for the rest takes a sound for, that it does not alert on."""
LOUD = 0.5
"""Windows at least this share of the loudest one's RMS are what a sound is about."""


def taken_for(one: Listened, manifest: Manifest, target: str) -> str:
    """``target`` where the device told of one. Else, of the other labels, that with the highest mean margin over the
    windows that matter: those that hold a shot, where it is known when one falls, else the loud ones; another alert
    label only from its threshold on."""
    if one.events:
        return target
    held, _ = truth(one, manifest.window_s)
    if not held.any():
        real = one.starts_s + manifest.window_s <= one.seconds + 1e-6
        loudest = one.rms[real].max(initial=0)
        held = real & (one.rms >= LOUD * loudest) if real.any() else np.ones(len(one.starts), bool)
    if not held.any():
        return NOTHING
    mean = margins(one.scores[held]).mean(axis=0)
    score = 1 / (1 + np.exp(-mean))
    for index in np.argsort(-mean, kind="stable"):
        label = manifest.labels[int(index)]
        decision = manifest.decisions.get(label)
        if label != target and (decision is None or score[index] >= decision.threshold):
            return label
    return NOTHING


def judge_classes(listened: Sequence[Listened], manifest: Manifest, target: str) -> tuple[list[ClassResult], Confusion]:
    """Of all sounds that have a label. A label that the model does not know has a row, but no result."""
    pairs = [(one.sound, taken_for(one, manifest, target)) for one in listened if one.sound.label]
    known = set(manifest.labels)
    foreign = sorted({sound.label for sound, _ in pairs} - known)
    rows = [label for label in manifest.labels if any(sound.label == label for sound, _ in pairs)] + foreign
    columns = list(manifest.labels)
    if any(taken == NOTHING for _, taken in pairs):
        columns.append(NOTHING)
    counts = np.zeros((len(rows), len(columns)), np.int64)
    for sound, taken in pairs:
        counts[rows.index(sound.label), columns.index(taken)] += 1
    results = []
    for label in rows:
        if label not in known:
            continue
        right: dict[str, int] = defaultdict(int)
        total: dict[str, int] = defaultdict(int)
        for sound, taken in pairs:
            if sound.label == label:
                right[sound.recording] += taken == label
                total[sound.recording] += 1
        names = sorted(total)
        share = share_by_recording([right[name] for name in names], [total[name] for name in names])
        sounds, taken_so = sum(total.values()), int(counts[:, columns.index(label)].sum())
        results.append(
            ClassResult(
                label=label,
                recordings=len(names),
                sounds=sounds,
                recall=Recall(value=share.value, low=share.low, high=share.high, bursts=sounds, recordings=len(names)),
                precision=sum(right.values()) / taken_so if taken_so else None,
            )
        )
    return results, Confusion(rows=rows, columns=columns, counts=counts.tolist())
