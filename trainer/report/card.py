"""``MODEL_CARD.md``: what the model is for, how good it is, what it learned from, under which licences.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). It goes into the model file and beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from converters.backbone import YAMNET_SHA256
from edge.detection.model_file import Manifest
from trainer.judging.metrics import Metrics, Recalls
from trainer.report.figures import headline, number, rate, share

ATTRIBUTIONS = {
    "SESA": "SESA, Sound Events for Surveillance Applications, T. Spadini, Zenodo 3519845 (CC BY 4.0).",
    "ESC-10": 'ESC-10, K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; clips '
    "from Freesound under CC0 and CC BY, authors listed in the set's own README.",
    "blanket": "The sounds of the program Blanket (CC0, public domain, CC BY: gezortenplotz, alex36917, Digifish "
    "music, SDLx, Luftrum, as its licensing page lists).",
    "behaviouR": "The R package behaviouR (MIT).",
    "scikit-maad": "scikit-maad (BSD-3-Clause).",
}
"""Whom to name, by how a clip's source begins."""
YAMNET = "The network comes from YAMNet, by Google (Apache-2.0)."
OURS = (
    "The network is one of `ecosight-trainer distill`: random at first, taught by YAMNet, by Google (Apache-2.0), on "
    "mixes of made sound (voices by espeak-ng among it) and of recordings that may ship."
)
KNOWN = (
    "It learned from {count} clips itself. Of other recordings it tells less; the threshold is set on what it did not "
    "hear, and the figures above are of recordings that neither it nor the head has heard."
)
UNKNOWN = "Its file does not say which recordings it heard: a threshold set on those promises too few false alarms."


def card_of(manifest: Manifest, metrics: Metrics) -> str:
    """Markdown. Sources and licences are those that ``manifest.training`` counts: ``clips_by_licence``,
    ``clips_by_source``, ``refused_by_licence``; ``attributions`` there adds lines."""
    return f"""# {manifest.name} {manifest.version}

{headline(metrics)}

**Use**: alerts that a person checks. A score is not a probability. Expect it to miss distant shots, and to take other
sudden sounds for shots; the tables say which. Listen for a week at your site before you rely on it.

**Output** `scores`: {", ".join(manifest.labels)}. Alerts on {", ".join(manifest.alert_labels)}, from a score of \
{metrics.shipped.threshold:.3g} on, with {metrics.model.hits} hits at a hop of {metrics.model.hop_s:g} s\
{_alone(manifest, metrics.model.target)}.

## Shots found

Events through the device's own detector, on sounds that the model has not learned from. In brackets the 90 % interval
of a bootstrap over recordings.

{_recalls(metrics)}

## False alarms

Promised {number(metrics.shipped.promised_per_hour)} per hour, measured {rate(metrics.shipped.false_alarms)} in \
{metrics.shipped.false_alarms.hours:.2f} h without shots. In brackets the 95 % upper bound.

{_alarms(metrics)}

## Judged on

{metrics.dataset.name} {metrics.dataset.version}: {metrics.dataset.sounds} sounds of {metrics.dataset.recordings} \
recordings, {metrics.dataset.hours:.2f} h (SHA-256 `{metrics.dataset.sha256}`).
{_list(metrics.notes)}
## Learned from

{_licences(manifest.training)}
{_list(_attributions(manifest))}
{_licence(manifest.licence)}
"""


def _alone(manifest: Manifest, target: str) -> str:
    certain = manifest.decisions[target].certain if target in manifest.decisions else None
    return f", or one from {certain:.3g} on" if certain is not None and certain < 1 else ""


def _licence(text: str) -> str:
    """A licence, or why there is none: ``not for distribution: learned from …``."""
    if text.startswith("not "):
        return f"**{text[0].upper()}{text[1:]}.** Use it where you trained it, and pass it on to nobody."
    return f"The model is under {text}."


def _recalls(metrics: Metrics) -> str:
    columns: list[tuple[str, Recalls]] = [(f"{one.per_hour:g} /h", one.recalls) for one in metrics.at_rates]
    columns.append(("as it ships", metrics.shipped.recalls))
    lines = ["| shots | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines.append("| all | " + " | ".join(share(found.all) for _, found in columns) + " |")
    for index, snr in enumerate(metrics.shipped.recalls.by_snr):
        lines.append(f"| {snr.snr_db:g} dB | " + " | ".join(share(found.by_snr[index]) for _, found in columns) + " |")
    for index, far in enumerate(metrics.shipped.recalls.by_distance):
        cells = " | ".join(share(found.by_distance[index]) for _, found in columns)
        lines.append(f"| {far.distance_m:g} m | {cells} |")
    return "\n".join(lines)


def _alarms(metrics: Metrics) -> str:
    lines = ["| sound | events | hours | per hour |", "|---|---|---|---|"]
    for label, one in metrics.shipped.by_label.items():
        lines.append(f"| {_cell(label)} | {one.events} | {one.hours:.2f} | {rate(one)} |")
    return "\n".join(lines)


def _licences(training: Mapping[str, Any]) -> str:
    """Clips by licence and by source, as far as the training snapshot knows them."""
    parts = []
    for key, head in (("clips_by_licence", "licence"), ("clips_by_source", "source")):
        found = training.get(key)
        if isinstance(found, Mapping) and found:
            rows = "\n".join(f"| {_cell(str(name))} | {count} |" for name, count in found.items())
            parts.append(f"| {head} | clips |\n|---|---|\n{rows}\n")
    if made := training.get("made_shots"):
        others = training.get("made_others", 0)
        parts.append(f"Beside them {made} shots and {others} other sounds, computed from physics, not recorded.\n")
    refused = training.get("refused_by_licence")
    if refused:
        parts.append(f"{refused} clips were left out: their licence does not permit a model that ships.\n")
    return "\n".join(parts)


def _attributions(manifest: Manifest) -> list[str]:
    sources = [str(source) for source in manifest.training.get("clips_by_source", {})]
    named = [text for start, text in ATTRIBUTIONS.items() if any(source.startswith(start) for source in sources)]
    own = [str(line) for line in manifest.training.get("attributions", [])]
    ours = [OURS, KNOWN.format(count=heard) if (heard := len(manifest.backbone_heard)) else UNKNOWN]
    network = {YAMNET_SHA256: [YAMNET], None: []}.get(manifest.backbone_sha256, [" ".join(ours)])
    return [*network, *named, *own]


def _list(lines: Sequence[str]) -> str:
    return "\n".join(["", *(f"- {line}" for line in lines), ""]) if lines else ""


def _cell(text: str) -> str:
    """A label may come from a file name."""
    return " ".join(text.replace("|", "\\|").split())
