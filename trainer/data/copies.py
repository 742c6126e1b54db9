"""What follows from files that hold the same sound.

- They are one recording, so that they never stand on both sides of a split. The group goes by the name that puts it
  furthest from training (test before validation before train), whatever came first: a recording of the test never
  moves into training when more are added.
- Of exact copies under one label only the first counts.
- The same sound under different labels is a conflict. None of those files is used until it is resolved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from trainer.data.clip import Clip
from trainer.data.duplicates import groups
from trainer.data.split import part_of

FURTHEST = {"test": 0, "validation": 1, "train": 2}


@dataclass(frozen=True)
class Entry:
    """A file of the catalogue."""

    number: int
    clip: Clip
    """``recording`` as its source says, or of its own."""
    root: Path
    """The folder that it was added with."""
    samples_sha256: str
    notes: str
    """What is unusual about it."""
    stamp: tuple[int, int] = (0, 0)
    """Size in bytes and time of the last change in ns, when it was read."""

    @property
    def is_stale(self) -> bool:
        """Whether the file has changed or gone since."""
        try:
            status = self.clip.path.stat()
        except OSError:
            return True
        return (status.st_size, status.st_mtime_ns) != self.stamp


@dataclass(frozen=True)
class Pair:
    """Two files with the same sound; the path of ``one`` comes first."""

    one: Entry
    other: Entry
    exact: bool
    """Sample by sample; else a version that was resampled, re-encoded, made louder or cut."""

    @property
    def is_conflict(self) -> bool:
        return self.one.clip.label != self.other.clip.label


def pairs_of(entries: Sequence[Entry], near: Iterable[tuple[int, int]]) -> list[Pair]:
    """All pairs that matter among ``entries``, which are in the order of paths; ``near`` are numbers of near copies."""
    order = {entry.number: position for position, entry in enumerate(entries)}
    found = {}
    for one, other in near:
        if one in order and other in order:
            found[min(order[one], order[other]), max(order[one], order[other])] = False
    same_samples: dict[str, list[int]] = {}
    for position, entry in enumerate(entries):
        same_samples.setdefault(entry.samples_sha256, []).append(position)
    for same in same_samples.values():
        for one, other in combinations(same, 2):
            if one == same[0] or entries[one].clip.label != entries[other].clip.label:
                found[one, other] = True
    return [Pair(entries[one], entries[other], exact) for (one, other), exact in sorted(found.items())]


def usable(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[Clip]:
    """What may be learned from, with the group as ``recording``."""
    left_out = {entry.number for pair in pairs if pair.is_conflict for entry in (pair.one, pair.other)}
    left_out |= {pair.other.number for pair in pairs if pair.exact}
    recording = recordings(entries, pairs)
    kept = [entry for entry in entries if entry.number not in left_out]
    return [replace(entry.clip, recording=recording[entry.number]) for entry in kept]


def recordings(entries: Sequence[Entry], pairs: Sequence[Pair]) -> dict[int, str]:
    """The group of every file, by its number."""
    position = {entry.number: i for i, entry in enumerate(entries)}
    first: dict[str, int] = {}
    links = [(first.setdefault(entry.clip.recording, i), i) for i, entry in enumerate(entries)]
    links += [(position[pair.one.number], position[pair.other.number]) for pair in pairs]
    root = groups(len(entries), links)
    names: dict[int, set[str]] = {}
    for i, entry in enumerate(entries):
        names.setdefault(root[i], set()).add(entry.clip.recording)
    name = {r: min(some, key=lambda text: (FURTHEST[part_of(text)], text)) for r, some in names.items()}
    return {entry.number: name[root[i]] for i, entry in enumerate(entries)}
