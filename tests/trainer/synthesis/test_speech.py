"""Made voices: as long as asked for, another for another draw, and a clear word where the program is missing."""

import shutil

import numpy as np
import pytest

from trainer.synthesis.speech import INSTALL, PROGRAM, VOICES, SpeechError, spoken

RATE = 16_000
needs_program = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"no {PROGRAM}: {INSTALL}")


@needs_program
@pytest.mark.parametrize("kind", VOICES)
def test_voices_last_as_long_as_asked_and_are_others_for_other_draws(kind: str) -> None:
    one, other = (VOICES[kind](2.0, RATE, np.random.default_rng(seed)) for seed in (1, 2))
    assert one.shape == other.shape == (2 * RATE,)
    assert np.abs(one).max() == pytest.approx(1) and np.isfinite(one).all()
    assert not np.allclose(one, other)
    # Speech comes in syllables: loud and quiet tenths of a second follow each other.
    levels_db = 10 * np.log10(np.square(one).reshape(20, -1).mean(axis=1) + 1e-9)
    assert np.ptp(levels_db) > 6


@needs_program
def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(SpeechError, match="does not speak as xx"):
        spoken("ma.", "xx+nobody", 50, 150, RATE)


def test_a_missing_program_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpeechError, match="sudo apt-get install espeak-ng"):
        VOICES["talk"](1.0, RATE, np.random.default_rng(1))
