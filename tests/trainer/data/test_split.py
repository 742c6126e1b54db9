"""Who learns, who tunes, who judges."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.split import fold_of, part_of

IDS = [f"file-{number:016x}" for number in range(20_000)]


@given(st.lists(st.text(), min_size=1, unique=True), st.lists(st.text(), unique=True))
def test_more_recordings_never_move_an_old_one(old: list[str], new: list[str]) -> None:
    before = {one: (part_of(one), fold_of(one, 5)) for one in old}
    after = {one: (part_of(one), fold_of(one, 5)) for one in [*new, *old]}
    assert before.items() <= after.items()


def test_the_part_of_a_recording_is_the_same_in_every_release() -> None:
    assert [part_of(one) for one in ("a", "b", "sesa-test-casual_000", "")] == ["validation", "train", "test", "test"]
    assert [fold_of(one, 5) for one in ("a", "b", "sesa-test-casual_000", "")] == [3, 2, 3, 4]


def test_the_shares_are_70_15_15() -> None:
    count = Counter(part_of(one) for one in IDS)
    assert [round(count[part] / len(IDS), 2) for part in ("train", "validation", "test")] == [0.7, 0.15, 0.15]


def test_folds_are_even_within_each_part() -> None:
    count = Counter((part_of(one), fold_of(one, 5)) for one in IDS)
    for part in ("train", "validation", "test"):
        some = [count[(part, fold)] for fold in range(5)]
        assert max(some) < 1.15 * min(some)


def test_one_fold_is_none() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        fold_of("a", 1)
