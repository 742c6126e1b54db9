"""What a step made, found again by what it was made from."""

from pathlib import Path

import numpy as np
import pytest

from trainer.retraining import kept as module
from trainer.retraining.kept import NEWEST, Arrays, Kept, digest_of


class Counted:
    """Makes something, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def arrays(self) -> Arrays:
        self.times += 1
        return {"a": np.arange(5), "label": np.array(["x", "yz"])}

    def text(self) -> str:
        self.times += 1
        return "ü\nlines\n"


def test_a_result_is_made_once_for_a_key(tmp_path: Path) -> None:
    counted = Counted()
    for _ in range(2):
        found = Kept(tmp_path).arrays("fitted", "key", counted.arrays)
        assert found["a"].tolist() == [0, 1, 2, 3, 4]
        assert found["label"].tolist() == ["x", "yz"]
        assert Kept(tmp_path).text("metrics", "key", counted.text) == "ü\nlines\n"
    assert counted.times == 2
    Kept(tmp_path).arrays("fitted", "another key", counted.arrays)
    assert counted.times == 3


@pytest.mark.parametrize("damage", [b"", b"PK", b"0" * 300])
def test_a_damaged_one_is_made_again(tmp_path: Path, damage: bytes) -> None:
    counted, kept = Counted(), Kept(tmp_path)
    kept.arrays("fitted", "key", counted.arrays)
    kept.text("metrics", "key", counted.text)
    for path in tmp_path.iterdir():
        path.write_bytes(damage or path.read_bytes()[:-5])
    kept.arrays("fitted", "key", counted.arrays)
    assert kept.text("metrics", "key", counted.text) == "ü\nlines\n"
    assert counted.times == 4


def test_another_program_makes_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    Kept(tmp_path).text("metrics", "key", counted.text)
    monkeypatch.setattr(module, "program", lambda: "a later version")
    Kept(tmp_path).text("metrics", "key", counted.text)
    assert counted.times == 2


def test_only_the_newest_stay(tmp_path: Path) -> None:
    counted, kept = Counted(), Kept(tmp_path)
    for number in range(NEWEST + 5):
        kept.text("metrics", f"key {number}", counted.text)
    assert len(list(tmp_path.iterdir())) == NEWEST


def test_lines_are_told_apart(tmp_path: Path) -> None:
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])
    assert digest_of([]) != digest_of([""])
