"""``report.html``: everything about one model on one page that needs nothing but itself.

    write_report(Path("models/20260102-1-0a1b2c3d"))

It is made from ``performance_metrics.json`` and the excerpts beside it, so it can be made again at any time.
"""

from pathlib import Path

from edge.durable import commit_bytes
from trainer.judging.metrics import Metrics
from trainer.report import sections
from trainer.report.figures import headline
from trainer.report.layout import Html, bullets, escaped, page, paragraph
from trainer.report.moments import hardest

NAME = "report.html"
METRICS = "performance_metrics.json"
CONTENTS = (
    ("recall", "Shots found"),
    ("false-alarms", "False alarms"),
    ("gate", "Gate"),
    ("curves", "Curves"),
    ("hardest-false-alarms", "Hardest false alarms"),
    ("hardest-misses", "Misses"),
    ("classes", "Classes"),
    ("ablations", "Ablations"),
    ("basis", "Basis"),
)


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Make the page of the metrics in ``folder``, there or at ``out``.

    Raises:
        ValidationError: the metrics are none.
        OSError: a file cannot be read or written.
    """
    metrics = Metrics.model_validate_json((folder / METRICS).read_bytes())
    target = out or folder / NAME
    commit_bytes(target, render(metrics, folder).encode())
    return target


def render(metrics: Metrics, folder: Path) -> str:
    """The page; excerpts are read from ``folder``."""
    title = f"{metrics.model.name} {metrics.model.version}"
    links = "".join(
        f'<a href="#{name}">{text}</a>' for name, text in CONTENTS if name != "ablations" or metrics.ablations
    )
    top = [
        Html(f"<h1>How good is {escaped(title)}?</h1>"),
        Html(f'<p class="lead">{escaped(headline(metrics))}</p>'),
        _gate_line(metrics),
        bullets(list(metrics.notes)),
        Html(f'<nav aria-label="On this page">{links}</nav>'),
    ]
    return page(
        f"{title}: report",
        [
            *top,
            sections.recall(metrics),
            sections.false_alarms(metrics),
            sections.gate(metrics),
            sections.curves(metrics),
            hardest(metrics, folder),
            sections.classes(metrics),
            sections.ablations(metrics),
            sections.costs(metrics),
            sections.basis(metrics),
        ],
    )


def _gate_line(metrics: Metrics) -> Html:
    if metrics.gate is None:
        return Html("")
    if metrics.gate.passed:
        return paragraph(Html('<span class="good">It passes the gate.</span>'))
    return paragraph(Html('<span class="bad">It does not pass the gate.</span>'))
