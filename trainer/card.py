"""The model card that goes into the model file."""

from collections.abc import Mapping, Sequence
from typing import Any

ATTRIBUTIONS = """\
- Network: YAMNet, quantised, by Google (Apache-2.0), unchanged from the log-mel patch on.
- SESA, Sound Events for Surveillance Applications, T. Spadini, Zenodo 3519845 (CC BY 4.0).
- ESC-10, K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015; clips from
  Freesound under CC0 and CC BY, authors listed in the set's own README; two clips under Sampling+ left out.
- Ambience: the sounds of the program Blanket (CC0, public domain, CC BY: gezortenplotz, alex36917, Digifish music,
  SDLx, Luftrum, as its licensing page lists), the R package behaviouR (MIT), scikit-maad (BSD-3-Clause).
"""


def card_of(
    version: str, labels: Sequence[str], training: Mapping[str, Any], metrics: Mapping[str, Any], threshold: float
) -> str:
    """Markdown."""
    return f"""# yamnet-gun-shot {version}

Hears gunshots. Google's int8 YAMNet from its log-mel patch on, and a linear head of this project on its embedding.

**Use**: alerts that a person checks. A score is not a probability. It was trained on {training["recordings"]}
recordings, few of them shots in forests: expect it to miss distant ones, and to take crackling fires, typewriters,
doors, tools and fireworks for shots. Listen for a week at your site before you rely on it.

**Output** `scores`: {", ".join(labels)}. The score of `gun_shot` is the sigmoid of its log-odds against the other
labels plus 0.4 times YAMNet's own gun logit, shifted so that 0.5 is the threshold (a margin of {threshold:g}).

## Figures

Events (two hits at a hop of 0.24 s, or one far above the threshold) through the device's own event logic. Recall
of whole clips with its 90 % interval (bootstrap over clips), as they are and mixed into background at the ratio
stated (300 to 6000 Hz).

{_figures("Out of fold (the threshold was set here)", metrics["out_of_fold"])}
{_figures("Test (seen by neither weights nor threshold)", metrics["test"])}
## Learned from

{ATTRIBUTIONS}"""


def _figures(title: str, figures: Mapping[str, Any]) -> str:
    lines = [f"**{title}**", "", "| shots | recall |", "|---|---|"]
    for kind, (value, low, high) in figures["recall_and_90_percent_interval"].items():
        lines.append(f"| {kind} | {value:.2f} [{low:.2f} {high:.2f}] |")
    lines += ["", "| no shots | false alarms | hours |", "|---|---|---|"]
    for kind, found in figures["false_alarms"].items():
        lines.append(f"| {kind} | {found['events']} ({found['per_hour']:g} /h) | {found['hours']:g} |")
    return "\n".join(lines) + "\n"
