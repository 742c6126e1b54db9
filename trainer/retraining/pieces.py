"""Long recordings in pieces: nobody mixes three hours, and most of them say nothing about their label.

Of ambience, pieces all along it are taken. Of anything else those that are loud: a label means what stands out, and
where it does not, the sound says something else. The pieces lie in the cache and are one recording, as before.
"""

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.durable import commit_bytes, make_folder
from trainer.data.clip import Clip
from trainer.data.decoding import blocks
from trainer.data.labels import BACKGROUND
from trainer.progress import Progress, silent

LONGEST_S = 60.0
"""What is no longer stays as it is."""
PIECE_S = 20.0
MOST_OF_AMBIENCE = 30
MOST_OF_OTHERS = 6
LOUD = 0.35
"""Of the highest peak: a piece that reaches it holds what the label means."""
LISTED = "pieces.json"


@dataclass(frozen=True)
class Cut:
    """Clips of which none is long."""

    clips: list[Clip]
    long: int
    """How many were."""
    pieces: int


def in_pieces(clips: Sequence[Clip], folder: Path, progress: Progress = silent) -> Cut:
    """``clips`` with pieces, kept in ``folder``, in the place of long ones.

    Raises:
        DecodingError: one cannot be read.
        OSError: no space.
    """
    long = [clip for clip in clips if clip.seconds > LONGEST_S]
    cut: dict[Path, list[Clip]] = {}
    for number, clip in enumerate(long):
        progress("cutting long recordings", number, len(long))
        cut[clip.path] = _pieces(clip, folder)
        progress("cutting long recordings", number + 1, len(long))
    found = [one for clip in clips for one in cut.get(clip.path, [clip])]
    return Cut(found, len(long), sum(map(len, cut.values())))


def _pieces(clip: Clip, root: Path) -> list[Clip]:
    folder = root / f"{clip.sha256[:24]}-{'ambience' if clip.label == BACKGROUND else 'loud'}"
    try:
        listed = json.loads((folder / LISTED).read_bytes())
        if all((folder / one["name"]).is_file() for one in listed):
            return [_piece(clip, folder, **one) for one in listed]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    make_folder(folder)
    peaks = [_peak(sound) for sound in _cut(clip.path)]
    chosen = _spread(peaks) if clip.label == BACKGROUND else _loud(peaks)
    listed = []
    for number, sound in enumerate(_cut(clip.path)):
        if number in chosen:
            content = _flac(sound)
            commit_bytes(folder / f"{number}.flac", content)
            listed.append(
                {
                    "name": f"{number}.flac",
                    "seconds": len(sound) / SAMPLE_RATE_HZ,
                    "sha256": sha256(content).hexdigest(),
                }
            )
    commit_bytes(folder / LISTED, json.dumps(listed, indent=1).encode())
    return [_piece(clip, folder, **one) for one in listed]


def _piece(clip: Clip, folder: Path, name: str, seconds: float, sha256: str) -> Clip:
    return replace(clip, path=folder / name, seconds=seconds, sha256=sha256, sample_rate_hz=SAMPLE_RATE_HZ)


def _spread(peaks: Sequence[float]) -> set[int]:
    """So many at most, evenly, of those that are not silent."""
    heard = [number for number, peak in enumerate(peaks) if peak > 0]
    step = max(1.0, len(heard) / MOST_OF_AMBIENCE)
    return {heard[int(at * step)] for at in range(min(len(heard), MOST_OF_AMBIENCE))}


def _loud(peaks: Sequence[float]) -> set[int]:
    loud = [number for number, peak in enumerate(peaks) if peak > 0 and peak >= LOUD * max(peaks)]
    return set(sorted(loud, key=lambda number: -peaks[number])[:MOST_OF_OTHERS])


def _peak(sound: NDArray[np.float32]) -> float:
    # A difference is enough of a high-pass to look past rumble.
    return float(np.abs(np.diff(sound)).max(initial=0.0))


def _cut(path: Path) -> Iterator[NDArray[np.float32]]:
    """Pieces of `PIECE_S`; the last holds what is left over, too."""
    length = round(PIECE_S * SAMPLE_RATE_HZ)
    held = np.empty(0, np.float32)
    for block in blocks(path):
        held = np.concatenate([held, block])
        # One more is held back, so that no crumb is left for the last.
        for _ in range(math.floor(len(held) / length) - 1):
            yield held[:length]
            held = held[length:]
    if len(held):
        yield held


def _flac(sound: NDArray[np.float32]) -> bytes:
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(sound, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    return encoded.getvalue()
