"""Whether the sound goes on as it was, by the spans of its blocks.

A shot is a bang: the block in which it begins rises over the one before. In recordings of forests one block in twelve
does, and between these whoever scores may take its time (`edge.listening`).
"""

import numpy as np
from numpy.typing import NDArray

RISE = 10 ** (3 / 20)
"""Of a block's span over that of the one before: more is something new. 3 dB, since 98 in 100 shots that the network
finds rise by more, and noise by less than 1 dB (docs/adr/0024 has the table)."""


class Calm:
    """Not thread-safe."""

    def __init__(self, blocks: int) -> None:
        """``blocks``: for so many a rise lasts, the one that rose among them. What a window may hold of it."""
        self._blocks = blocks
        self._since = 0
        self._span = 0.0

    def hear(self, block: NDArray[np.float32]) -> bool:
        """Whether all is calm, with this block (float32 ``[n]``, not empty) as the newest."""
        # By the places of the extremes: what `max` runs through in numpy takes longer where all caches are cold.
        before, self._span = self._span, block.item(block.argmax()) - block.item(block.argmin())
        self._since = 0 if self._span > RISE * before else self._since + 1
        return self._since >= self._blocks
