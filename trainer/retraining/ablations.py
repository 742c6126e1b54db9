"""What each effect of the field is worth: heads that learned without it, on the same sounds.

Judged out of fold over everything that is learned from, as thresholds are set: the test part alone holds too few
recordings of shots to tell an effect from chance. Renderings for which an effect was not drawn are the same with and
without it, so their embeddings come from the cache.
"""

from collections.abc import Callable, Sequence

from trainer.augmentation.field import FIELD
from trainer.judging.events import Judged, events, threshold_at
from trainer.judging.metrics import RATES_PER_HOUR, Ablation
from trainer.judging.statistics import difference_by_recording
from trainer.learning.learner import HOP_S, RELEASE_BELOW, Decided, Heard, of_the_field
from trainer.learning.renderings import SHOT
from trainer.retraining.telling import Telling


def ablations(
    whole: Sequence[Heard], decided: Decided, without: Callable[[str], Sequence[Heard]], telling: Telling
) -> list[Ablation]:
    """A row for each effect and rate. ``whole``: what was heard out of fold with all of them. ``decided``: the
    rule. ``without``: the same by heads that learned without one; each takes about as long as a run's learning."""
    rows: list[Ablation] = []
    if not any(of_the_field(one.spec.label) for one in whole):
        telling.note("no ablations: there are no other sounds of the field, so no rate of false alarms to hold")
        return rows
    found = {per_hour: _found(whole, per_hour, decided) for per_hour in RATES_PER_HOUR}
    for number, effect in enumerate(FIELD, 1):
        with telling.step(f"ablation {number} of {len(FIELD)}: without {effect}"):
            heard = without(effect)
        for per_hour in RATES_PER_HOUR:
            now, total = _found(heard, per_hour, decided)
            before, _ = found[per_hour]
            names = sorted(total)
            difference = difference_by_recording(
                [now[name] for name in names], [before[name] for name in names], [total[name] for name in names]
            )
            recall = sum(now.values()) / max(sum(total.values()), 1)
            rows.append(Ablation(without=effect, per_hour=per_hour, recall=recall, difference=difference))
    return rows


def _found(heard: Sequence[Heard], per_hour: float, decided: Decided) -> tuple[dict[str, int], dict[str, int]]:
    """By recording: shots found at this rate, and shots."""
    quiet: list[Judged] = [one.judged for one in heard if of_the_field(one.spec.label)]
    how = decided.hits, HOP_S, decided.certain_above
    threshold = threshold_at(quiet, per_hour, RELEASE_BELOW, *how)
    found: dict[str, int] = {}
    total: dict[str, int] = {}
    for one in heard:
        if one.spec.label == SHOT:
            name = one.spec.recording
            is_found = events(one.judged.margins, threshold, threshold - RELEASE_BELOW, *how) > 0
            found[name] = found.get(name, 0) + is_found
            total[name] = total.get(name, 0) + 1
    return found, total
