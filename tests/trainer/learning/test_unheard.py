"""Thresholds hold although the network knows some of the recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.backbone_file import Backbone
from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.judging.events import Judged
from trainer.learning.learner import Heard, decide
from trainer.learning.renderings import Spec
from trainer.learning.unheard import as_if_unheard, known_to, known_too_well

RATE_PER_HOUR = 3.0


def sounds(label: str, count: int, centre: float, name: str, seed: int = 1) -> list[Heard]:
    """``count`` recordings of two minutes, the loudest margin of each spread about ``centre``."""
    peaks = np.random.default_rng(seed).gumbel(centre, 1, count)
    return [
        Heard(
            Spec("judged", Path("a.wav"), "00", label, f"{name}-{number}"),
            Judged(f"{name}-{number}", np.array([-9.0, peak, peak, -9.0]), 120.0),
        )
        for number, peak in enumerate(peaks)
    ]


def clip(recording: str, sha256: str) -> Clip:
    return Clip(Path(f"{recording}.wav"), "own", "rain", recording, 1.0, "own", sha256)


def test_recordings_are_known_again_by_any_of_their_clips() -> None:
    clips = [clip("a", "aaaaaaaa" + 56 * "0"), clip("a", 64 * "1"), clip("b", 64 * "2")]
    assert known_to(Backbone(b"", (), "", frozenset({"aaaaaaaa"})), clips) == {"a"}
    assert known_to(Backbone(b"", (), ""), clips) == frozenset()


def test_what_the_network_knows_too_well_is_measured_among_sounds_of_the_same_labels() -> None:
    old, new = sounds("rain", 200, -3.0, "old"), sounds("rain", 60, -1.5, "new", 2)
    # Harder sounds that only one side has say nothing about what the network knows.
    harder = sounds("clapping", 60, 4.0, "new", 3)
    known = {one.spec.recording for one in old}
    assert known_too_well([*old, *new, *harder], known) == pytest.approx(1.5, abs=0.5)
    assert known_too_well([*old, *new], set()) == 0.0
    assert known_too_well([*old, *new[:5]], known) == 0.0
    assert known_too_well([*old, *sounds("rain", 60, -9.0, "new")], known) == 0.0


def test_a_threshold_holds_on_recordings_that_the_network_has_never_heard() -> None:
    old, new = sounds("rain", 300, -3.0, "old"), sounds("rain", 60, -1.5, "new", 2)
    later = sounds("rain", 600, -1.5, "later", 4)
    shots = [replace(one, spec=replace(one.spec, label=SHOT)) for one in sounds("rain", 30, 6.0, "shot", 5)]
    known = {one.spec.recording for one in old}
    heard = [*old, *new, *shots]

    def measured(threshold: float) -> float:
        return sum(one.judged.margins.max() >= threshold for one in later) / (len(later) * 120 / 3600)

    plain = decide(heard, RATE_PER_HOUR).threshold
    corrected = decide(as_if_unheard(heard, known, known_too_well(heard, known)), RATE_PER_HOUR).threshold
    assert measured(plain) > 1.5 * RATE_PER_HOUR
    assert RATE_PER_HOUR / 3 < measured(corrected) < 1.5 * RATE_PER_HOUR
