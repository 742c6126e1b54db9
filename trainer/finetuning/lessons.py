"""What is learned from and what decides when to stop: mixes of the training part, and of the validation part.

Both are mixes of spectrograms as the student hears them (`trainer.distillation.mixes`, docs/adr/0016): a shot over a
bed at a drawn ratio, clips as the field might have them, an equaliser, a level. Training hears new ones in each epoch,
the same for the same seed; validation hears the same ones for ever. The test part is in neither.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.int8_network import float_network
from converters.network import Network
from edge.detection.graph import Graph
from trainer.augmentation.mixing import random_of
from trainer.data.clip import Clip
from trainer.data.labels import SHOT
from trainer.data.split import part_of
from trainer.distillation.bank import Bank, BankPlan, make_bank
from trainer.distillation.mixes import UNCLEAR, Mixer
from trainer.learning.learner import LearningError

TRAINING = BankPlan(of_clips=3, of_shots=12, of_synthetic=12, of_synthetic_shots=20, of_voices=0)
VALIDATION = BankPlan(seed=2, of_clips=1, of_shots=4, of_synthetic=4, of_synthetic_shots=0, of_voices=0)


@dataclass(frozen=True)
class Batch:
    patches: NDArray[np.float32]
    """Log-mel, float32 [n, 96, 64]."""
    labels: NDArray[np.int64]
    """Index of the label, int64 [n]; `UNCLEAR` where the mix says nothing."""
    known: NDArray[np.float32]
    """What the network said of them before it was trained further (`Before`), float32 [n, D]."""

    def __len__(self) -> int:
        return len(self.labels)


class Before:
    """The network as it came: the logits of its classes; the embedding where it has none.

    ``graph``: the same network in int8, if there is one; it takes a quarter of the time.
    """

    def __init__(self, network: Network, graph: bytes | None = None) -> None:
        self._graph = Graph(graph or float_network(network), "the network as it came")
        self._network = network

    @property
    def width(self) -> int:
        """D, the values it gives."""
        return len(self._network.class_biases) or self._network.embedding_width

    def __call__(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, D] of patches float32 [n, 96, 64]."""
        found = np.empty((len(patches), self._network.embedding_width), np.float32)
        for row, patch in enumerate(patches):
            self._graph.feed(patch[np.newaxis])
            found[row] = self._graph.output("embedding")
        if not len(self._network.class_biases):
            return found
        return np.asarray(found @ self._network.class_weights.T + self._network.class_biases, np.float32)


class Lessons:
    """Mixes of both parts. ``labels`` are those of the training part, the shot first."""

    def __init__(self, training: Bank, validation: Bank, before: Before, seed: int) -> None:
        self._training, self._validation, self._before, self._seed = training, validation, before, seed
        self.labels = Mixer(training, 0).labels
        self.known_width = before.width

    def epoch(self, number: int, windows: int, batch: int) -> Iterator[Batch]:
        """The mixes of one epoch, the next batch being made while one is learned from."""
        mixer = Mixer(self._training, int(random_of(self._seed, "epoch", number).integers(1 << 62)))
        sizes = [batch] * (windows // batch)
        with ThreadPoolExecutor(1) as worker:
            following = worker.submit(self._batch, mixer, sizes[0])
            for size in [*sizes[1:], 0]:
                this = following.result()
                if size:
                    following = worker.submit(self._batch, mixer, size)
                yield this

    def validation(self, windows: int) -> Batch:
        """The mixes that decide. Labels that the training part lacks are unclear."""
        mixer = Mixer(self._validation, 1)
        mixes = mixer.draw(windows)
        index = np.array([self.labels.index(name) if name in self.labels else UNCLEAR for name in mixer.labels])
        labels = np.where(mixes.labels == UNCLEAR, UNCLEAR, index[mixes.labels])
        return Batch(mixes.patches, labels.astype(np.int64), self._before(mixes.patches))

    def _batch(self, mixer: Mixer, size: int) -> Batch:
        mixes = mixer.draw(size)
        return Batch(mixes.patches, mixes.labels, self._before(mixes.patches))


def parts_of(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """The training and the validation part, each with a shot in it.

    Raises:
        LearningError: one of them has none.
    """
    training, validation = ([clip for clip in clips if part_of(clip.recording) == part] for part in _PARTS)
    for part, some, use in zip(_PARTS, (training, validation), ("learn from", "decide when to stop"), strict=True):
        if not any(clip.label == SHOT for clip in some):
            raise LearningError(
                f"the {part} part holds no recording labelled {SHOT!r} to {use}: add recordings (with fewer than some "
                "fifty of shots, train a head alone: `ecosight-trainer retrain`)"
            )
    return training, validation


def banks(
    folder: Path,
    clips: Sequence[Clip],
    processes: int | None,
    progress: Callable[[str, int, int], None],
    plans: tuple[BankPlan, BankPlan] = (TRAINING, VALIDATION),
) -> tuple[Bank, Bank]:
    """Spectrograms of both parts, rendered into ``folder`` or found there.

    Raises LearningError, DecodingError, OSError.
    """
    made = []
    for part, some, plan in zip(_PARTS, parts_of(clips), plans, strict=True):

        def tell(done: int, total: int, part: str = part) -> None:
            progress(f"rendering the {part} part", done, total)

        made.append(make_bank(folder / part, some, plan, tell, processes))
    return made[0], made[1]


_PARTS = ("train", "validation")
