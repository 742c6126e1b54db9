"""Made sounds to learn beside recorded ones: shots, and the short sounds that could be taken for them.

What the few guns of a collection have in common, such as the microphone, is less of a hint beside others; and most of
what could be taken for a shot stands in no collection that a model may ship with (docs/adr/0021, 0023).

    for one in made_beside(clips, of_shots=15):
        waveform = waveform_of(one.kind, random)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from trainer.data.clip import Clip
from trainer.data.labels import SHOT

OTHERS = "other_impulse"
"""Label of made sounds of a label that no recording has."""
OF_SHOTS = 0.28
"""Made shots for each rendering of a recorded one."""
OF_OTHERS = 1.0
"""Made sounds of other kinds, likewise."""
SHOTS_M = (20.0, 600.0)
"""Distances, log-uniform."""
LONGEST_S = 3.0


@dataclass(frozen=True)
class Made:
    """One made sound, before the field does anything to it."""

    kind: str
    """Of `guns.KINDS` or `sounds.SOUNDS`."""
    label: str
    number: int

    @property
    def name(self) -> str:
        """In the place of a recording's id."""
        return f"made {self.kind} {self.number}"


def made_beside(clips: Sequence[Clip], of_shots: int) -> list[Made]:
    """The made sounds to learn beside ``clips``, whose shots are rendered ``of_shots`` times each, and once as they
    are. Of each kind of gun and of sound as many; none where there are no shots, or nothing but shots: made sounds
    stand beside recorded ones, not for them."""
    from trainer.synthesis.guns import KINDS
    from trainer.synthesis.sounds import SOUNDS

    recorded = sum(clip.label == SHOT for clip in clips) * (1 + of_shots)
    guns, labels = list(KINDS), {clip.label for clip in clips}
    if not recorded or labels == {SHOT}:
        return []
    others = [(kind, sound.label) for kind, sound in SOUNDS.items() if sound.impulsive]
    made = [Made(guns[n % len(guns)], SHOT, n) for n in range(round(OF_SHOTS * recorded))]
    for n in range(round(OF_OTHERS * recorded)):
        kind, label = others[n % len(others)]
        made.append(Made(kind, label if label in labels else OTHERS, n))
    return made


def waveform_of(kind: str, random: np.random.Generator) -> NDArray[np.float32]:
    """One sound of a kind, float32 [n] of at most `LONGEST_S`, peak 1 or less. Raises KeyError."""
    from trainer.synthesis.guns import KINDS, drawn_shot
    from trainer.synthesis.sounds import SOUNDS

    most = round(LONGEST_S * SAMPLE_RATE_HZ)
    if kind in KINDS:
        distance_m = float(np.exp(random.uniform(*np.log(SHOTS_M))))
        return drawn_shot(kind, distance_m, SAMPLE_RATE_HZ, random)[:most]
    sound = SOUNDS[kind].make(LONGEST_S + 1, SAMPLE_RATE_HZ, random)
    start = int(random.integers(len(sound) - most + 1))
    return np.asarray(sound[start : start + most], np.float32)
