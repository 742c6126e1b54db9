"""What a model says of the licences of what it learned from."""

from pathlib import Path

from trainer.data.clip import Clip
from trainer.retraining.snapshot import attributions, licence_in_words, licence_of_model


def clips(*licences: str, source: str = "mine") -> tuple[Clip, ...]:
    return tuple(Clip(Path("a.wav"), source, "rain", "r", 1.0, licence, "0" * 64) for licence in licences)


def test_a_model_from_free_recordings_may_be_passed_on() -> None:
    assert licence_of_model(clips("CC0", "own", "CC BY 4.0 (as quoted)", "MIT (package)")) == "Apache-2.0"


def test_one_clip_that_forbids_it_is_enough_and_is_named() -> None:
    told = licence_of_model(clips("CC0", "CC BY-NC 3.0 (the set): research only", "CC BY-NC 3.0", "", "CC BY-SA 4.0"))
    assert told == (
        "not for distribution: learned from 2 clips under CC BY-NC 3.0, 1 clip whose licence is not stated, "
        "1 clip under CC BY-SA 4.0"
    )


def test_a_list_that_does_not_name_the_clip_states_nothing() -> None:
    (one,) = clips("CC0 or CC BY, per clip: esc10/ATTRIBUTION.md")
    assert licence_in_words(one) == "not stated"


def test_sources_are_named_but_not_those_that_the_card_knows_and_ones_own() -> None:
    some = (
        clips("CC BY 4.0", "CC0", "CC0", source="Forest set") + clips("own") + clips("CC BY 4.0", source="SESA/train")
    )
    assert attributions(some) == ["Forest set: 2 clips (CC0), 1 clip (CC BY)."]
