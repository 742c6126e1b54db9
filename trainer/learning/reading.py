"""What a head reads of a network: pooled inner maps, side by side.

The maps were chosen on held-out recordings (docs/adr/0014): alone, the earlier ones beat the embedding by far;
two together beat any one, and neither a third nor the embedding adds to these.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.backbone_file import Backbone as BackboneFile
from converters.backbone_file import open_backbone
from converters.inner import reading_graph
from trainer.embedding.backbone import Backbone, prepared

MAPS = (7, 11)


@dataclass(frozen=True)
class Reading:
    """A network as a head reads it."""

    file: BackboneFile
    maps: tuple[int, ...]
    steps: Backbone
    """Its graph, every part of which is a whole number of steps: what the cache holds."""

    def scales(self) -> NDArray[np.float32]:
        """Value of one step of each of the F values read, float32 [F]; zero is step 0."""
        return np.concatenate([np.full(one.width, one.scale, np.float32) for one in self.steps.features])

    @property
    def sha256(self) -> str:
        """The network's name."""
        return self.file.sha256


def reading_of(content: bytes, maps: tuple[int, ...] = MAPS, name: str = "the backbone") -> Reading:
    """How a head reads the network in ``content`` (see ``open_backbone``). Raises GraphError."""
    file = open_backbone(content, name)
    graph = reading_graph(file.cut(), maps)
    return Reading(file, maps, prepared(graph, hashlib.sha256(content).hexdigest()))
