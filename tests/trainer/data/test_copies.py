"""What follows from files that hold the same sound."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.clip import Clip
from trainer.data.copies import Entry, Pair, pairs_of, recordings, usable
from trainer.data.split import part_of


def entry(number: int, label: str = "rain", recording: str = "", samples: str = "") -> Entry:
    path = Path(f"{number:04}.wav")
    clip = Clip(path, "here", label, recording or f"r{number}", 1.0, "CC0", f"{number}")
    return Entry(number, clip, Path(), samples or f"s{number}", "")


def names(clips: list[Clip]) -> list[str]:
    return [clip.path.stem.lstrip("0") for clip in clips]


def test_of_exact_copies_the_first_counts() -> None:
    entries = [entry(1, samples="x"), entry(2), entry(3, samples="x"), entry(4, samples="x")]
    pairs = pairs_of(entries, [])
    assert [(pair.one.number, pair.other.number, pair.exact) for pair in pairs] == [(1, 3, True), (1, 4, True)]
    assert names(usable(entries, pairs)) == ["1", "2"]


def test_near_copies_count_both_and_are_one_recording() -> None:
    entries = [entry(n) for n in (1, 2, 3)]
    clips = usable(entries, pairs_of(entries, [(3, 1)]))
    assert names(clips) == ["1", "2", "3"]
    assert clips[0].recording == clips[2].recording in ("r1", "r3")


def test_the_same_sound_under_two_labels_is_not_used_at_all() -> None:
    entries = [entry(1, "rain", samples="x"), entry(2, "rain", samples="x"), entry(3, "wind", samples="x"), entry(4)]
    pairs = pairs_of(entries, [])
    assert {(p.one.number, p.other.number) for p in pairs if p.is_conflict} == {(1, 3), (2, 3)}
    assert names(usable(entries, pairs)) == ["4"]
    near = [entry(1, "rain"), entry(2, "wind"), entry(3)]
    assert names(usable(near, pairs_of(near, [(1, 2)]))) == ["3"]


def test_files_of_one_recording_hang_together_and_take_others_along() -> None:
    entries = [entry(1, recording="tape"), entry(2, recording="tape"), entry(3), entry(4)]
    group = recordings(entries, pairs_of(entries, [(2, 3)]))
    assert group[1] == group[2] == group[3] != group[4] == "r4"


LINKS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)).filter(lambda pair: pair[0] != pair[1]), max_size=12)


@given(first=LINKS, more=LINKS)
def test_a_recording_of_the_test_never_leaves_it_when_more_come(
    first: list[tuple[int, int]], more: list[tuple[int, int]]
) -> None:
    """Whatever the new files are copies of, and whichever old ones they bring together."""
    old, new = [entry(n) for n in range(20)], [entry(n) for n in range(20, 40)]
    bridges = [(a, b + 20) for a, b in more]
    before = recordings(old, pairs_of(old, first))
    after = recordings([*old, *new], pairs_of([*old, *new], first + bridges))
    rank = {"test": 0, "validation": 1, "train": 2}
    for number, recording in before.items():
        assert rank[part_of(after[number])] <= rank[part_of(recording)]
        touched = {old_one for old_one, _ in bridges}
        if not touched:
            assert after[number] == recording


@given(LINKS)
def test_the_order_of_things_decides_nothing(links: list[tuple[int, int]]) -> None:
    entries = [entry(n) for n in range(20)]
    pairs = pairs_of(entries, links)
    back: list[Pair] = [Pair(pair.other, pair.one, pair.exact) for pair in reversed(pairs)]
    assert recordings(entries, pairs) == recordings(entries[::-1], back)
