"""The training loop: epochs of mixes, a validation after each, a checkpoint that goes on as if nothing had happened.

What is asked of the network: the label of a mix, where it is clear, through the small head (cross-entropy; explosions
do not count against a shot, as in the trained head); and to say of every mix what it said before, each value divided
by its spread, so that what nobody trains it for, voices for the privacy gate first of all, is not forgotten.

First the small head alone learns for an epoch: its random numbers would else shake the network. What it reaches is
epoch 0, the network as it came, which the others have to beat.
"""

import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.extras import needed
from converters.flatbuffer import GraphError
from edge.durable import commit_bytes
from trainer.augmentation.mixing import random_of
from trainer.distillation.mixes import UNCLEAR
from trainer.finetuning.lessons import Batch, Lessons
from trainer.finetuning.network import Tuned
from trainer.finetuning.plateau import Patience, Plateau
from trainer.learning.learner import NEUTRAL

CHECKPOINT, BEST = "checkpoint.npz", "best.npz"


@dataclass(frozen=True)
class Plan:
    """How it is trained."""

    frozen: int = 4
    """Maps 0 to so many stay as they are: two thirds of a step's time goes there, and edges and hums are the same
    everywhere. -1: everything is trained."""
    minutes: float = 480.0
    """At most so long; a night."""
    epochs: int = 1000
    windows: int = 4096
    """Of an epoch."""
    validation: int = 1536
    """Windows that decide."""
    batch: int = 64
    rate: float = 2e-4
    head_rate: float = 2e-3
    """Of the small head while it is alone."""
    decay: float = 1e-4
    known_share: float = 0.5
    """Weight of what it knew; the label has 1."""
    patience: Patience = field(default_factory=Patience)
    seed: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Epoch:
    """How one ended. Losses on the validation part."""

    number: int
    loss: float
    label: float
    """Cross-entropy."""
    known: float
    """Share of the spread of what it knew that is gone."""
    found: float
    """Share of the shots that score above all but one in a hundred of the other sounds."""
    rate: float
    minutes: float
    """Since the beginning, over all runs."""


@dataclass
class Run:
    """What a checkpoint keeps beside numbers."""

    plateau: Plateau
    history: list[Epoch]


def train(tuned: Tuned, lessons: Lessons, plan: Plan, folder: Path, tell: Callable[[Epoch], None]) -> list[Epoch]:
    """Train ``tuned`` and leave it as it was when it did best on the validation part; returns all epochs.

    ``folder`` holds the checkpoint; where one of the same plan lies there, it goes on from it.

    Raises:
        GraphError: training diverged, or the checkpoint cannot be read.
        OSError: no space.
    """
    torch = needed("torch")
    torch.set_num_threads(plan.threads)
    folder.mkdir(parents=True, exist_ok=True)
    asked = lessons.validation(plan.validation)
    spread = np.maximum(asked.known.std(axis=0), asked.known.std(axis=0).mean() / 3)
    neutral = [number for number, label in enumerate(lessons.labels) if label in NEUTRAL]
    loss = _Loss(spread + np.float32(1e-6), neutral, plan.known_share)
    began = time.monotonic()
    path = folder / CHECKPOINT
    run = Run(Plateau(plan.rate), [])
    before_s = 0.0
    optimiser: Any = None
    if path.exists():
        variables = tuned.train(head_only=False)
        optimiser = _optimiser(plan.rate, plan, variables)
        run = _read(path, tuned.variables(), optimiser.variables)
        before_s = run.history[-1].minutes * 60

    def validated() -> None:
        found = loss.on(tuned, asked, plan.batch)
        epoch = run.plateau.epoch + 1
        minutes = (before_s + time.monotonic() - began) / 60
        rate = run.plateau.rate if epoch else plan.head_rate
        run.plateau = run.plateau.after(found["loss"], plan.patience)
        run.history.append(Epoch(epoch, **found, rate=rate, minutes=round(minutes, 2)))
        if run.plateau.has_gained:
            _write(folder / BEST, tuned.variables(), [], run)
        _write(path, tuned.variables(), optimiser.variables, run)
        tell(run.history[-1])

    def epoch(number: int) -> Iterator[Batch]:
        # Dropout draws from PyTorch's own generator: each epoch from a seed of its own, whoever ran the one before.
        torch.manual_seed(int(random_of(plan.seed, "dropout", number).integers(1 << 62)))
        return lessons.epoch(number, plan.windows, plan.batch)

    if not run.history:
        alone = tuned.train(head_only=True)
        warming = _optimiser(plan.head_rate, plan, alone)
        for batch in epoch(0):
            _step(tuned, warming, alone, loss, batch)
        variables = tuned.train(head_only=False)
        optimiser = _optimiser(plan.rate, plan, variables)
        validated()
    while (
        run.plateau.epoch < plan.epochs
        and run.history[-1].minutes < plan.minutes
        and not run.plateau.is_over(plan.patience)
    ):
        steps = plan.windows // plan.batch
        for step, batch in enumerate(epoch(run.plateau.epoch + 1)):
            # Adam's first steps are as long as the rate, wherever they lead: they shake a network that is good already.
            rising = (step + 1) / steps if run.plateau.epoch == 0 else 1.0
            optimiser.learning_rate = run.plateau.rate * rising
            _step(tuned, optimiser, variables, loss, batch)
        validated()
    _read(folder / BEST, tuned.variables(), [])
    return run.history


class _Loss:
    def __init__(self, spread: NDArray[np.float32], neutral: list[int], known_share: float) -> None:
        self._ops = needed("keras").ops
        self._spread = self._ops.convert_to_tensor(spread)
        self._neutral, self._known_share = neutral, known_share

    def __call__(self, said: Any, logits: Any, batch: Batch) -> tuple[Any, Any, Any]:
        """The sum, and its parts: label and known."""
        ops = self._ops
        clear = batch.labels != UNCLEAR
        column = np.maximum(batch.labels, 0)
        away = np.zeros(logits.shape, np.float32)
        away[np.ix_(batch.labels == 0, self._neutral)] = -1e9
        each = ops.nn.sparse_categorical_crossentropy(
            ops.convert_to_tensor(column), logits + ops.convert_to_tensor(away), from_logits=True
        )
        label = ops.sum(each * ops.convert_to_tensor(clear.astype(np.float32))) / max(1, int(clear.sum()))
        known = ops.mean(ops.square((said - ops.convert_to_tensor(batch.known)) / self._spread))
        return label + self._known_share * known, label, known

    def on(self, tuned: Tuned, asked: Batch, batch: int) -> dict[str, float]:
        """Of the validation part: ``loss``, ``label``, ``known``, ``found``. Raises GraphError: not finite."""
        ops = self._ops
        said, logits = [], []
        with needed("torch").no_grad():
            for start in range(0, len(asked), batch):
                one, other = tuned(asked.patches[start : start + batch], training=False)
                said.append(ops.convert_to_numpy(one))
                logits.append(ops.convert_to_numpy(other))
            whole = [ops.convert_to_tensor(np.concatenate(part)) for part in (said, logits)]
            found = [float(part) for part in self(whole[0], whole[1], asked)]
        if not np.isfinite(found).all():
            raise GraphError("training diverged, the loss is no number any more: try a tenth of --rate")
        values = dict(zip(("loss", "label", "known"), (round(one, 5) for one in found), strict=True))
        return {**values, "found": found_of(np.concatenate(logits), asked.labels)}


def found_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of the clear shots (label 0) whose log-odds are above all but one in a hundred of the other clear mixes."""
    own = logits[:, 0] - np.logaddexp.reduce(logits[:, 1:], axis=1)
    shots, others = own[labels == 0], own[labels > 0]
    if not len(shots) or not len(others):
        return 0.0
    return round(float((shots > np.quantile(others, 0.99)).mean()), 4)


def _optimiser(rate: float, plan: Plan, variables: list[Any]) -> Any:
    optimiser = needed("keras").optimizers.AdamW(rate, weight_decay=plan.decay, global_clipnorm=5.0)
    optimiser.build(variables)
    return optimiser


def _step(tuned: Tuned, optimiser: Any, variables: list[Any], loss: _Loss, batch: Batch) -> None:
    total, _, _ = loss(*tuned(batch.patches, training=True), batch)
    for one in variables:
        one.value.grad = None
    total.backward()
    with needed("torch").no_grad():
        optimiser.apply([one.value.grad for one in variables], variables)


def _write(path: Path, variables: list[Any], optimiser: list[Any], run: Run) -> None:
    from converters.head_file import pack_arrays

    ops = needed("keras").ops
    text = json.dumps({"plateau": asdict(run.plateau), "history": [asdict(one) for one in run.history]}).encode()
    arrays = {f"variable_{n}": ops.convert_to_numpy(one.value) for n, one in enumerate(variables)}
    arrays |= {f"optimiser_{n}": ops.convert_to_numpy(one.value) for n, one in enumerate(optimiser)}
    commit_bytes(path, pack_arrays(**arrays, run=np.frombuffer(text, np.uint8)))


def _read(path: Path, variables: list[Any], optimiser: list[Any]) -> Run:
    try:
        with np.load(path, allow_pickle=False) as file:
            kept: Mapping[str, NDArray[Any]] = {name: file[name] for name in file.files}
        for n, one in enumerate(variables):
            one.assign(kept[f"variable_{n}"])
        for n, one in enumerate(optimiser):
            one.assign(kept[f"optimiser_{n}"])
        said = json.loads(kept["run"].tobytes())
        return Run(Plateau(**said["plateau"]), [Epoch(**one) for one in said["history"]])
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise GraphError(f"the checkpoint {path} cannot be read: remove its folder to begin anew ({error})") from error
