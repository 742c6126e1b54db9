"""How loud a student must call for voices, so that the privacy gate's limit means the same for it as for its teacher.

There are few voices among recordings that may ship, most are made, and a student may be shyer about real ones than
YAMNet. The gate must not pass a clip because of that: the logits of all classes of voices are shifted until, of the
clips in which the teacher hears speech, nearly all reach the limit; clips that the student has not heard, if there are
enough. Clips without a voice are then withheld more often; that is the side to err on.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.network import Network
from edge.audio.frontend import FrontEnd
from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.detection import audioset
from edge.detection.graph import Graph
from trainer.augmentation.mixing import read_clip
from trainer.data.clip import Clip

HEARD = 0.5
"""Score from which the teacher has heard speech."""
LIMIT = 0.3
"""Of the gate by default (``privacy.speech_limit``)."""
REACHED = 0.9
"""Share of clips with speech that must reach it."""
HOP_S = 0.48
LEAST_CLIPS = 8


def shifted(network: Network, classes: Sequence[str], shift: float) -> Network:
    """The network with the logits of all voices raised by ``shift``."""
    biases = network.class_biases.copy()
    for label in audioset.VOICES:
        biases[classes.index(label)] += np.float32(shift)
    return replace(network, class_biases=biases)


def shift_for(student: bytes, teacher: Graph, row: int, clips: Sequence[Clip]) -> float:
    """The shift for a student's backbone file (its ``context`` are all classes), from what the teacher's ``context``
    column 0, Speech, says of ``clips``; ``row`` is Speech among the student's. 0 to 8.

    Raises:
        ValueError: the teacher hears speech in too few of them.
    """
    graph = Graph(student)
    reached = [_loudest(graph, row, clip) for clip in clips if _loudest(teacher, 0, clip) >= HEARD]
    if len(reached) < LEAST_CLIPS:
        raise ValueError(f"the teacher hears speech in {len(reached)} of {len(clips)} clips; {LEAST_CLIPS} are needed")
    return shift_to_reach(reached)


def shift_to_reach(reached: Sequence[float]) -> float:
    """The shift of logits, 0 to 8, with which `REACHED` of these scores of speech come to the `LIMIT`."""
    lowest = float(np.quantile(_logit(np.array(reached)), 1 - REACHED, method="lower"))
    return float(np.clip(_logit(np.array([LIMIT]))[0] - lowest, 0, 8))


def with_speech(teacher: Graph, clips: Sequence[Clip]) -> list[Clip]:
    """Those of ``clips`` in which the teacher, whose ``context`` is Speech alone, hears it."""
    return [clip for clip in clips if _loudest(teacher, 0, clip) >= HEARD]


def teacher_of_speech(yamnet: Path) -> Graph:
    """Google's network, with Speech alone as its context. Raises GraphError."""
    from converters.backbone_file import open_backbone

    return Graph(open_backbone(yamnet.read_bytes(), str(yamnet)).cut([audioset.SPEECH]).pack())


def _loudest(graph: Graph, row: int, clip: Clip) -> float:
    """The highest score of a clip's windows in column ``row`` of the ``context``; 0 where it has none."""
    highest = 0.0
    for window in FrontEnd(SAMPLE_RATE_HZ, HOP_S).push(0, read_clip(clip.path)):
        graph.feed(window.patch[np.newaxis])
        highest = max(highest, float(graph.output("context")[row]))
    return highest


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    # An int8 score has steps of 1/256, and 0 is one of them.
    inside = np.clip(scores, 1 / 512, 1 - 1 / 512)
    return np.asarray(np.log(inside / (1 - inside)))
