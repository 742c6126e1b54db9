"""Which events tell of which shots: one to one, the closest first; what is left over is a false alarm.

Shots that follow each other within ``merge_s`` are one burst, as on the device: it is found when an event matches
any of its shots. An event is known by its onset alone. One that began long before a shot and merely goes on does
not match it, or whatever is always on would find everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

TOLERANCE_S = 0.75
"""An event matches a shot whose onset is this close. Without a search for the onset, an event's first hit is a window
in which the shot may lie anywhere: 0.735 s either way at the worst."""


@dataclass(frozen=True)
class Matched:
    """The outcome in one sound."""

    bursts: tuple[tuple[float, ...], ...]
    """Onsets in seconds."""
    first: tuple[int, ...]
    """Of each burst, the number of its first shot."""
    found: tuple[bool, ...]
    """Of each burst."""
    false_alarms: tuple[int, ...]
    """Indices of the events that match no shot."""


def bursts_of(shots: Sequence[float], merge_s: float) -> tuple[tuple[float, ...], ...]:
    """Ascending onsets, cut where more than ``merge_s`` lies between two."""
    groups: list[list[float]] = []
    for onset in shots:
        if groups and onset - groups[-1][-1] <= merge_s:
            groups[-1].append(onset)
        else:
            groups.append([onset])
    return tuple(tuple(group) for group in groups)


def match(
    onsets: Sequence[float], shots: Sequence[float], merge_s: float, tolerance_s: float, somewhere_s: float = 0.0
) -> Matched:
    """Events with these ``onsets`` against ``shots``, all in seconds, both ascending.

    With ``somewhere_s`` each shot falls anywhere within so many seconds after its onset, perhaps with others: more
    events in there are no false alarms.
    """

    def apart(event: int, shot: int) -> float:
        late = onsets[event] - shots[shot]
        return max(0.0, -late, late - somewhere_s)

    near = sorted(
        (apart(event, shot), shot, event)
        for event in range(len(onsets))
        for shot in range(len(shots))
        if apart(event, shot) <= tolerance_s
    )
    events: set[int] = set()
    taken: set[int] = set()
    for _, shot, event in near:
        if event not in events and shot not in taken:
            events.add(event)
            taken.add(shot)
    if somewhere_s:
        events |= {event for _, _, event in near}
    groups = bursts_of(shots, merge_s)
    first = tuple(accumulate((len(group) for group in groups[:-1]), initial=0)) if groups else ()
    found = tuple(
        any(shot in taken for shot in range(at, at + len(group))) for at, group in zip(first, groups, strict=True)
    )
    return Matched(groups, first, found, tuple(event for event in range(len(onsets)) if event not in events))
