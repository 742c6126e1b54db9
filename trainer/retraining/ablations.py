"""What each effect of the field is worth: the same run without it, judged on the same sounds."""

from collections.abc import Callable

from trainer.augmentation.field import FIELD
from trainer.judging.comparison import recall_difference
from trainer.judging.metrics import Ablation, Metrics
from trainer.retraining.telling import Telling

PER_HOUR = 3.0


def ablations(whole: Metrics, without: Callable[[str], Metrics], telling: Telling) -> list[Ablation]:
    """A row for each effect. ``without``: the metrics of a model that was learned without one; as long as the run
    itself, each time."""
    rows = []
    for number, effect in enumerate(FIELD, 1):
        telling.say(f"== ablation {number} of {len(FIELD)}: without {effect}")
        found = recall_difference(whole, without(effect), PER_HOUR)
        assert found.difference is not None
        rows.append(Ablation(without=effect, per_hour=PER_HOUR, recall=found.b, difference=found.difference))
    return rows
