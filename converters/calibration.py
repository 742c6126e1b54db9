"""Which range each activation of a network has on real sound, so that its int8 steps are spent where values are.

Calibrate on what the device will hear: quiet and loud, forest and shots, some hundreds of patches. A value beyond its
range is clipped; a range that one rare patch has widened makes every step coarser.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from converters.flatbuffer import GraphError
from converters.int8_network import Ranges, float_network
from converters.network import Network
from edge.audio.logmel import LOG_OFFSET, MEL_BANDS, PATCH_FRAMES
from edge.detection.graph import Graph

_SILENCE = float(np.log(np.float32(LOG_OFFSET)))
"""The lowest value of a log-mel patch."""
_FULL_SCALE = 5.3
"""The highest: a tone at full scale. A close shot must not be clipped because calibration had none so loud."""


def calibrate(network: Network, patches: Iterable[NDArray[np.float32]], clipped: float = 0.0) -> Ranges:
    """Ranges from running the float network on ``patches`` (float32 [96, 64] each).

    ``clipped``: the share of patches that may go beyond a range. 0: none of these. A range always holds zero; a
    patch's holds digital silence and full scale.

    Raises:
        GraphError: no patches, or values that are not finite.
    """
    graph = Graph(float_network(network, every_output=True), "the float network")
    names = [f"layer{number}" for number in range(len(network.layers))]
    has_classes = len(network.class_biases) > 0
    lows: list[list[float]] = []
    highs: list[list[float]] = []
    for patch in patches:
        if patch.shape != (PATCH_FRAMES, MEL_BANDS) or not np.isfinite(patch).all():
            raise GraphError(f"calibration needs finite log-mel patches [96, 64]; one has shape {patch.shape}")
        graph.feed(np.ascontiguousarray(patch[np.newaxis], np.float32))
        found = [patch, *(graph.output(name) for name in names), graph.output("embedding")]
        if has_classes:
            found.append(graph.output("logits"))
        lows.append([float(one.min()) for one in found])
        highs.append([float(one.max()) for one in found])
    if not lows:
        raise GraphError("calibration needs patches of real sound; there are none")
    if not np.isfinite(highs).all() or not np.isfinite(lows).all():
        raise GraphError("the network gives values that are not finite; did the training diverge?")
    low = np.quantile(np.array(lows), clipped, axis=0, method="lower")
    high = np.quantile(np.array(highs), 1 - clipped, axis=0, method="higher")
    span = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    count = len(names)
    return Ranges(
        patch=(min(span[0][0], _SILENCE), max(span[0][1], _FULL_SCALE)),
        layers=tuple(span[1 : 1 + count]),
        embedding=span[1 + count],
        logits=span[2 + count] if has_classes else (0.0, 1.0),
    )
