"""The small classifier on steps."""

import numpy as np
import pytest

from trainer.learning.perceptron import Classifier, Recipe, _gradients, balance, fit, margins

RANDOM = np.random.default_rng(7)


def clouds(rows: int = 3000, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Three labels: the third is where both of the first two columns are high, which no line can say."""
    steps = RANDOM.integers(0, 200, (rows, width)).astype(np.uint8)
    a, b = steps[:, 0] > 100, steps[:, 1] > 100
    return steps, np.where(a & b, 2, np.where(a ^ b, 1, 0)).astype(np.intp)


def share_right(classifier: Classifier, steps: np.ndarray, labels: np.ndarray) -> float:
    return float((classifier.logits(steps).argmax(axis=1) == labels).mean())


@pytest.mark.parametrize(("hidden", "at_least"), [(0, 0.75), (48, 0.93)])
def test_it_learns_what_its_kind_can(hidden: int, at_least: float) -> None:
    steps, labels = clouds()
    recipe = Recipe(hidden, epochs=60, batch=128, rate=0.01, input_dropout=0, hidden_dropout=0.1)
    fitted = fit(steps, np.arange(2000), labels[:2000], np.ones(2000, np.float32), recipe)
    assert share_right(fitted, steps[2000:], labels[2000:]) > at_least


def test_gradients_are_those_of_the_loss() -> None:
    recipe = Recipe(hidden=5, input_dropout=0, hidden_dropout=0)
    values = {
        "v": RANDOM.standard_normal((4, 5)).astype(np.float32), "c": np.full(5, 0.1, np.float32),
        "w": RANDOM.standard_normal((5, 3)).astype(np.float32), "b": np.zeros(3, np.float32),
    }  # fmt: skip
    x, labels = RANDOM.standard_normal((16, 4)).astype(np.float32), RANDOM.integers(0, 3, 16)
    weights = RANDOM.uniform(0.5, 2, 16).astype(np.float32)

    def loss(changed: dict[str, np.ndarray]) -> float:
        wide = {name: value.astype(np.float64) for name, value in changed.items()}
        logits = np.maximum(x.astype(np.float64) @ wide["v"] + wide["c"], 0) @ wide["w"] + wide["b"]
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-(weights * logs[np.arange(16), labels]).mean())

    found = _gradients(values, x, labels, weights, recipe, RANDOM)
    for name, value in values.items():
        for index in np.ndindex(value.shape):
            up, down = (dict(values, **{name: value.astype(np.float64)}) for _ in range(2))
            up[name][index] += 1e-5
            down = dict(values, **{name: value.astype(np.float64)})
            down[name][index] -= 1e-5
            assert found[name][index] == pytest.approx((loss(up) - loss(down)) / 2e-5, abs=2e-4)


def test_the_same_seed_gives_the_same_weights_and_order_of_rows_in_memory_does_not_matter() -> None:
    steps, labels = clouds(400)
    recipe = Recipe(8, epochs=2, batch=64)
    rows, weights = np.arange(400), np.ones(400, np.float32)
    one, other = (fit(some, rows, labels, weights, recipe) for some in (steps, np.asfortranarray(steps)))
    assert np.array_equal(one.weights, other.weights)
    assert one.hidden_weights is not None and np.isfinite(one.hidden_weights).all()


def test_rows_without_weight_are_not_learned_from() -> None:
    steps, labels = clouds(800)
    wrong = labels.copy()
    wrong[400:] = (labels[400:] + 1) % 3
    weights = np.where(np.arange(800) < 400, 1, 0).astype(np.float32)
    recipe = Recipe(32, epochs=80, batch=64, rate=0.01, input_dropout=0, hidden_dropout=0)
    fitted = fit(steps, np.arange(800), wrong, weights, recipe)
    assert share_right(fitted, steps[:400], labels[:400]) > 0.95


def test_rare_labels_count_more_but_less_than_all_the_common_ones() -> None:
    weights = balance(np.array([0] * 100 + [1] * 4))
    assert weights.mean() == pytest.approx(1)
    assert weights[100] / weights[0] == pytest.approx(5)


def test_a_margin_is_the_log_odds_of_a_label_against_the_others() -> None:
    logits = RANDOM.standard_normal((50, 4)).astype(np.float32) * 5
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    assert margins(logits, 2) == pytest.approx(np.log(shares[:, 2] / (1 - shares[:, 2])), abs=1e-4)
