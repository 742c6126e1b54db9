"""What the commands print: plain columns that a script may cut, and documents for those who ask for JSON."""

from collections.abc import Sequence
from typing import Any

from trainer.judging.comparison import Comparison
from trainer.judging.metrics import Metrics, Recall
from trainer.models.log import Entry
from trainer.models.store import Store
from trainer.report.figures import number, rate, share, signed


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned, two spaces apart."""
    table = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join(line.replace("\u00a0", " ").replace("\u202f", " ") for line in lines)


def history_rows(entries: Sequence[Entry]) -> str:
    """The log, oldest first."""
    rates = sorted({rate for entry in entries for rate in entry.recall}, key=float, reverse=True)
    head = ["when", "what", "version", *(f"recall@{rate}/h" for rate in rates), "FA/h", "gate", "who", "why"]
    rows = []
    for entry in entries:
        gate = "–" if entry.gate is None else "passed" if entry.gate.passed else "FORCED" if entry.forced else "closed"
        recall = [f"{entry.recall[rate]:.2f}" if rate in entry.recall else "–" for rate in rates]
        alarms = "–" if entry.false_alarms_per_hour is None else f"{entry.false_alarms_per_hour:.2f}"
        when = f"{entry.at:%Y-%m-%d %H:%M}"
        rows.append([when, entry.action, entry.version, *recall, alarms, gate, _line(entry.who), _line(entry.reason)])
    return columns(head, rows)


def history_document(store: Store, entries: Sequence[Entry]) -> dict[str, Any]:
    """The log, the versions that are there, and which one is in use."""
    return {
        "current": store.current(),
        "versions": store.versions(),
        "entries": [entry.model_dump(mode="json") for entry in entries],
    }


def metrics_rows(metrics: Metrics) -> str:
    """Recall at the stated rates and false alarms by sound."""
    shipped = metrics.shipped
    every = [*(one.recalls for one in metrics.at_rates), shipped.recalls]
    head = ["shots", *(f"at {one.per_hour:g} FA/h" for one in metrics.at_rates), "as it ships", "bursts", "recordings"]

    def row(name: str, found: Sequence[Recall]) -> list[str]:
        return [name, *(share(one) for one in found), str(found[-1].bursts), str(found[-1].recordings)]

    rows = [row("all", [one.all for one in every])]
    rows += [row(f"{s.snr_db:g} dB", [one.by_snr[i] for one in every]) for i, s in enumerate(shipped.recalls.by_snr)]
    rows += [
        row(f"{far.distance_m:g} m", [one.by_distance[i] for one in every])
        for i, far in enumerate(shipped.recalls.by_distance)
    ]
    alarms = [
        [label, str(one.events), f"{one.hours:.2f}", rate(one)] for label, one in shipped.by_label.items() if one.events
    ]
    found = shipped.false_alarms
    alarms.append(["all that is rated", str(found.events), f"{found.hours:.2f}", rate(found)])
    parts = [columns(head, rows), columns(["false alarms in", "events", "hours", "per hour (95 % bound)"], alarms)]
    return "\n\n".join([*parts, *metrics.notes])


def comparison_rows(found: Comparison) -> str:
    """A line for each figure."""
    rows = []
    for row in found.rows:
        difference = "" if row.difference is None else signed(row.difference)
        rows.append([row.what, number(round(row.a, 3)), number(round(row.b, 3)), difference, row.verdict])
    head = ["", "A", "B", "B - A (90 %)", ""]
    return f"A: {found.a}\nB: {found.b}\non {found.dataset}\n\n{columns(head, rows)}"


def comparison_document(found: Comparison) -> dict[str, Any]:
    rows = []
    for row in found.rows:
        difference = None
        if row.difference is not None:
            difference = {"value": row.difference.value, "low": row.difference.low, "high": row.difference.high}
        rows.append({"what": row.what, "a": row.a, "b": row.b, "difference": difference, "verdict": row.verdict})
    return {"a": found.a, "b": found.b, "dataset": found.dataset, "rows": rows}


def _line(text: str) -> str:
    return " ".join(text.split())
