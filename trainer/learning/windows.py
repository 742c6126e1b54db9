"""Which windows of a rendering are learned from: those that hold what its label means.

Labels are weak: the shot is somewhere in the clip. Where the clean clip is loud in the middle of a window, the window
holds it; where it is not, the window says nothing.
"""

import numpy as np
from numpy.typing import NDArray

IMPULSIVE = frozenset({
    "gun_shot", "explosion", "dog_bark", "person_sneeze", "coughing", "door_wood_knock", "clapping", "footsteps",
    "glass_breaking", "fireworks", "mouse_click", "keyboard_typing", "can_opening", "water_drops", "hammering", "metal",
    "door_slam", "twig_snap", "woodpecker", "wood_chopping", "branch_fall", "stones", "whip", "popping", "pneumatic",
    "backfire", "clicks", "dishes", "bottles", "ball", "hoofs", "housing", "other_impulse",
})  # fmt: skip
"""Labels of sounds that are moments; others last."""
MOST = {"gun_shot": 8, "background": 12}
MOST_OF_OTHERS = 5


def chosen_for(
    label: str, peak: NDArray[np.float32], rms: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.intp]:
    """Indices of windows to learn ``label`` from, in order. ``peak`` and ``rms`` [n] are those of the clean clip (see
    ``Track``)."""
    if not len(peak) or peak.max() <= 0:
        return np.empty(0, np.intp)
    if label in IMPULSIVE:
        rows = np.flatnonzero(peak >= 0.35 * peak.max())
    elif label == "background":
        rows = np.flatnonzero(rms > 0)
    else:
        rows = np.flatnonzero(rms >= 0.1 * rms.max())
    most = MOST.get(label, MOST_OF_OTHERS)
    if len(rows) > most:
        rows = np.sort(random.choice(rows, most, replace=False))
    return rows
