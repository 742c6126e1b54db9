"""From a taught student to the backbone that flies: batch norms folded, ranges found, int8 written, loss measured."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.backbone_file import pack_backbone
from converters.calibration import calibrate
from converters.int8_network import float_network, quantised
from converters.network import Network
from edge.detection.graph import Graph


@dataclass(frozen=True)
class Parity:
    """The int8 network against the float one, on patches."""

    embedding_correlation: float
    """Median over patches."""
    class_correlation: float
    """Of the logits' sigmoid, likewise."""


def backbone_of_network(
    network: Network, classes: list[str], calibration: NDArray[np.float32], heard: Iterable[str] = ()
) -> bytes:
    """The bytes of a backbone file; ``calibration`` are patches float32 [n, 96, 64], quiet and loud, and ``heard`` the
    SHA-256 of the clips that it has learned from.

    Raises GraphError.
    """
    ranges = calibrate(network, calibration, clipped=0.001)
    return pack_backbone(quantised(network, ranges, list(range(len(classes)))), classes, heard=heard)


def parity(network: Network, backbone: bytes, patches: NDArray[np.float32]) -> Parity:
    """What int8 costs. Raises GraphError."""
    flying, plain = Graph(backbone), Graph(float_network(network, list(range(len(network.class_biases)))))
    embeddings, classes = [], []
    for patch in patches:
        for graph in (flying, plain):
            graph.feed(patch[np.newaxis])
        embeddings.append(_correlation(flying.output("embedding"), plain.output("embedding")))
        classes.append(_correlation(flying.output("context"), plain.output("context")))
    return Parity(round(float(np.median(embeddings)), 4), round(float(np.median(classes)), 4))


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    if not a.std() or not b.std():
        return float(np.allclose(a, b))
    return float(np.corrcoef(a, b)[0, 1])
