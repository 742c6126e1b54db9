"""Retained topics are said again after each reconnection, and taken back once no setting wants them."""

from pathlib import Path

import pytest

from edge.delivery.retained import Retained


def test_what_was_put_waits_until_it_is_taken_and_again_after_a_reconnection(tmp_path: Path) -> None:
    retained = Retained(tmp_path / "retained.json")
    retained.put("model", b"1")
    retained.put("location", b"here")
    assert retained.take() == [("location", b"here"), ("model", b"1")]
    retained.put("model", b"1")
    assert retained.take() == []
    retained.put("model", b"2")
    assert retained.take() == [("model", b"2")]
    retained.again()
    assert retained.take() == [("location", b"here"), ("model", b"2")]


def test_a_topic_that_is_not_wanted_any_more_is_emptied_once(tmp_path: Path) -> None:
    note = tmp_path / "retained.json"
    before = Retained(note)
    for topic in ("model", "location", "homeassistant"):
        before.put(topic, b"filled")
    before.take()
    after = Retained(note)
    after.keep_only(["model", "homeassistant"])
    after.again()  # a connection that came to nothing before it was taken
    assert after.take() == [("location", b"")]
    after.arrived()
    after.again()
    assert after.take() == []
    later = Retained(note)
    later.keep_only(["model"])
    assert later.take() == [("homeassistant", b"")]


def test_what_was_emptied_on_a_link_that_broke_is_emptied_again(tmp_path: Path) -> None:
    note = tmp_path / "retained.json"
    before = Retained(note)
    for topic in ("a", "b", "c"):
        before.put(topic, b"filled")
    before.take()
    after = Retained(note)
    after.put("a", b"1")
    after.keep_only(["a"])
    assert after.take() == [("b", b""), ("c", b""), ("a", b"1")]  # who hears of the last has heard of all
    after.again()
    after.put("b", b"wanted again")
    assert after.take() == [("c", b""), ("a", b"1"), ("b", b"wanted again")]
    after.again()
    assert after.take() == [("c", b""), ("a", b"1"), ("b", b"wanted again")]
    again = Retained(note)  # the device was restarted before an answer came
    again.keep_only(["a", "b"])
    assert again.take() == [("c", b"")]
    again.arrived()
    last = Retained(note)
    last.keep_only(["a", "b"])
    assert last.take() == []


def test_what_never_left_needs_no_taking_back(tmp_path: Path) -> None:
    Retained(tmp_path / "retained.json").put("location", b"here")
    after = Retained(tmp_path / "retained.json")
    after.keep_only([])
    assert after.take() == []


@pytest.mark.parametrize("content", [b"", b"7", b"\xff", b"{", b"null"])
def test_a_damaged_note_and_a_folder_that_is_gone_stop_nothing(tmp_path: Path, content: bytes) -> None:
    note = tmp_path / "retained.json"
    note.write_bytes(content)
    for path in (note, tmp_path / "gone" / "retained.json"):
        retained = Retained(path)
        retained.keep_only([])
        retained.put("model", b"1")
        assert retained.take() == [("model", b"1")]
