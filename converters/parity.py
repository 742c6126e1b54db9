"""Whether a conversion still gives what it was made from, on sound: figures for people, and bounds for scripts.

That a converter ended without an error says little. The figures that count:

- ``correlation`` of all values of an output with the original's;
- ``ranking``, where clips are labelled and the model has such a label: how often a window of that label scores above
  one of another (the area under the ROC curve); what it may lose is bounded;
- ``largest``, the largest difference of any one value: bounded only for conversions that should be exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.clips import Clips, Sound

Run = Callable[[Sound], Mapping[str, NDArray[np.float32]]]
"""A model: a window in, its outputs by name, each flat float32."""


@dataclass(frozen=True)
class Bound:
    """What a conversion may lose."""

    correlation: float
    largest: float = np.inf
    ranking_loss: float = 0.02


EXACT = Bound(0.99999, largest=1e-4)
SAME_NETWORK = Bound(0.999)
"""The same int8 network behind another front end: rounded the other way in one window, a score may move there."""
FLOAT32 = Bound(0.9999, largest=2e-3)
FLOAT16 = Bound(0.999, largest=0.1)
INT8 = Bound(0.98)
BOUNDS = {"float32": FLOAT32, "float16": FLOAT16, "int8": INT8, "onnx": FLOAT32, "torchscript": FLOAT32}


@dataclass(frozen=True)
class Parity:
    """One output, on all windows."""

    output: str
    correlation: float
    largest: float
    ranking: tuple[float, float] | None
    """Before and after; None where nothing was labelled."""
    bound: Bound

    @property
    def holds(self) -> bool:
        is_near = self.correlation >= self.bound.correlation and self.largest <= self.bound.largest
        return is_near and (self.ranking is None or self.ranking[1] >= self.ranking[0] - self.bound.ranking_loss)

    def __str__(self) -> str:
        parts = [f"{self.output}: correlation {self.correlation:.5f} (at least {self.bound.correlation:g})"]
        limit = "" if np.isinf(self.bound.largest) else f" (at most {self.bound.largest:g})"
        parts.append(f"largest difference {self.largest:.2g}{limit}")
        if self.ranking is not None:
            before, after = self.ranking
            parts.append(f"ranking {before:.3f} -> {after:.3f} (may lose {self.bound.ranking_loss:g})")
        return ", ".join(parts) + ("" if self.holds else "  FAILS")


def compare(
    original: Run, conversion: Run, clips: Clips, bound: Bound, labels: Mapping[str, Sequence[str]] | None = None
) -> list[Parity]:
    """Run both on every window. ``labels``: what the columns of an output are, by its name, for ``ranking``.

    An output that the conversion lacks correlates with nothing: it fails.
    """
    before = [original(sound) for sound in clips.sounds]
    after = [conversion(sound) for sound in clips.sounds]
    found = []
    for name in before[0]:
        wanted = np.stack([np.ravel(one[name]) for one in before]).astype(np.float64)
        if name not in after[0] or np.size(after[0][name]) != wanted.shape[1]:
            found.append(Parity(name, 0.0, np.inf, None, bound))
            continue
        got = np.stack([np.ravel(one[name]) for one in after]).astype(np.float64)
        ranking = None
        if labels and name in labels:
            ranking = _rankings(wanted, got, labels[name], [sound.label for sound in clips.sounds])
        found.append(Parity(name, _correlation(wanted, got), float(np.abs(wanted - got).max()), ranking, bound))
    return found


def ranking(scores: NDArray[np.float64], is_target: NDArray[np.bool_]) -> float:
    """The chance that a target scores above another window, ties counting half (Mann-Whitney's U over its largest).

    ``scores`` float64 [n], ``is_target`` bool [n], with at least one of each kind.
    """
    targets, others = scores[is_target], np.sort(scores[~is_target])
    below = np.searchsorted(others, targets, "left")
    not_above = np.searchsorted(others, targets, "right")
    return float((below + not_above).sum() / (2 * len(targets) * len(others)))


def _rankings(
    wanted: NDArray[np.float64], got: NDArray[np.float64], columns: Sequence[str], labels: Sequence[str]
) -> tuple[float, float] | None:
    """The mean over all columns whose label five windows or more have, and five have not."""
    pairs = []
    for column, label in enumerate(columns):
        is_target = np.array([one == label for one in labels])
        if min(is_target.sum(), (~is_target).sum()) >= 5:
            pairs.append((ranking(wanted[:, column], is_target), ranking(got[:, column], is_target)))
    if not pairs:
        return None
    before, after = np.mean(pairs, axis=0)
    return float(before), float(after)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    if not np.isfinite(size):
        return 0.0
    if size == 0:
        return float(np.array_equal(one, other))
    return float((a * b).sum() / size)
