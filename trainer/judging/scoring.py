"""A model on a benchmark: shots found by ratio, and what each kind of sound gives, at each stated threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.judging.benchmark import Group, group_of
from trainer.judging.evaluate import Evaluation
from trainer.judging.metrics import FalseAlarms, Metrics, Recall, Recalls, rate_name
from trainer.judging.tally import SHIPPED, false_alarms

OTHERS: tuple[Group, ...] = ("field", "ambience", "city", "like shots")


@dataclass(frozen=True)
class Row:
    """One threshold."""

    at: str
    """``10 per hour``, or ``as it ships``."""
    threshold: float
    """A score."""
    recalls: Recalls
    alarms: dict[Group, FalseAlarms]
    """Of the sounds without shots, by what they are."""


@dataclass(frozen=True)
class Score:
    metrics: Metrics
    rows: tuple[Row, ...]


def score(evaluation: Evaluation) -> Score:
    """Rows from the most false alarms to the fewest, then the model's own threshold."""
    metrics = evaluation.metrics
    rows = [
        _row(evaluation, f"{one.per_hour:g} per hour", rate_name(one.per_hour), one.threshold, one.recalls)
        for one in metrics.at_rates
    ]
    shipped = metrics.shipped
    rows.append(_row(evaluation, "as it ships", SHIPPED, shipped.threshold, shipped.recalls))
    return Score(metrics, tuple(rows))


def score_rows(found: Score) -> str:
    """Tables for people."""
    from trainer.models.tables import columns
    from trainer.report.figures import number, rate, share

    metrics, first = found.metrics, found.rows[0].recalls
    data, shipped = metrics.dataset, metrics.shipped
    ratios = [f"{one.snr_db:g} dB" for one in first.by_snr]
    shots = [
        [row.at, share(row.recalls.all), *(share(one) for one in row.recalls.by_snr), f"{row.threshold:.4g}"]
        for row in found.rows
    ]
    groups = [group for group in OTHERS if group in found.rows[0].alarms]
    alarms = [[row.at, *(rate(row.alarms[group]) for group in groups)] for row in found.rows]
    hours = ["hours heard", *(f"{found.rows[0].alarms[group].hours:.2f}" for group in groups)]
    promised, measured = shipped.promised_per_hour, shipped.false_alarms.per_hour
    ratio = f", {measured / promised:.2f} of it" if promised else ""
    lines = [
        f"{metrics.model.name} {metrics.model.version} on {data.name} {data.version}: {data.bursts} shots, "
        f"{data.rated_hours:.2f} rated hours",
        "",
        columns(["shots found", "all", *ratios, "threshold"], shots),
        "",
        columns(["events per hour in", *groups], [*alarms, hours]),
        "",
        f"promised {number(promised)} per hour, measured {rate(shipped.false_alarms)}{ratio}",
    ]
    return "\n".join([*lines, *metrics.notes])


def score_document(found: Score) -> dict[str, Any]:
    """The same for scripts."""
    metrics = found.metrics
    shipped = metrics.shipped
    return {
        "model": {"name": metrics.model.name, "version": metrics.model.version},
        "dataset": metrics.dataset.model_dump(mode="json"),
        "promised_per_hour": shipped.promised_per_hour,
        "measured_per_hour": shipped.false_alarms.per_hour,
        "at": [
            {
                "at": row.at,
                "threshold": row.threshold,
                "recall": _recall(row.recalls.all),
                "recall_by_snr_db": {f"{one.snr_db:g}": _recall(one) for one in row.recalls.by_snr},
                "events": {group: alarms.model_dump(mode="json") for group, alarms in row.alarms.items()},
            }
            for row in found.rows
        ],
        "notes": metrics.notes,
    }


def _row(evaluation: Evaluation, at: str, outcome: str, threshold: float, recalls: Recalls) -> Row:
    pairs = list(zip(evaluation.listened, evaluation.outcomes[outcome], strict=True))
    kinds = [group_of(one.sound.label) for one, _ in pairs]
    alarms = {
        group: false_alarms([pair for pair, kind in zip(pairs, kinds, strict=True) if kind == group])
        for group in OTHERS
        if group in kinds
    }
    return Row(at, threshold, recalls, alarms)


def _recall(found: Recall) -> Sequence[float]:
    return [round(found.value, 4), round(found.low, 4), round(found.high, 4)]
