"""Thresholds for a network that has itself learned from some of the recordings.

Out of fold, a head has not learned from a recording; but the network under it may have, with its label, and then tells
its sounds from shots better than it ever will those of a forest. A threshold that was set on such margins promises
too few false alarms. So margins of what the network knows are raised by what it knows too well: their distance, at
the same rate of events, from what it has not heard, among sounds of the same labels. The distance grows towards the
loudest, which decide, and they are few: it is taken at several rates, and the largest counts, for a promise should
rather be kept too well.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from converters.backbone_file import HEARD_DIGITS, Backbone
from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.judging.events import Judged, threshold_at
from trainer.learning.learner import HOP_S, RELEASE_BELOW, Heard, of_the_field

EVENTS = (3, 5, 10)
"""Events in what was not heard, at the rates where the two are compared."""
LEAST_RECORDINGS = 10
"""On either side."""


def known_to(backbone: Backbone, clips: Sequence[Clip]) -> frozenset[str]:
    """Recordings that the network itself has learned from. ``clips``: as the catalogue has them."""
    return frozenset(clip.recording for clip in clips if clip.sha256[:HEARD_DIGITS] in backbone.heard)


def known_too_well(heard: Sequence[Heard], known: Collection[str]) -> float:
    """How far under those of the others the margins of ``known`` recordings stand, 0 or more; 0 where there are too few
    to say it."""
    field = [one for one in heard if of_the_field(one.spec.label)]
    sides = [[one for one in field if (one.spec.recording in known) == is_known] for is_known in (True, False)]
    common = set.intersection(*({one.spec.label for one in side} for side in sides))
    old, new = ([one for one in side if one.spec.label in common] for side in sides)
    if any(len({one.spec.recording for one in side}) < LEAST_RECORDINGS for side in (old, new)):
        return 0.0
    hours = sum(one.judged.seconds for one in new) / 3600

    def at(side: Sequence[Heard], events: int) -> float:
        return threshold_at([one.judged for one in side], events / hours, RELEASE_BELOW, 1, HOP_S)

    return max(0.0, *(round(at(new, events) - at(old, events), 2) for events in EVENTS))


def as_if_unheard(heard: Sequence[Heard], known: Collection[str], by: float) -> list[Heard]:
    """``heard``, the margins of sounds without a shot in ``known`` recordings raised ``by`` so much."""
    return [
        replace(one, judged=Judged(one.judged.recording, one.judged.margins + by, one.judged.seconds))
        if one.spec.recording in known and one.spec.label != SHOT
        else one
        for one in heard
    ]
