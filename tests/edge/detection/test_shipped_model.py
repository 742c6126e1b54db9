"""The model that ships: whole, small, and learned only from what may ship."""

import shutil

import numpy as np
import pytest

from edge.detection.audioset import SPEECH
from edge.detection.choice import default_model
from edge.detection.model import load
from edge.detection.model_file import read
from edge.detection.verify import verify
from edge.settings import PrivacySettings
from trainer.synthesis.speech import INSTALL, PROGRAM, VOICES


def test_it_passes_its_own_checks_and_its_weights_are_small() -> None:
    verify(default_model())
    found = read(default_model())
    assert len(found.graph) < 1_500_000
    assert found.manifest.alert_labels == ["gun_shot"]
    assert load(default_model(), verify=False).has_speech and found.manifest.speech_label == SPEECH


def test_it_learned_only_from_recordings_that_permit_it() -> None:
    manifest = read(default_model()).manifest
    assert manifest.training["clips_by_licence"]
    for licence in manifest.training["clips_by_licence"]:
        assert licence in {"CC0", "CC BY", "PD", "MIT", "BSD-3-Clause"}, licence
    assert "ESC-50" not in str(manifest.training.get("clips_by_source"))
    assert "not for distribution" not in manifest.licence


def test_its_card_says_how_good_it_is_and_whose_sounds_it_learned_from() -> None:
    card = read(default_model()).card
    for word in ("Shots found", "False alarms", "SESA", "Freesound"):
        assert word in card, word


def test_it_says_which_clips_its_network_has_heard() -> None:
    assert len(read(default_model()).manifest.backbone_heard) > 500


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"no {PROGRAM}: {INSTALL}")
def test_made_voices_do_not_pass_the_privacy_gate() -> None:
    from edge.audio.frontend import FrontEnd

    model = load(default_model(), verify=False)
    manifest = model.manifest
    voices = [manifest.context_labels.index(label) for label in manifest.privacy_labels]
    limit = PrivacySettings().speech_limit
    withheld = []
    for kind in ("speech", "talk", "whispering"):
        for seed in range(4):
            sound = 0.3 * VOICES[kind](5.0, 16_000, np.random.default_rng(1000 + seed)).astype(np.float32)
            scores = [model.score(window).context[voices].max() for window in FrontEnd(16_000, 0.24).push(0, sound)]
            withheld.append(max(scores) >= limit)
    assert all(withheld)


def test_silence_and_noise_are_no_shots() -> None:
    from edge.audio.frontend import FrontEnd

    model = load(default_model(), verify=False)
    random = np.random.default_rng(1)
    for sound in (np.zeros(64_000, np.float32), 0.1 * random.standard_normal(64_000).astype(np.float32)):
        scores = [model.score(window).labels[0] for window in FrontEnd(16_000, 0.24).push(0, sound)]
        assert max(scores) < 0.5
