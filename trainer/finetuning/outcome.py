"""From a trained network to the backbone that flies: voices as loud as before, int8, and what that cost.

The int8 file is written by `converters.int8_network`. `litert-torch` and `ai-edge-quantizer` keep as much of it; ours
needs neither, and names its ends as a head needs them (docs/adr/0018).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.backbone_file import open_backbone, pack_backbone
from converters.calibration import calibrate
from converters.clips import Clips, Sound
from converters.inner import reading_graph
from converters.int8_network import float_network, quantised
from converters.network import Network
from converters.parity import INT8, Parity, Run, compare
from edge.detection import audioset
from edge.detection.graph import Graph
from trainer.distillation.mixes import UNCLEAR
from trainer.distillation.voices import HEARD, LEAST_CLIPS, shift_to_reach, shifted
from trainer.finetuning.lessons import Batch
from trainer.finetuning.network import SmallHead
from trainer.learning.reading import MAPS

CALIBRATION = 800
"""Mixes that ranges are found on, the first ones."""
CLIPPED = 0.001
"""Share of the mixes that calibrate that may go beyond a range."""


@dataclass(frozen=True)
class Written:
    content: bytes
    """Of the backbone's file."""
    network: Network
    """The float network that it was made of."""
    voices_shift: float | None
    """By which the logits of voices were raised; None: nobody could tell."""


def backbone_of(
    network: Network, classes: Sequence[str], mixes: Batch, licence: str, heard: Iterable[str] = ()
) -> Written:
    """The int8 backbone of a trained network, calibrated on `CALIBRATION` of ``mixes``, quiet and loud ones.

    For the file: ``licence`` of all that it learned from, and ``heard``, the SHA-256 of each clip. Raises GraphError.
    """
    ranges = calibrate(network, mixes.patches[:CALIBRATION], CLIPPED)
    shift = None
    if audioset.SPEECH in classes and set(audioset.VOICES) <= set(classes):
        row = classes.index(audioset.SPEECH)
        spoken = np.flatnonzero(_sigmoid(mixes.known[:, row]) >= HEARD)
        if len(spoken) >= LEAST_CLIPS:
            flying = Graph(quantised(network, ranges, [row]).pack())
            reached = []
            for patch in mixes.patches[spoken]:
                flying.feed(patch[np.newaxis])
                reached.append(float(flying.output("context")[0]))
            shift = shift_to_reach(reached)
            network = shifted(network, classes, shift)
            ranges = calibrate(network, mixes.patches[:CALIBRATION], CLIPPED)
    cut = quantised(network, ranges, list(range(len(classes))))
    return Written(pack_backbone(cut, classes, heard=heard, licence=licence), network, shift)


def parity(written: Written, head: SmallHead, asked: Batch, labels: Sequence[str], most: int = 600) -> list[Parity]:
    """int8 against float, on the clear mixes of the validation part: the embedding, the classes, and, as the metric,
    how well the small head ranks the labels. Raises GraphError."""
    rows = np.flatnonzero(asked.labels != UNCLEAR)[:most]
    sounds = tuple(
        Sound(np.empty(0, np.float32), asked.patches[row], labels[asked.labels[row]], str(row)) for row in rows
    )
    columns = {"labels": list(labels), "gun_shot": list(labels[:1])}
    return compare(_float_run(written.network, head), _int8_run(written.content, head), Clips(sounds), INT8, columns)


def _float_run(network: Network, head: SmallHead) -> Run:
    plain = Graph(float_network(network, every_output=True), "the float network")

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        plain.feed(sound.patch[np.newaxis])
        maps = [plain.output(f"layer{2 * n}").reshape(-1, network.layers[2 * n].outputs) for n in MAPS]
        read = np.concatenate([part for one in maps for part in (one.mean(axis=0), one.max(axis=0))])
        found = {"embedding": plain.output("embedding"), **_told(head, read)}
        if len(network.class_biases):
            found["context"] = _sigmoid(plain.output("logits"))
        return found

    return run


def _int8_run(content: bytes, head: SmallHead) -> Run:
    file = open_backbone(content)
    whole, reading = Graph(file.cut(file.classes).pack()), reading_graph(file.cut(), MAPS)
    inner = Graph(reading)

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        for graph in (whole, inner):
            graph.feed(sound.patch[np.newaxis])
        read = np.concatenate(
            [np.ravel(inner.output(f"inner/{number}/{what}")) for number in MAPS for what in ("mean", "maximum")]
        )
        found = {"embedding": whole.output("embedding"), **_told(head, read)}
        if file.classes:
            found["context"] = whole.output("context")
        return found

    return run


def _told(head: SmallHead, read: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    logits = head(read)
    return {"labels": logits, "gun_shot": np.array([logits[0] - np.logaddexp.reduce(logits[1:])], np.float32)}


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)
