"""What stands against learning from a catalogue, and what a maintainer should know of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.catalogue import Catalogue
from trainer.data.copies import Pair, recordings, usable
from trainer.data.decoding import one_line
from trainer.data.licences import split_by_licence
from trainer.data.split import part_of

FEWEST_RECORDINGS = 2
"""Of a class: one recording stands on one side of the split, and the other side knows nothing of it."""


@dataclass(frozen=True)
class Checked:
    """What was found. Lines are for people and name files."""

    counts: dict[str, int]
    errors: dict[str, list[str]]
    """To be corrected; what they name is not learned from."""
    remarks: dict[str, list[str]]
    """Good to know."""


def check(catalogue: Catalogue) -> Checked:
    """Look through the whole catalogue. Raises CatalogueError."""
    entries = catalogue.entries()
    pairs = catalogue.pairs(entries)
    waiting = catalogue.waiting()
    clips = usable(entries, pairs)
    group = recordings(entries, pairs)
    allowed, refused = split_by_licence(clips)
    counts = {
        "files": len(entries),
        "usable": len(clips),
        "recordings": len(set(group.values())),
        "may be in a model that ships": sum(map(len, allowed.values())),
    }
    labels = Counter(label for label, _ in {(clip.label, clip.recording) for clip in clips})
    errors = {
        "the same sound under two labels; move one of the two away, then add again": [
            f"{one_line(pair.one.clip.path)} ({pair.one.clip.label}) and {one_line(pair.other.clip.path)} "
            f"({pair.other.clip.label})"
            for pair in pairs
            if pair.is_conflict
        ],
        "cannot be learned from": [f"{path}: {reason}" for path, reason in catalogue.refused()],
        "changed or gone since it was added; add its folder again": [
            one_line(entry.clip.path) for entry in entries if entry.is_stale
        ],
        "not yet looked through for copies; add again": [f"{waiting} files"] if waiting else [],
        "nothing to learn from": [] if clips else ["no usable recording"],
    }
    remarks = {
        "classes with one recording, which cannot be learned and judged": [
            label for label, count in sorted(labels.items()) if count < FEWEST_RECORDINGS
        ],
        "classes without a recording in a part": [
            f"{label}: none in {part}"
            for label in sorted(labels)
            if labels[label] >= FEWEST_RECORDINGS
            for part in ("train", "validation", "test")
            if not any(clip.label == label and part_of(clip.recording) == part for clip in clips)
        ],
        "licences that keep a clip out of a model that ships": [
            f"{count} x {why}" for why, count in Counter(text.partition(": ")[2] for text in refused).most_common()
        ],
        "copies, used once": _pairs(pairs, exact=True),
        "the same sound in other words, kept in one recording": _pairs(pairs, exact=False),
        "unusual": [f"{one_line(entry.clip.path)}: {entry.notes}" for entry in entries if entry.notes],
    }
    return Checked(counts, _told(errors), _told(remarks))


def _told(kinds: dict[str, list[str]]) -> dict[str, list[str]]:
    return {what: lines for what, lines in kinds.items() if lines}


def _pairs(pairs: Sequence[Pair], exact: bool) -> list[str]:
    return [
        f"{one_line(pair.one.clip.path)} and {one_line(pair.other.clip.path)}"
        for pair in pairs
        if pair.exact == exact and not pair.is_conflict
    ]
