"""Whether a threshold that follows the site's background is worth it: each recording taken for a site.

A site is a place at which one recording of the field goes on for a share of the time, and ambience for the rest. The
background (`edge.detection.background`) is learned from one half of the recording and judged on the other, then the
other way round; shots are looked for at every site, at the threshold that it came to. All margins are out of fold, and
events are the device's own (`trainer.judging.events`). Recordings of one second here and there say little about real
hours: what follows is a comparison, no promise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.detection.background import BINS, Background
from edge.detection.site_rules import BackgroundRule, score_at
from trainer.judging.events import CERTAIN_ABOVE, Judged, events
from trainer.judging.statistics import Interval, difference_by_recording, rate_difference

BACKGROUND_RULE = BackgroundRule(quantile=0.97, margin=1.5, horizon_s=3600, warm_up_s=600, most=1.5)
"""What is judged, and written into a model if it wins. With 0.97 it takes a hundred shots in an hour to raise a
threshold; a smaller margin did not change false alarms beyond noise, a lower quantile acts on lasting sounds alone
(docs/adr/0019)."""
GOES_ON = 0.3
"""Share of the time that a site's own sound lasts."""
RECALL_LOSS = 0.02
"""The lower end of the difference in recall may be this far under zero."""


@dataclass(frozen=True)
class AtSites:
    """What the rule does at the sites."""

    sites: int
    raised: float
    """Share of the sites at which the threshold was raised."""
    alarms_without: float
    """False alarms per hour of the sites' own sounds."""
    alarms: Interval
    """With it minus without, per hour, by site."""
    recall_without: float
    recall: Interval
    """With it minus without, over all sites, by recording of shots."""
    ambience_raised: float
    """Share of recordings of mere ambience at which the threshold was raised."""

    @property
    def wins(self) -> bool:
        """Fewer false alarms beyond noise, and recall that is not worse."""
        return self.alarms.high < 0 and self.recall.low > -RECALL_LOSS

    def in_words(self) -> str:
        """A line for people."""
        alarms, recall = self.alarms, self.recall
        return (
            f"a threshold that follows the site's background: false alarms {self.alarms_without:.2f} per hour without, "
            f"{alarms.value:+.2f} ({alarms.low:+.2f} to {alarms.high:+.2f}) with it; recall {self.recall_without:.3f}, "
            f"{recall.value:+.3f} ({recall.low:+.3f} to {recall.high:+.3f}); raised at {self.raised:.0%} of "
            f"{self.sites} sites and {self.ambience_raised:.0%} of mere ambience: "
            f"{'written into the model' if self.wins else 'left out'}"
        )


def at_sites(
    field: Sequence[Judged],
    shots: Sequence[Judged],
    ambience: Sequence[Judged],
    threshold: float,
    release_below: float,
    hits: int,
    hop_s: float,
    scale: float,
    rule: BackgroundRule = BACKGROUND_RULE,
    goes_on: float = GOES_ON,
    certain_above: float = CERTAIN_ABOVE,
) -> AtSites | None:
    """Judge ``rule`` at ``threshold``, a margin. ``scale``: of margins to log-odds of scores. ``certain_above``:
    margin over the threshold from which one window is enough.

    None where there is nothing to judge it on: it needs other sounds of the field, shots, and ambience.
    """
    if not (field and shots and ambience):
        return None
    quiet = _counts(np.concatenate([one.margins for one in ambience]), threshold, rule, hop_s, scale)
    found: dict[float, NDArray[np.bool_]] = {}

    def of_shots(raised: float) -> NDArray[np.bool_]:
        if raised not in found:
            moved = threshold + scale * raised
            counts = [events(one.margins, moved, moved - release_below, hits, hop_s, certain_above) for one in shots]
            found[raised] = np.array(counts) > 0
        return found[raised]

    def alarms(margins: NDArray[np.float64], raised: float) -> int:
        moved = threshold + scale * raised
        return events(margins, moved, moved - release_below, hits, hop_s, certain_above)

    sites = _by_recording(field)
    without, with_it, hours, raises = [], [], [], []
    heard = np.zeros(len(shots))
    for one in sites.values():
        halves = [
            (judged.margins[: len(judged.margins) // 2], judged.margins[len(judged.margins) // 2 :]) for judged in one
        ]
        before = after = 0
        for learned, tested in ((0, 1), (1, 0)):
            own = _counts(np.concatenate([half[learned] for half in halves]), threshold, rule, hop_s, scale)
            raised = _raised(goes_on * own + (1 - goes_on) * quiet, rule, hop_s)
            raises.append(raised)
            before += sum(alarms(half[tested], 0.0) for half in halves)
            after += sum(alarms(half[tested], raised) for half in halves)
            heard += of_shots(raised)
        without.append(before)
        with_it.append(after)
        hours.append(sum(judged.seconds for judged in one) / 3600)
    names = [one.recording for one in shots]
    recordings = sorted(set(names))
    total = [names.count(name) for name in recordings]
    plain, moved = (
        [float(np.sum(some[[name == one for one in names]])) for name in recordings]
        for some in (of_shots(0.0), heard / (2 * len(sites)))
    )
    calm = [_raised(_counts(one.margins, threshold, rule, hop_s, scale), rule, hop_s) for one in ambience]
    return AtSites(
        sites=len(sites),
        raised=float(np.mean(np.array(raises) > 0)),
        alarms_without=sum(without) / sum(hours),
        alarms=rate_difference(with_it, without, hours),
        recall_without=sum(plain) / sum(total),
        recall=difference_by_recording(np.minimum(moved, total).tolist(), plain, total),
        ambience_raised=float(np.mean(np.array(calm) > 0)),
    )


def _by_recording(field: Sequence[Judged]) -> Mapping[str, list[Judged]]:
    sites: dict[str, list[Judged]] = {}
    for one in field:
        sites.setdefault(one.recording, []).append(one)
    return sites


def _counts(
    margins: NDArray[np.float64], threshold: float, rule: BackgroundRule, hop_s: float, scale: float
) -> NDArray[np.float64]:
    """The share of windows in each bin of the background, [BINS], whatever their order."""
    lasting = rule.model_copy(update={"horizon_s": 604_800.0})
    background = Background(lasting, 0.5, hop_s)
    for one in margins:
        background.observe(score_at((float(one) - threshold) / scale))
    counts = np.array(background.counts())
    return np.asarray(counts / counts.sum()) if counts.sum() else np.zeros(BINS)


def _raised(shares: NDArray[np.float64], rule: BackgroundRule, hop_s: float) -> float:
    """Log-odds by which a threshold is raised where so many windows are in each bin."""
    background = Background(rule, 0.5, hop_s)
    windows = round(rule.horizon_s / hop_s)
    background.resume((windows * shares).tolist(), windows)
    return background.raised
