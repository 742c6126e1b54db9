"""The bank of spectrograms, and mixes drawn from it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.logmel import LOG_OFFSET
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT, SPEECH
from trainer.distillation.bank import Bank, BankPlan, make_bank, open_bank
from trainer.distillation.mixes import UNCLEAR, Mixer
from trainer.synthesis.sounds import SOUNDS
from trainer.synthesis.speech import INSTALL, PROGRAM, VOICES

RATE = 16_000
PLAN = BankPlan(of_clips=2, of_shots=3, of_synthetic=1, of_synthetic_shots=1, synthetic_s=1.5, of_voices=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder, random, found = tmp_path_factory.mktemp("clips"), np.random.default_rng(1), []
    for label, seconds in ((SHOT, 2.0), (BACKGROUND, 3.0), ("dog_bark", 0.4)):
        sound = random.standard_normal(round(seconds * RATE)).astype(np.float32) * 0.01
        if label != BACKGROUND:
            sound[3000:3800] += random.standard_normal(800) * 0.4
        path = folder / f"{label}.wav"
        soundfile.write(path, sound, RATE)
        found.append(Clip(path, "own", label, label, seconds, "own", f"{label:0<64}"))
    return found


@pytest.fixture(scope="module")
def bank(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return make_bank(tmp_path_factory.mktemp("bank"), clips, PLAN, lambda done, total: None, processes=1)


def test_the_bank_holds_every_rendering_once_and_is_not_made_again(
    bank: Bank, clips: list[Clip], tmp_path: Path
) -> None:
    assert sum(one.label == SHOT and not one.synthetic for one in bank.sounds) == 3
    assert sum(one.label == "dog_bark" and not one.synthetic for one in bank.sounds) == 2
    assert [one.start for one in bank.sounds[1:]] == [one.stop for one in bank.sounds[:-1]]
    assert all(one.stop - one.start >= 96 for one in bank.sounds)
    first = make_bank(tmp_path, clips, PLAN, lambda done, total: None, processes=1)
    folder = tmp_path / f"bank-{first.digest}"
    again = make_bank(tmp_path, clips, PLAN, lambda done, total: pytest.fail("rendered again"), processes=1)
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.frames, bank.frames)
    (folder / "frames.f2").write_bytes((folder / "frames.f2").read_bytes()[:-12800])
    with pytest.raises(ValueError, match="cut short"):
        open_bank(folder)


def test_with_another_kind_of_made_sound_it_is_another_bank(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: SOUNDS[name] for name in ("drips", "twig_snap", "key_clicks")}
    digests = set()
    for kinds in (few, few, dict(list(few.items())[:2])):
        monkeypatch.setattr("trainer.synthesis.sounds.SOUNDS", kinds)
        bank = make_bank(tmp_path, clips[:1], PLAN, lambda done, total: None, processes=1)
        assert len([one for one in bank.sounds if one.synthetic and one.label != SHOT]) == len(kinds)
        digests.add(bank.digest)
    assert len(digests) == 2


def test_mixes_are_patches_like_those_of_sound_and_the_same_for_a_seed(bank: Bank) -> None:
    one, other = Mixer(bank, 5).draw(64), Mixer(bank, 5).draw(64)
    assert np.array_equal(one.patches, other.patches) and np.array_equal(one.labels, other.labels)
    assert one.patches.shape == (64, 96, 64) and one.patches.dtype == np.float32
    assert np.isfinite(one.patches).all()
    assert one.patches.min() >= np.log(LOG_OFFSET) - 1e-3 and one.patches.max() < 7


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"no {PROGRAM}: {INSTALL}")
def test_voices_made_and_recorded_are_part_of_the_bank_and_of_mixes(clips: list[Clip], tmp_path: Path) -> None:
    plan = replace(PLAN, of_voices=1, of_clips_with_voices=5)
    bank = make_bank(tmp_path, clips, plan, lambda done, total: None, 1, [one for one in clips if one.label != SHOT])
    made = [one for one in bank.sounds if one.label == SPEECH]
    assert {one.recording for one in made} == set(VOICES) and all(one.voice and one.synthetic for one in made)
    assert sum(one.voice and one.label == "dog_bark" for one in bank.sounds) == 5
    mixer = Mixer(bank, 3)
    share = float((mixer.draw(600).labels == mixer.labels.index(SPEECH)).mean())
    assert 0.05 < share < 0.2


def test_a_bank_without_the_program_for_voices_says_how_to_get_it(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OSError, match="apt-get install espeak-ng"):
        make_bank(tmp_path, clips, replace(PLAN, of_voices=1), lambda done, total: None, processes=1)


def test_shots_are_common_and_made_ones_carry_their_label_as_recorded_ones_do(bank: Bank) -> None:
    mixer = Mixer(bank, 2)
    drawn = mixer.draw(600)
    share = float((drawn.labels == mixer.labels.index(SHOT)).mean())
    assert 0.08 < share < 0.3
    assert (drawn.labels == UNCLEAR).any()
    for made in (True, False):
        some = Bank(bank.frames, tuple(s for s in bank.sounds if s.label != SHOT or s.synthetic == made), "x")
        assert 0.05 < float((Mixer(some, 2).draw(300).labels == 0).mean()) < 0.3
