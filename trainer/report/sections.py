"""The report's sections: what is said, in which order, in which words. All figures come from `Metrics`."""

from collections.abc import Sequence

from trainer.judging.metrics import Confusion, Metrics, Recall, Rule
from trainer.report import plots
from trainer.report.figures import counted, number, share, signed
from trainer.report.layout import (
    Html,
    bullets,
    data_address,
    escaped,
    figure,
    joined,
    paragraph,
    scrolling,
    section,
    table,
)

SVG = "image/svg+xml"
INTERVAL = "In brackets the 90\u00a0% interval of a bootstrap over recordings."


def recall(metrics: Metrics) -> Html:
    """Recall at stated rates, by ratio and distance."""
    rates = metrics.at_rates
    head = ["shots", *(f"at {one.per_hour:g} per hour" for one in rates), "as it ships", "shots", "recordings"]
    every = [*(one.recalls for one in rates), metrics.shipped.recalls]
    rows = [_recalls("all", [one.all for one in every])]
    for index, snr in enumerate(metrics.shipped.recalls.by_snr):
        rows.append(_recalls(f"{snr.snr_db:g} dB", [one.by_snr[index] for one in every]))
    for index, far in enumerate(metrics.shipped.recalls.by_distance):
        rows.append(_recalls(f"{far.distance_m:g} m away", [one.by_distance[index] for one in every]))
    thresholds = [f"{one.threshold:.3g}" for one in rates]
    rows.append(["threshold", *thresholds, f"{metrics.shipped.threshold:.3g}", "", ""])
    return section(
        "recall",
        "Shots found, at a stated number of false alarms",
        [
            paragraph(
                f"A shot is found when an event begins within {metrics.tolerance_s:g} s of it; shots that the device "
                f"tells as one burst count once. {INTERVAL} The ratio is that of the shot over the background between "
                "300 and 6000 Hz."
            ),
            table("Share of shots found, by false alarms per hour", head, rows),
        ],
    )


def false_alarms(metrics: Metrics) -> Html:
    """Promised against measured, and what the false alarms were."""
    shipped = metrics.shipped
    promised = shipped.promised_per_hour
    found = shipped.false_alarms
    ratio = found.per_hour / promised if promised else None
    rows = [
        ["promised per hour", number(promised)],
        ["measured per hour", number(round(found.per_hour, 2))],
        ["95 % upper bound per hour", number(found.upper_per_hour)],
        ["measured over promised", number(None if ratio is None else round(ratio, 2))],
        ["events", number(found.events)],
        ["hours heard", f"{found.hours:.2f}"],
    ]
    by_label = [
        [label, number(one.events), f"{one.hours:.2f}", number(round(one.per_hour, 2)), number(one.upper_per_hour)]
        for label, one in shipped.by_label.items()
    ]
    beside = shipped.beside_shots
    return section(
        "false-alarms",
        "False alarms: promised and measured",
        [
            table("At the threshold that ships", ["", "value"], rows),
            paragraph(
                "The upper bound is that of a Poisson process: with no event in T hours the rate is below 3/T. In "
                f"the sounds that hold shots, {counted(beside.events, 'event')} in {beside.hours:.2f} h matched none "
                "of them."
            ),
            table(
                "By what was heard, the most false alarms per hour first; sounds that make no rate are here too",
                ["sound", "events", "hours", "per hour", "upper bound"],
                by_label,
            ),
        ],
    )


def gate(metrics: Metrics) -> Html:
    """Every rule with its value."""
    found = metrics.gate
    if found is None:
        return section("gate", "Gate", [paragraph("It has not been held against the gate.")])
    against = f"against {found.against}" if found.against else "as a first model: nothing was in use before it"
    broken = sum(not rule.passed for rule in found.rules)
    verdict = "It passes" if not broken else f"It is refused by {counted(broken, 'rule')}"
    rows: list[list[Html | str]] = [
        [rule.name, _verdict(rule), number(rule.measured), _limit(rule), rule.note] for rule in found.rules
    ]
    head = ["rule", "result", "measured", "limit", "note"]
    return section(
        "gate", "Gate", [paragraph(f"{verdict}, {against}."), table("Rules of the gate", head, rows, numbers=False)]
    )


def curves(metrics: Metrics) -> Html:
    """The four plots."""
    points = metrics.curves.points
    best = max((point.recall for point in points), default=0.0)
    shots = counted(metrics.dataset.bursts, "shot")
    parts = [
        _plot(
            "Recall against false alarms per hour",
            plots.recall_against_false_alarms(metrics),
            f"Recall rises to {best:.2f} as more false alarms are accepted. The tables above hold the stated rates.",
            "Each threshold through the device's event logic. Rates of zero stand at the left edge.",
        ),
        _plot(
            "Precision and recall of events",
            plots.precision_recall(points),
            "Precision of events over recall.",
            f"Of this benchmark: {shots} in {metrics.dataset.hours:.1f} h. A forest holds far fewer, so precision "
            "there is far lower.",
        ),
        _plot(
            "Detection error tradeoff of single windows",
            plots.detection_error_tradeoff(metrics.curves.det),
            "Misses over false alarms of single windows, both on a scale of normal deviates.",
            "Windows of 0.975 s with a shot well inside, against windows far from any. Points without an error of "
            "either kind have no place on these scales.",
        )
        if metrics.curves.det
        else "",
        _plot(
            "Reliability of a window's score",
            plots.reliability(metrics.calibration),
            "Share of windows with a shot over their score, beside the line on which both are equal.",
            f"Expected calibration error {metrics.calibration.error:.3f}. A score is not a probability: this is what "
            "it would mean on sounds like these, and most windows here hold no shot.",
        ),
    ]
    return section("curves", "Curves", [Html(f'<div class="plots">{joined(parts).text}</div>')])


def classes(metrics: Metrics) -> Html:
    """Results by class and the confusion matrix."""
    rows = []
    for one in metrics.classes:
        precision = "–" if one.precision is None else f"{one.precision:.2f}"
        rows.append([one.label, share(one.recall), precision, str(one.sounds), str(one.recordings)])
    head = ["class", "recall", "precision", "sounds", "recordings"]
    return section(
        "classes",
        "What sounds were taken for",
        [
            paragraph(
                f"Whole sounds: {metrics.model.target} where the device told of one, else the other label with the "
                f"highest mean over the windows that are loud, or hold the shot. {INTERVAL}"
            ),
            table("By class", head, rows),
            confusion(metrics.confusion),
        ],
    )


def confusion(found: Confusion) -> Html:
    """A table that is coloured by the share of its row."""
    top = "".join(f'<th scope="col"><span>{escaped(label)}</span></th>' for label in found.columns)
    lines = []
    for label, counts in zip(found.rows, found.counts, strict=True):
        total, pairs = max(sum(counts), 1), zip(found.columns, counts, strict=True)
        cells = "".join(_cell(count, count / total, label == column) for column, count in pairs)
        lines.append(f'<tr><th scope="row">{escaped(label)}</th>{cells}</tr>')
    caption = "Confusion matrix: rows are what sounds are, columns what they were taken for"
    return scrolling(caption, "confusion", f"<thead><tr><td></td>{top}</tr></thead>\n<tbody>{''.join(lines)}</tbody>")


def ablations(metrics: Metrics) -> Html:
    """What each part of the training is worth."""
    if not metrics.ablations:
        return Html("")
    rows = [
        [one.without, f"{one.per_hour:g}", f"{one.recall:.2f}", signed(one.difference)] for one in metrics.ablations
    ]
    return section(
        "ablations",
        "What each part of the training is worth",
        [
            paragraph(
                "Recall after training without one thing, and its difference from the whole, out of fold over all that "
                "is learned from; recordings of shots and of other sounds are drawn, for both alike. Below zero the "
                "thing helps; an interval that holds zero shows nothing."
            ),
            table("Ablations", ["without", "false alarms per hour", "recall", "difference"], rows),
        ],
    )


def costs(metrics: Metrics) -> Html:
    """Size, speed, and what int8 costs."""
    rows = [["size of the model file", f"{metrics.model.size_bytes / 1024:.0f} KiB"]]
    if metrics.speed is not None:
        rows.append(["time per window", f"{metrics.speed.ms_per_window:.2f} ms on the machine that trained it"])
        rows.append([f"time per window over that of {metrics.speed.against}", f"{metrics.speed.ratio:.2f}"])
    if (lost := metrics.quantisation) is not None:
        told = f"{lost.recall_float:.3f} in float32, {lost.recall_int8:.3f} in int8"
        rows.append([f"recall at {lost.per_hour:g} false alarms per hour", told])
    else:
        rows.append(["float32 against int8", "there is no float model to compare with"])
    return section("costs", "Size, speed, and int8", [table("What it costs", ["", "value"], rows)])


def basis(metrics: Metrics) -> Html:
    """What all this rests on."""
    data, model = metrics.dataset, metrics.model
    lines = [
        f"Data: {data.name} {data.version}".strip() + f", SHA-256 {data.sha256}.",
        f"{counted(data.sounds, 'sound')} of {counted(data.recordings, 'recording')}, {data.hours:.2f} h; "
        f"{data.rated_hours:.2f} h of them make the rate of false alarms; {counted(data.bursts, 'shot')} or bursts.",
        f"Model: {model.name} {model.version}, label {model.target}, a window every {model.hop_s:g} s, "
        f"{counted(model.hits, 'hit')} wanted. SHA-256 of its network: {model.graph_sha256}.",
        *metrics.notes,
    ]
    return section("basis", "What this rests on", [bullets(list(lines))])


def _recalls(name: str, found: Sequence[Recall]) -> list[str]:
    return [name, *(share(one) for one in found), str(found[-1].bursts), str(found[-1].recordings)]


def _plot(title: str, svg: bytes, says: str, caption: str) -> Html:
    shown = figure(data_address(SVG, svg), f"{title}. {says}", caption)
    return Html(f"<div><h3>{escaped(title)}</h3>{shown.text}</div>")


def _cell(count: int, part: float, right: bool) -> str:
    # Blue for what is right, orange for what is not; dark text on it stays readable up to the full colour.
    red, green, blue = (86, 180, 233) if right else (240, 150, 90)
    shade = ",".join(str(round(255 - part * (255 - value))) for value in (red, green, blue))
    return f'<td style="background:rgb({shade})">{count if count else "·"}</td>'


def _limit(rule: Rule) -> str:
    return "–" if rule.limit is None else f"{rule.sense} {number(rule.limit)}"


def _verdict(rule: Rule) -> Html:
    if rule.limit is None and rule.passed:
        return Html("not\u00a0judged")
    return Html('<span class="good">passes</span>' if rule.passed else '<span class="bad">fails</span>')
