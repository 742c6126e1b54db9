"""A small classifier on what a network sees: linear, or with one hidden layer; in numpy, by mini-batches.

Mini-batches are read from uint8 steps as they lie on disk, so ten times the data needs no more memory; scikit-learn's
logistic regression wants all of it in float64, and its perceptron knows neither dropout nor weights of rows in a
stream (docs/adr/0015). Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101), dropout
(Srivastava et al., 2014), He's initialisation, a rate that warms up and falls as half a cosine.
"""

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LEAST_BATCH = 32
RELEASE_EVERY = 8
"""Mini-batches: what was read of a file is then given back, or all of it would count as this process's memory. Each row
brings 64 KiB along."""
HELD_BYTES = 400 << 20
"""A file that is no larger may stay."""


@dataclass(frozen=True)
class Recipe:
    """How it is fitted."""

    hidden: int = 512
    """Units of the hidden layer; 0 for a linear classifier."""
    epochs: int = 4
    least_steps: int = 300
    """With few rows mini-batches are smaller, and epochs more: so many steps are needed to get anywhere."""
    batch: int = 512
    rate: float = 2e-3
    decay: float = 0.01
    input_dropout: float = 0.3
    hidden_dropout: float = 0.5
    seed: int = 1


def hidden_for(width: int) -> int:
    """Hidden units for ``width`` values that are read: more find more on recordings never heard, and make the file
    larger (docs/adr/0014)."""
    return max(16, min(512, width * 3 // 8))


@dataclass(frozen=True)
class Classifier:
    """A fitted one: logits = W · max(0, V · steps + c) + b, or W · steps + b."""

    weights: Floats
    """float32 [K, H], or [K, F] where it is linear."""
    biases: Floats
    hidden_weights: Floats | None = None
    """float32 [H, F], for steps."""
    hidden_biases: Floats | None = None

    def logits(self, steps: NDArray[np.uint8]) -> Floats:
        """float32 [n, K] of steps uint8 [n, F]."""
        out = [self._logits(steps[first : first + 4096].astype(np.float32)) for first in range(0, len(steps), 4096)]
        return np.concatenate(out) if out else np.empty((0, len(self.biases)), np.float32)

    def _logits(self, x: Floats) -> Floats:
        if self.hidden_weights is not None and self.hidden_biases is not None:
            x = np.maximum(x @ self.hidden_weights.T + self.hidden_biases, 0)
        return np.asarray(x @ self.weights.T + self.biases, np.float32)


def fit(
    steps: NDArray[np.uint8],
    rows: NDArray[np.intp],
    labels: NDArray[np.intp],
    weights: Floats,
    recipe: Recipe,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Classifier:
    """Fit to ``steps[rows]`` (uint8 [n, F], perhaps memory-mapped), whose labels are ``labels`` (0 to K - 1) and whose
    losses count ``weights`` times; both have one entry per row of ``rows``. Every label must be there."""
    random = np.random.default_rng(recipe.seed)
    mean, deviation = _moments(steps, rows)
    inner = recipe.hidden or steps.shape[1]
    count = int(labels.max()) + 1
    values = {"w": np.zeros((inner, count), np.float32), "b": np.zeros(count, np.float32)}
    if recipe.hidden:
        first = random.standard_normal((steps.shape[1], inner), dtype=np.float32)
        values["v"] = first * np.float32(np.sqrt(2 / steps.shape[1]))
        values["c"] = np.zeros(inner, np.float32)
        values["w"] = random.standard_normal((inner, count), dtype=np.float32) * np.float32(np.sqrt(1 / inner))
    optimiser = _Adam(values, recipe.decay)
    batch = min(recipe.batch, max(LEAST_BATCH, len(rows) * recipe.epochs // recipe.least_steps))
    in_one = -(-len(rows) // batch)
    epochs = max(recipe.epochs, -(-recipe.least_steps // in_one))
    total = epochs * in_one
    done = 0
    for _ in range(epochs):
        order = random.permutation(len(rows))
        for start in range(0, len(order), batch):
            # In the order of the file, which a memory map likes.
            some = np.sort(order[start : start + batch])
            x = (steps[rows[some]].astype(np.float32) - mean) / deviation
            gradients = _gradients(values, x, labels[some], weights[some], recipe, random)
            optimiser.step(gradients, recipe.rate * _schedule(done / total))
            done += 1
            if done % RELEASE_EVERY == 0:
                _release(steps)
            progress(done, total)
    return _for_steps(values, mean, deviation)


def balance(labels: NDArray[np.intp]) -> Floats:
    """Weights of rows: rare labels count more, but not as much as the common ones together: by the root of their
    number. float32, mean 1."""
    share = 1 / np.sqrt(np.bincount(labels).clip(1))
    weights = share[labels]
    return np.asarray(weights / weights.mean(), np.float32)


def margins(logits: Floats, column: int, neutral: Sequence[int] = ()) -> NDArray[np.float64]:
    """Log-odds of one label against all others but the ``neutral`` ones, float64 [n], of logits [n, K]."""
    own = logits[:, column].astype(np.float64)
    others = np.delete(logits, [column, *neutral], axis=1).astype(np.float64)
    highest = others.max(axis=1)
    return np.asarray(own - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1)))


def _gradients(
    values: dict[str, Floats], x: Floats, labels: NDArray[np.intp], weights: Floats, recipe: Recipe,
    random: np.random.Generator,
) -> dict[str, Floats]:  # fmt: skip
    x = _dropped(x, recipe.input_dropout, random)
    inner = x
    if recipe.hidden:
        inner = _dropped(np.maximum(x @ values["v"] + values["c"], 0), recipe.hidden_dropout, random)
    logits = inner @ values["w"] + values["b"]
    logits -= logits.max(axis=1, keepdims=True)
    error = np.exp(logits)
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error *= (weights / len(labels))[:, None]
    gradients = {"w": inner.T @ error, "b": error.sum(axis=0)}
    if recipe.hidden:
        # What was dropped or below zero passes nothing back; what was kept is scaled as it was on the way in.
        back = (error @ values["w"].T) * (inner > 0) / np.float32(1 - recipe.hidden_dropout)
        gradients |= {"v": x.T @ back, "c": back.sum(axis=0)}
    return gradients


def _dropped(x: Floats, share: float, random: np.random.Generator) -> Floats:
    if not share:
        return x
    kept = random.random(x.shape, dtype=np.float32) >= share
    return np.asarray(x * kept / np.float32(1 - share), np.float32)


class _Adam:
    def __init__(self, values: dict[str, Floats], decay: float) -> None:
        self._values, self._decay, self._count = values, decay, 0
        self._first = {name: np.zeros_like(value) for name, value in values.items()}
        self._second = {name: np.zeros_like(value) for name, value in values.items()}

    def step(self, gradients: dict[str, Floats], rate: float) -> None:
        self._count += 1
        corrected = rate * np.sqrt(1 - 0.999**self._count) / (1 - 0.9**self._count)
        for name, gradient in gradients.items():
            first, second, value = self._first[name], self._second[name], self._values[name]
            first += np.float32(0.1) * (gradient - first)
            second += np.float32(0.001) * (gradient * gradient - second)
            if value.ndim == 2:
                value *= np.float32(1 - rate * self._decay)
            value -= np.float32(corrected) * first / (np.sqrt(second) + np.float32(1e-8))


def _release(steps: NDArray[np.uint8]) -> None:
    mapped = getattr(steps, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and steps.nbytes > HELD_BYTES:
        mapped.madvise(mmap.MADV_DONTNEED)


def _schedule(part: float) -> float:
    return min(1.0, part / 0.1 + 0.05) * 0.5 * (1 + float(np.cos(np.pi * part)))


def _moments(steps: NDArray[np.uint8], rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each of the F columns; no deviation below half a step."""
    some = np.sort(np.random.default_rng(0).choice(rows, min(len(rows), 20_000), replace=False))
    total, squares = np.zeros(steps.shape[1]), np.zeros(steps.shape[1])
    for first in range(0, len(some), 1024):
        x = steps[some[first : first + 1024]].astype(np.float64)
        total += x.sum(axis=0)
        squares += np.square(x).sum(axis=0)
        _release(steps)
    mean = total / len(some)
    deviation = np.sqrt(np.maximum(squares / len(some) - mean**2, 0.25))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _for_steps(values: dict[str, Floats], mean: Floats, deviation: Floats) -> Classifier:
    """The same function of steps rather than of standardised ones."""
    weights, biases = values["w"].T, values["b"]
    if "v" not in values:
        per_step = weights / deviation
        return Classifier(np.ascontiguousarray(per_step), (biases - per_step @ mean).astype(np.float32))
    per_step = values["v"].T / deviation
    hidden_biases = (values["c"] - per_step @ mean).astype(np.float32)
    return Classifier(np.ascontiguousarray(weights), biases, np.ascontiguousarray(per_step), hidden_biases)
