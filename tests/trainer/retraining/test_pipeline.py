"""A run from end to end."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.detection import model_file
from edge.detection.model import load
from edge.detection.site_rules import VetoRule
from edge.replay import replay_files
from edge.settings import DetectionSettings
from tests.trainer.retraining.conftest import Home
from tests.trainer.retraining.making import COUNTS, RATE, made, named, pack, request, run
from trainer.data.catalogue import Catalogue
from trainer.data.split import part_of
from trainer.judging.evaluate import PROMISED
from trainer.judging.gate import Limits
from trainer.learning.learner import LearningError
from trainer.models.choice import metrics_of
from trainer.models.log import read
from trainer.models.store import Store
from trainer.retraining.pipeline import retrain
from trainer.retraining.telling import Telling


def test_a_run_packages_logs_and_puts_to_use_what_it_learned(finished: Home) -> None:
    outcome, store = finished.outcome, Store(finished.models)
    assert outcome.status == "in use", finished.telling.notes
    assert store.current() == outcome.version
    assert store.damage(outcome.version) == []
    there = {path.name for path in store.folder("current").iterdir()}
    assert there >= {
        "model.tflite", "class_names.json", "model_metadata.json", "performance_metrics.json", "training_history.json",
        "report.html", "MODEL_CARD.md", "recordings.json",
    }  # fmt: skip
    assert [(entry.action, entry.reason) for entry in read(finished.models)] == [("retrained", ""), ("promoted", "")]
    entry = read(finished.models)[0]
    assert entry.who == "tester"
    assert entry.details["recordings"] == sum(map(sum, COUNTS.values()))
    assert entry.details["judged_on"] == "test part"


def test_the_model_says_what_it_learned_from_and_what_it_promises(finished: Home) -> None:
    manifest = model_file.read(finished.models / "current" / "model.tflite").manifest
    assert manifest.labels == ["gun_shot", "background", "chainsaw", "other_impulse", "rain"]
    assert manifest.metrics[PROMISED] == 3.0
    training = manifest.training
    learned = sum(count for count, _ in COUNTS.values())
    assert training["recordings"] == learned
    assert training["clips_by_source"] == {"made": learned}
    assert training["clips_by_licence"] == {"CC0": learned}
    assert training["attributions"] == [f"made: {learned} clips (CC0)."]
    assert training["refused_by_licence"] == 0
    assert training["made_shots"] > 0 and training["made_others"] > training["made_shots"]
    assert (training["seed"], training["variants"]) == (1, 1)
    assert training["recordings_by_label"]["gun_shot"] == COUNTS["gun_shot"][0]
    assert manifest.licence == "Apache-2.0"


def test_the_history_holds_every_fold_and_the_threshold(finished: Home) -> None:
    history = json.loads((finished.models / "current" / "training_history.json").read_text())
    folds = [step for step in history if step["step"] == "fold"]
    assert [step["fold"] for step in folds] == [0, 1, 2, 3]
    assert sum(step["recordings_held_out"] for step in folds) == sum(count for count, _ in COUNTS.values())
    assert [step["step"] for step in history] == ["windows", *["fold"] * 4, "threshold", "sites", "seconds"]
    sites = history[-2]
    assert sites["sites"] > 0 and any("follows the site's background" in note for note in finished.telling.notes)


def test_the_gate_says_what_int8_costs_the_head_and_how_long_a_window_takes(finished: Home) -> None:
    metrics = finished.outcome.metrics
    assert metrics is not None and metrics.gate is not None
    rows = {rule.name: rule for rule in metrics.gate.rules}
    assert rows["recall lost from float to int8"].measured is not None
    assert rows["time per window, ratio"].measured is not None and metrics.speed is not None
    assert "no model before it" in rows["time per window, ratio"].note


def test_a_rule_for_vetoes_is_written_where_it_is_asked_for(home: Home) -> None:
    outcome, _ = run(home.folder, home.data, veto_radius=0.1)
    assert outcome.folder is not None
    assert model_file.read(outcome.folder / "model.tflite").manifest.decisions["gun_shot"].veto == VetoRule(radius=0.1)
    plain = model_file.read(home.models / home.outcome.version / "model.tflite").manifest
    assert plain.decisions["gun_shot"].veto is None


def test_the_score_of_half_is_the_threshold_that_was_decided_on(finished: Home) -> None:
    history = json.loads((finished.models / "current" / "training_history.json").read_text())
    threshold = next(step for step in history if step["step"] == "threshold")
    decision = model_file.read(finished.models / "current" / "model.tflite").manifest.decisions["gun_shot"]
    assert decision.threshold == 0.5
    assert decision.release == pytest.approx(1 / (1 + np.exp(1)), abs=1e-5)
    assert decision.hits == {"0.24": threshold["hits"], "0.48": 1}
    assert decision.certain == pytest.approx(1 / (1 + np.exp(-threshold["certain_above"] / 2)), abs=1e-5)


def test_the_model_in_use_runs_on_a_device(finished: Home, tmp_path: Path) -> None:
    path = tmp_path / "shots.wav"
    quiet = 0.001 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(path, np.concatenate([quiet, made("gun_shot", "another gun"), quiet]), RATE)
    out, told = io.StringIO(), io.StringIO()
    model = load(finished.models / "current" / "model.tflite")
    assert replay_files([path], model, DetectionSettings(), "windows", out, told) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) > 30
    assert all("gun_shot" in line["scores"] for line in lines)


def test_a_run_that_finds_nothing_new_learns_nothing_and_gives_the_same_model(home: Home) -> None:
    again, telling = run(home.folder, home.data)
    assert (again.version, again.is_new, again.status) == (home.outcome.version, False, "in use")
    assert not [title for title in telling.seconds if title.startswith(("learning", "listening"))]
    assert Store(home.models).versions() == [home.outcome.version]


def test_new_recordings_move_no_old_one_and_the_model_before_is_judged_on_the_same(finished: Home, home: Home) -> None:
    def parts(folder: Path = home.folder) -> dict[str, str]:
        with Catalogue(folder / "catalogue") as catalogue:
            return {clip.recording: part_of(clip.recording) for clip in catalogue.clips()}

    before = parts(finished.folder)
    pack(home.data, rain=(7, 8))
    outcome, telling = run(home.folder, home.data)
    after = parts()
    assert len(after) == len(before) + 3
    assert all(after[recording] == part for recording, part in before.items())
    assert outcome.version != home.outcome.version
    assert outcome.before == home.outcome.version
    assert any("was judged on other sounds; it was judged again" in note for note in telling.notes)
    assert outcome.metrics is not None and outcome.metrics.gate is not None
    assert outcome.metrics.gate.against == home.outcome.version
    compared = next(rule for rule in outcome.metrics.gate.rules if "against the model before, lower" in rule.name)
    assert compared.limit == -0.05
    store = Store(home.models)
    assert store.current() == (outcome.version if outcome.status == "in use" else home.outcome.version)
    assert metrics_of(store, outcome.version).dataset.sha256 != metrics_of(store, home.outcome.version).dataset.sha256


def test_force_puts_a_refused_model_to_use_and_the_log_keeps_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.judging.gate.Limits", partial(Limits, least_recall=1.1))
    asked = request(home.folder, home.data, name="another", reason="a try")
    telling = Telling(quiet=True)
    refused = retrain(asked, telling)
    assert refused.status == "refused"
    assert Store(home.models).current() == home.outcome.version
    assert [(entry.action, entry.version) for entry in read(home.models)[-1:]] == [("refused", refused.version)]
    forced = retrain(replace(asked, force=True), telling)
    assert (forced.status, forced.version, forced.is_new) == ("in use", refused.version, False)
    assert forced.forced
    assert read(home.models)[-1].forced
    assert read(home.models)[-1].reason == "a try"
    again = retrain(replace(asked, force=False), telling)
    assert (again.status, again.forced) == ("in use", False), "nobody forced what was in use already"


def test_what_may_not_be_passed_on_is_learned_from_and_said_so_or_left_out(home: Home) -> None:
    pack(home.data, {"chainsaw": "CC BY-NC 3.0 (the set): research only"})
    outcome, _ = run(home.folder, home.data)
    manifest = model_file.read(home.models / outcome.version / "model.tflite").manifest
    assert manifest.licence == "not for distribution: learned from 4 clips under CC BY-NC 3.0"
    card = (home.models / outcome.version / "MODEL_CARD.md").read_text()
    assert "**Not for distribution: learned from 4 clips under CC BY-NC 3.0.** Use it where you trained it" in card
    assert manifest.training["clips_by_licence"] == {"CC BY-NC 3.0": 4, "CC0": 18}

    shippable, telling = run(home.folder, home.data, licence="shippable")
    manifest = model_file.read(home.models / shippable.version / "model.tflite").manifest
    assert manifest.licence == "Apache-2.0"
    assert "chainsaw" not in manifest.labels
    assert manifest.training["refused_by_licence"] == 4
    assert any("4 clips are not learned from: their licence" in note for note in telling.notes)


def test_recordings_without_a_licence_are_ones_own_where_that_is_said(home: Home) -> None:
    pack(home.data, {"rain": "", "gun_shot": ""})
    telling = Telling(quiet=True)
    asked = request(home.folder, home.data)
    outcome = retrain(asked, telling)
    manifest = model_file.read(home.models / outcome.version / "model.tflite").manifest
    assert manifest.licence == "not for distribution: learned from 14 clips whose licence is not stated"
    outcome = retrain(replace(asked, own=True), telling)
    manifest = model_file.read(home.models / outcome.version / "model.tflite").manifest
    assert manifest.licence == "Apache-2.0"
    assert manifest.training["clips_by_licence"] == {"CC0": 8, "own": 14}


def test_one_class_is_an_error_that_says_so(tmp_path: Path) -> None:
    data = pack(tmp_path / "data", rain=(0, 0), chainsaw=(0, 0), background=(0, 0), gun_shot=(2, 1))
    with pytest.raises(LearningError, match="nothing but 'gun_shot'"):
        run(tmp_path, data)
    assert not Store(tmp_path / "models").versions()


def test_a_shot_that_belongs_to_the_test_part_is_no_shot_to_learn_from_and_that_is_said(tmp_path: Path) -> None:
    data = pack(tmp_path / "data", gun_shot=(0, 1), chainsaw=(0, 0))
    telling = Telling(quiet=True)
    with pytest.raises(LearningError, match="no recording labelled 'gun_shot'"):
        retrain(request(tmp_path, data), telling)
    assert any("belong to the test part" in note for note in telling.notes)


def test_few_recordings_are_judged_out_of_fold_and_the_model_says_so(tmp_path: Path) -> None:
    data = pack(tmp_path / "data", gun_shot=(5, 1), rain=(5, 1), chainsaw=(0, 0), background=(0, 0))
    outcome, telling = run(tmp_path, data)
    assert outcome.metrics is not None
    assert outcome.metrics.dataset.name == "everything, out of fold"
    assert outcome.metrics.dataset.recordings == 12
    assert any("a head that did not learn from it" in note for note in outcome.metrics.notes)
    assert any("there is no ambience" in note for note in telling.notes)
    assert outcome.metrics.shipped.recalls.by_snr == []  # nobody knows ratios without a bed
    # Two of these are compared by the recordings that both were judged on.
    pack(data, gun_shot=(6, 1), rain=(6, 1), chainsaw=(0, 0), background=(0, 0))
    again, _ = run(tmp_path, data, force=True, reason="to have one in use")
    assert again.metrics is not None and again.metrics.gate is not None
    if outcome.status == "in use":
        assert again.metrics.gate.against == outcome.version
        assert any("6 recordings that both were judged on" in rule.note for rule in again.metrics.gate.rules)


def test_a_shot_and_what_sounds_like_one_are_enough(tmp_path: Path) -> None:
    data = pack(tmp_path / "data", gun_shot=(4, 0), explosion=(4, 0), rain=(0, 0), chainsaw=(0, 0), background=(0, 0))
    outcome, _ = run(tmp_path, data, ablations=False)
    assert model_file.read(tmp_path / "models" / outcome.version / "model.tflite").manifest.labels == [
        "gun_shot", "explosion", "other_impulse",
    ]  # fmt: skip


def test_damaged_files_empty_classes_and_long_recordings_stop_nothing(home: Home) -> None:
    folder = home.folder / "own"
    for number, recording in enumerate(named("gun_shot", "learned")):
        if number == 3:
            break
        path = folder / "extracted_audio" / "gun_shot" / f"../gun_shot/o{number} ü\n{recording}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = made("gun_shot", f"own {recording}")
        sound[100:105] = np.nan
        soundfile.write(path, sound, RATE, subtype="FLOAT")
    (folder / "extracted_audio" / "gun_shot" / "no sound.wav").write_bytes(b"RIFF, but not really")
    (folder / "extracted_audio" / "empty").mkdir()
    long = np.tile(made("background", "a long night", 10.0), 7)
    (folder / "extracted_audio" / "background").mkdir()
    soundfile.write(folder / "extracted_audio" / "background" / "night.flac", long, RATE)
    telling = Telling(quiet=True)
    outcome = retrain(replace(request(home.folder, home.data), data=(home.data, folder)), telling)
    assert outcome.material is not None
    assert any("2 files of own cannot be learned from" in note for note in telling.notes)
    assert any("1 recordings of more than 60 s were cut into" in note for note in telling.notes)
    assert outcome.metrics is not None
    assert all(np.isfinite(one.recalls.all.value) for one in outcome.metrics.at_rates)


def test_results_that_were_damaged_are_made_again(home: Home) -> None:
    for path in (home.folder / "cache" / "retraining" / "kept").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    sound = next((home.folder / "cache" / "retraining").glob("sounds-*/sounds/*.flac"))
    sound.write_bytes(b"not as it was")
    again, telling = run(home.folder, home.data)
    assert again.version == home.outcome.version
    assert [title for title in telling.seconds if title.startswith("learning")]


def test_each_effect_of_the_field_has_its_row(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.augmentation.field import FIELD

    some = {name: FIELD[name] for name in ("distance", "forest")}
    monkeypatch.setattr("trainer.retraining.ablations.FIELD", some)
    outcome, _ = run(home.folder, home.data, ablations=True, name="with-rows")
    assert outcome.metrics is not None
    rows = [(row.without, row.per_hour) for row in outcome.metrics.ablations]
    assert rows == [(effect, per_hour) for effect in some for per_hour in (10, 3, 1)]
    for row in outcome.metrics.ablations:
        assert 0 <= row.recall <= 1 and row.difference.low <= row.difference.value <= row.difference.high
    page = (home.models / outcome.version / "report.html").read_text()
    assert "What each part of the training is worth" in page


def test_the_day_of_a_version_is_that_of_the_run(home: Home) -> None:
    later = datetime(2031, 2, 3, tzinfo=UTC)
    outcome = retrain(request(home.folder, home.data, seed=2), Telling(quiet=True), later)
    assert outcome.version.startswith("20310203-1-")


def test_a_run_over_a_cluster_learns_what_a_run_alone_learns(finished: Home, home: Home) -> None:
    try:
        from distributed import LocalCluster
    except ImportError:
        pytest.skip("MISSING DASK: pip install distributed (the cluster is not tested)")
    elsewhere = home.folder / "elsewhere"
    elsewhere.mkdir()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        outcome, _ = run(elsewhere, home.data, cluster=cluster.scheduler_address)
    assert outcome.version is not None
    far = elsewhere / "models" / "current" / "model.tflite"
    near = finished.models / "current" / "model.tflite"
    assert model_file.read(far).graph == model_file.read(near).graph
