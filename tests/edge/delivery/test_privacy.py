"""The privacy gate: what must not leave does not, whatever goes wrong."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.delivery.privacy import ACCEPTED, WINDOW_S, highest_speech, judge, may_leave
from edge.settings import PrivacySettings
from tests.edge.delivery.clip_parts import RATE_HZ, VOICE, Ears, noise

SETTINGS = PrivacySettings()


@budget(max_examples=40, deadline=None)
@given(
    rate_hz=st.sampled_from([8_000, 16_000, 44_100, 48_000, 96_000]),
    seconds=st.floats(0.02, 4.0),
    at=st.floats(0.0, 1.0),
)
def test_a_short_voice_anywhere_in_a_clip_of_any_length_is_found(rate_hz: int, seconds: float, at: float) -> None:
    frames = np.zeros(max(64, int(seconds * rate_hz)), np.float32)
    start = int(at * (len(frames) - 32))
    # Thirty-two samples of one sign: low enough in frequency to survive the resampler at every rate.
    frames[start : start + 32] = VOICE
    speech = highest_speech(frames, rate_hz, Ears())
    assert speech == 0.9
    assert not may_leave(speech, SETTINGS).allowed


@budget(max_examples=30, deadline=None)
@given(rate_hz=st.sampled_from([16_000, 44_100, 48_000, 192_000]), seconds=st.floats(0.001, 6.0))
def test_every_sample_lies_in_a_window(rate_hz: int, seconds: float) -> None:
    ears = Ears()
    frames = noise(max(1, int(seconds * rate_hz)))
    highest_speech(frames, rate_hz, ears)
    window = int(WINDOW_S * rate_hz)
    assert ears.heard[0] == 0
    assert all(b - a < window for a, b in itertools.pairwise(ears.heard))
    assert ears.heard[-1] + window >= len(frames)


def test_a_clip_without_voices_may_leave() -> None:
    verdict = judge(noise(RATE_HZ * 3), RATE_HZ, Ears(), SETTINGS)
    assert verdict.allowed and verdict.reason == "" and verdict.speech_score == 0.05


@pytest.mark.parametrize(("score", "allowed"), [(0.0, True), (0.299, True), (0.3, False), (0.31, False), (1.0, False)])
def test_only_a_score_under_the_limit_passes(score: float, allowed: bool) -> None:
    assert may_leave(score, PrivacySettings(speech_limit=0.3)).allowed is allowed


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_withholds(score: float) -> None:
    assert not may_leave(score, SETTINGS).allowed


@pytest.mark.parametrize("bad_window", [0, 3, -1])
@pytest.mark.parametrize("value", [math.nan, "raise"])
def test_one_bad_window_withholds_the_whole_clip(bad_window: int, value: float | str) -> None:
    frames = noise(RATE_HZ * 3)
    counting = Ears()
    highest_speech(frames, RATE_HZ, counting)
    bad_start = counting.heard[bad_window]

    def answer(window: object) -> float:
        if window.start != bad_start:  # type: ignore[attr-defined]
            return 0.01
        if isinstance(value, str):
            raise RuntimeError("the interpreter failed")
        return value

    assert not judge(frames, RATE_HZ, Ears(answer=answer), SETTINGS).allowed


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros(0, np.float32),
        np.zeros((100, 2), np.float32),
        np.full(RATE_HZ, np.nan, np.float32),
        np.full(RATE_HZ, np.inf, np.float32),
    ],
    ids=["empty", "stereo", "nan", "inf"],
)
def test_sound_that_cannot_be_judged_is_withheld(frames: np.ndarray) -> None:
    verdict = judge(frames, RATE_HZ, Ears(), SETTINGS)
    assert not verdict.allowed and verdict.reason.startswith("error: ValueError")


def test_a_model_that_cannot_hear_speech_lets_nothing_pass_unless_told_so_in_so_many_words() -> None:
    deaf, frames = Ears(has_speech=False), noise(RATE_HZ)
    assert judge(frames, RATE_HZ, deaf, SETTINGS).reason.startswith("no_speech_score")
    assert judge(frames, RATE_HZ, deaf, PrivacySettings(without_speech_score=ACCEPTED)).allowed
    with pytest.raises(ValidationError):
        PrivacySettings(without_speech_score="yes")


def test_a_model_that_says_it_hears_speech_and_then_does_not_withholds() -> None:
    class Absent(Ears):
        def speech(self, scores: float) -> float | None:
            return None

    assert not judge(noise(RATE_HZ), RATE_HZ, Absent(), SETTINGS).allowed


@pytest.mark.data
def test_real_talk_at_either_end_of_a_quiet_clip_is_withheld_and_real_shots_are_not(data: Path, yamnet: Path) -> None:
    from edge.detection.model import load

    model = load(yamnet, verify=False)

    def clips(label: str, count: int) -> list[np.ndarray]:
        found = sorted((data / "audio" / "sesa").rglob(f"{label}_*.flac"))[:count]
        assert len(found) == count
        return [soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0] for path in found]

    shots = [judge(frames, RATE_HZ, model, SETTINGS) for frames in clips("gunshot", 30)]
    assert [verdict.reason for verdict in shots] == [""] * 30
    # SESA's "casual" are street and room sounds; some hold people talking.
    casual = [(judge(frames, RATE_HZ, model, SETTINGS), frames) for frames in clips("casual", 60)]
    talking = [(verdict, frames) for verdict, frames in casual if not verdict.allowed]
    assert len(talking) >= 3
    assert all(verdict.reason.startswith("speech: ") for verdict, _ in talking)
    _, talk = max(talking, key=lambda pair: pair[0].speech_score or 0)
    quiet = noise(5 * RATE_HZ) * np.float32(0.01)
    assert judge(quiet, RATE_HZ, model, SETTINGS).allowed
    for clip in (np.concatenate([talk, quiet]), np.concatenate([quiet, talk])):
        assert not judge(clip, RATE_HZ, model, SETTINGS).allowed
