"""The site's own background: a running quantile of its scores, and how far it raises the threshold.

    background = Background(rule, threshold=0.5, hop_s=0.24)
    background.observe(score)          # of every window
    background.raised                  # log-odds; 0 where the site is quiet

A histogram of log-odds, whose counts fade with the rule's horizon. Its only clock is the number of windows, so the same
sound gives the same thresholds at any speed. A window costs a search in a sorted list and one addition.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

from edge.detection.site_rules import BackgroundRule, log_odds, score_at

LOWEST, HIGHEST, STEP = -12.0, 12.0, 0.125
"""Log-odds that are told apart. What scores lower or higher counts into the first or the last bin."""
_EDGES = [score_at(LOWEST + STEP * number) for number in range(1, round((HIGHEST - LOWEST) / STEP))]
BINS = len(_EDGES) + 1
EVERY_S = 10.0
"""Between two looks at the quantile."""
HEAVIEST = 1e6
"""Weight of a window at which all are made lighter."""


class Background:
    """Of one label. Used by one thread; ``counts`` may be read by any."""

    def __init__(self, rule: BackgroundRule, threshold: float, hop_s: float) -> None:
        """``threshold``: the label's own, a score."""
        self.rule = rule
        self.raised = 0.0
        """Log-odds by which the threshold stands above the model's own now."""
        self.windows = 0
        """Heard so far; counted up to the warm-up's."""
        self._threshold = log_odds(threshold)
        self._warm = math.ceil(rule.warm_up_s / hop_s)
        self._every = max(1, round(EVERY_S / hop_s))
        self._growth = math.exp(hop_s / rule.horizon_s)
        self._weight = 1.0
        self._counts = [0.0] * BINS
        self._since = 0

    @property
    def at_limit(self) -> bool:
        """Whether the background scores so high that the threshold would stand higher yet, if it might."""
        return self.raised >= self.rule.most

    def observe(self, score: float) -> bool:
        """Count a window in. True where ``raised`` has changed."""
        self._counts[bisect_right(_EDGES, score)] += self._weight
        self._weight *= self._growth
        self.windows += 1
        self._since += 1
        if self._since < self._every:
            return False
        self._since = 0
        if self._weight > HEAVIEST:
            self._counts = [count / self._weight for count in self._counts]
            self._weight = 1.0
        return self._look()

    def quantile(self) -> float:
        """Log-odds under which the rule's share of the windows lies: the upper edge of its bin. The lowest of all where
        nothing was heard."""
        above = (1 - self.rule.quantile) * sum(self._counts)
        for number in range(BINS - 1, -1, -1):
            above -= self._counts[number]
            if above < 0:
                return LOWEST + STEP * (number + 1)
        return LOWEST

    def counts(self) -> list[float]:
        """The histogram, in windows as heavy as the newest: what must be kept over a restart, with ``windows``."""
        return [count / self._weight for count in self._counts]

    def resume(self, counts: Sequence[float], windows: int) -> None:
        """Go on from what `counts` gave. Raises ValueError: no such histogram."""
        found = [float(count) for count in counts]
        if len(found) != BINS or windows < 0 or not all(0 <= count < math.inf for count in found):
            raise ValueError(f"a background has {BINS} counts, none of them negative")
        self._counts, self._weight, self.windows = found, 1.0, windows
        self._look()

    def _look(self) -> bool:
        before = self.raised
        if self.windows >= self._warm:
            wanted = self.quantile() + self.rule.margin - self._threshold
            self.raised = min(max(wanted, 0.0), self.rule.most)
        return self.raised != before
