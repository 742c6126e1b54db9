"""The synthetic shots and the scene: deterministic, annotated, physical, and heard by the model."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from edge.detection.model import load
from edge.replay import replay
from edge.settings import DetectionSettings
from trainer.synthesis.ballistics import crack_lead_s, n_wave
from trainer.synthesis.scene import ambience, demo_scene, write_scene
from trainer.synthesis.shot import Gun, Place, air, diffuse_tail, friedlander, gunshot

RATE = 48_000


def test_a_seed_makes_the_same_scene_and_another_seed_another() -> None:
    samples, rate, annotations = demo_scene(1)
    again, _, same = demo_scene(1)
    other, _, _ = demo_scene(2)
    assert rate == RATE
    assert samples.dtype == np.float32
    assert len(samples) == 40 * RATE
    assert np.abs(samples).max() <= 1
    assert np.array_equal(samples, again)
    assert annotations == same
    assert not np.array_equal(samples, other)


def test_the_scene_holds_single_shots_a_burst_and_things_that_are_no_shots() -> None:
    _, _, annotations = demo_scene(1)
    assert [len(one.onsets_s) for one in annotations if one.shot] == [1, 3, 1]
    assert {one.label for one in annotations if not one.shot} == {"wood_knock", "thunder", "bird_call"}
    assert [one.onset_s for one in annotations] == sorted(one.onset_s for one in annotations)
    assert all(a.end_s < b.onset_s for a, b in itertools.pairwise(annotations))


def test_a_written_scene_carries_its_annotations(tmp_path: Path) -> None:
    annotations = write_scene(tmp_path / "scene.flac", seed=3)
    document = json.loads((tmp_path / "scene.json").read_text())
    assert document["seed"] == 3
    assert [event["onsets_s"] for event in document["events"]] == [one.onsets_s for one in annotations]


@pytest.mark.data
def test_the_model_finds_every_shot_of_the_committed_scene_and_nothing_else(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "scene.flac"
    shots = [one for one in write_scene(path) if one.shot]
    heard = list(replay(path, load(model, verify=False), DetectionSettings()))
    assert len(heard) == len(shots)
    for event, shot in zip(heard, shots, strict=True):
        assert abs(event["onset_s"] - shot.onset_s) < 0.005
        assert event["shots"] == len(shot.onsets_s)


def test_the_friedlander_wave_jumps_falls_through_zero_at_its_positive_phase_and_dies_away() -> None:
    wave = friedlander(0.001, 1.0, RATE)
    assert wave[0] == 1
    assert wave[round(0.001 * RATE)] == pytest.approx(0, abs=1e-9)
    assert wave.min() == pytest.approx(-np.exp(-2), abs=0.01)
    assert abs(wave[-1]) < 1e-3


def test_the_n_wave_falls_in_a_straight_line_from_jump_to_jump() -> None:
    wave = n_wave(0.0002, RATE)
    assert wave[0] == 1
    assert wave[-1] == -1
    assert np.allclose(np.diff(wave, 2), 0)


def test_the_crack_of_a_fast_bullet_leads_the_blast_by_the_geometry_of_its_cone() -> None:
    # Straight at the microphone: the bullet's own flight against the sound's.
    assert crack_lead_s(686.0, 100.0, 1e-6) == pytest.approx(100 / 343 - 100 / 686, rel=1e-3)
    assert crack_lead_s(800.0, 200.0, 20.0) > crack_lead_s(800.0, 100.0, 20.0)
    random = np.random.default_rng(0)
    with_crack = gunshot(Gun(bullet_mps=800), Place(distance_m=100), RATE, random)
    assert np.abs(with_crack[: round(0.001 * RATE)]).max() > 0.05


def test_air_takes_the_treble_of_a_far_shot() -> None:
    impulse = np.zeros(4096)
    impulse[2048] = 1.0
    spectrum = np.abs(np.fft.rfft(air(impulse, 1000.0, RATE)))
    frequency = np.fft.rfftfreq(4096, 1 / RATE)
    for hz, db in ((1000, 5.0), (4000, 22.9)):
        lost = -20 * np.log10(spectrum[np.argmin(np.abs(frequency - hz))])
        assert lost == pytest.approx(db, abs=0.5)


def test_the_tail_decays_by_sixty_db_in_its_reverberation_time() -> None:
    tail = diffuse_tail(2 * RATE, 1.5, RATE, np.random.default_rng(0))
    early, late = (float(np.mean(np.square(tail[round(s * RATE) : round((s + 0.2) * RATE)]))) for s in (0.1, 0.9))
    # Low octaves decay nearly as named, high ones faster: at least 60 * 0.8 / 1.5 = 32 dB in 0.8 s.
    assert 30 < 10 * np.log10(early / late) < 60


def test_a_shot_begins_at_its_first_sample_and_peaks_at_one() -> None:
    shot = gunshot(Gun(), Place(), RATE, np.random.default_rng(0))
    assert np.abs(shot).max() == pytest.approx(1, abs=1e-6)
    assert np.abs(shot[: round(0.002 * RATE)]).max() > 0.5


def test_the_forest_is_as_loud_as_asked() -> None:
    sound = ambience(5, RATE, np.random.default_rng(0), level=0.01)
    assert 0.005 < float(np.sqrt(np.mean(np.square(sound)))) < 0.02
