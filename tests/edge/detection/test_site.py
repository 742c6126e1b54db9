"""What a device learns of its site: less sensitive where it must be, never deaf, and nothing is forgotten."""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge.audio.ring import Ring
from edge.detection.background import Background
from edge.detection.choice import default_model
from edge.detection.detector import Detector
from edge.detection.event import Event, Rule, Timing
from edge.detection.events import EventLogic
from edge.detection.marks import NEWEST, VETOES, MarkError, Marks
from edge.detection.model import Model, load_bytes
from edge.detection.model_file import Decision, Manifest, build, read
from edge.detection.site import BACKGROUNDS_KEPT, Site
from edge.detection.site_rules import BackgroundRule, VetoRule, log_odds
from edge.detection.vetoes import Near
from edge.settings import DetectionSettings
from trainer.synthesis.scene import demo_scene

HOP_S = 0.24
RULE = BackgroundRule(quantile=0.97, margin=1.0, horizon_s=600, warm_up_s=60, most=1.5)
VETO = VetoRule(radius=0.05, most=3)
SETTINGS = DetectionSettings()
MINUTE = round(60 / HOP_S)


def background(rule: BackgroundRule = RULE) -> Background:
    return Background(rule, 0.5, HOP_S)


def heard(one: Background, scores: Sequence[float]) -> Background:
    for score in scores:
        one.observe(score)
    return one


def adapting(background: BackgroundRule | None = RULE, veto: VetoRule | None = VETO, network: str = "") -> Model:
    """The model that ships, with rules for its site."""
    whole = read(default_model())
    decision = whole.manifest.decisions["gun_shot"].model_copy(update={"background": background, "veto": veto})
    changes: dict[str, object] = {"decisions": {"gun_shot": decision}}
    if network:
        changes["backbone_sha256"] = network
    return load_bytes(build(whole.graph, whole.manifest.model_copy(update=changes), whole.golden, whole.card))


def embedding(seed: int, near: float = 0.0) -> NDArray[np.float32]:
    """One of 512 values, as networks give them; with ``near``, the same with a little noise."""
    values = np.maximum(np.random.default_rng(seed).standard_normal(512), 0)
    return (values + near * np.random.default_rng(99).standard_normal(512)).astype(np.float32)


def test_a_site_whose_background_scores_high_is_heard_less_sensitively_and_says_so() -> None:
    one = heard(background(), [0.02] * 10 * MINUTE)
    assert one.raised == 0
    heard(one, ([0.02] * 9 + [0.45]) * MINUTE)
    wanted = log_odds(0.45) + RULE.margin - log_odds(0.5)
    assert wanted <= one.raised <= wanted + 0.2
    assert not one.at_limit


def test_the_threshold_never_rises_over_its_bound_and_never_falls_under_the_models_own() -> None:
    assert heard(background(), [0.999] * 30 * MINUTE).raised == RULE.most
    assert heard(background(), [0.999] * 30 * MINUTE).at_limit
    assert heard(background(), [0.0] * 30 * MINUTE).raised == 0


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(1, 400)), min_size=1, max_size=6))
def test_whatever_it_hears_the_raise_stays_within_its_bounds(stretches: list[tuple[float, int]]) -> None:
    one = background()
    for score, windows in stretches:
        assert 0 <= heard(one, [score] * windows).raised <= RULE.most


def test_a_burst_of_shots_does_not_raise_it() -> None:
    one = heard(background(), [0.05] * 10 * MINUTE)
    heard(one, [0.05] * 30 + [0.95] * 4 * 20)  # twenty shots in a row, of four windows each: a third of a minute
    heard(one, [0.05] * MINUTE)
    assert one.raised > 0, "with a horizon of ten minutes, it does"
    slow = background(RULE.model_copy(update={"horizon_s": 3600}))
    heard(slow, [0.05] * 60 * MINUTE + [0.95] * 80 + [0.05] * MINUTE)
    assert slow.raised == 0


def test_it_does_nothing_before_its_warm_up_and_forgets_what_is_over() -> None:
    one = heard(background(), [0.9] * (MINUTE - 1))
    assert one.raised == 0
    heard(one, [0.9] * MINUTE)
    assert one.raised == RULE.most
    heard(one, [0.01] * 60 * MINUTE)
    assert one.raised == 0


def test_its_quantile_is_that_of_the_scores_to_a_bin() -> None:
    random = np.random.default_rng(3)
    scores = 1 / (1 + np.exp(-random.normal(-3, 1.5, 20_000)))
    slow = background(RULE.model_copy(update={"horizon_s": 604_800}))
    found = heard(slow, scores.tolist()).quantile()
    assert abs(found - np.quantile(np.log(scores / (1 - scores)), 0.97)) < 0.2


def test_the_same_scores_give_the_same_raise_after_weeks_and_a_restart() -> None:
    scores = np.random.default_rng(5).uniform(0, 0.6, 40 * MINUTE).tolist()
    through = heard(background(), scores)
    first = heard(background(), scores[: 20 * MINUTE])
    again = background()
    again.resume(first.counts(), first.windows)
    heard(again, scores[20 * MINUTE :])
    assert math.isclose(again.quantile(), through.quantile(), abs_tol=0.13)
    old = background(RULE.model_copy(update={"horizon_s": 60}))
    assert heard(old, scores * 20).raised == pytest.approx(heard(old, scores * 20).raised)
    assert all(math.isfinite(count) for count in old.counts())


def test_a_site_outlives_a_restart_and_belongs_to_its_model(tmp_path: Path) -> None:
    model = adapting()
    site = Site(model, SETTINGS, tmp_path)
    heard(site.backgrounds["gun_shot"], [0.6] * 10 * MINUTE)
    assert site.problems == ["detection:less_sensitive:gun_shot"]
    site.save()
    again = Site(model, SETTINGS, tmp_path)
    assert again.raised() == site.raised() != {"gun_shot": 0.0}
    assert again.thresholds()["gun_shot"] == pytest.approx(1 / (1 + math.exp(-RULE.most)))
    assert Site(adapting(RULE.model_copy(update={"margin": 0.5})), SETTINGS, tmp_path).raised() == {"gun_shot": 0.0}
    (file,) = tmp_path.glob("background*")
    file.write_text('{"model_sha256": 3')
    assert Site(model, SETTINGS, tmp_path).raised() == {"gun_shot": 0.0}
    counts = {"gun_shot": {"windows": 9000, "counts": [-1.0]}}
    file.write_text(json.dumps({"model_sha256": model.sha256, "hop_s": 0.24, "labels": counts}))
    assert Site(model, SETTINGS, tmp_path).raised() == {"gun_shot": 0.0}


def test_a_model_that_comes_back_goes_on_with_what_it_had_learned(tmp_path: Path) -> None:
    first = Site(adapting(), SETTINGS, tmp_path)
    heard(first.backgrounds["gun_shot"], [0.6] * 10 * MINUTE)
    first.save()
    for margin in (0.5, 0.6, 0.7):
        other = Site(adapting(RULE.model_copy(update={"margin": margin})), SETTINGS, tmp_path)
        assert other.raised() == {"gun_shot": 0.0}
        assert Site(adapting(), SETTINGS, tmp_path).raised() == first.raised() != {"gun_shot": 0.0}
        other.save()
        assert len(list(tmp_path.iterdir())) <= BACKGROUNDS_KEPT
    assert Site(adapting(), SETTINGS, tmp_path).raised() == {"gun_shot": 0.0}, "of three models later, nothing is kept"


def test_a_model_without_rules_learns_nothing_and_leaves_no_files(tmp_path: Path) -> None:
    site = Site(adapting(None, None), SETTINGS, tmp_path)
    site.save()
    site.marks.keep("a", "gun_shot", 0.9, "now", embedding(1))
    assert (site.raised(), site.problems, site.marks.wanted) == ({}, [], False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MarkError, match="no rule"):
        site.marks.mark("a", is_false=True)


def test_a_raised_threshold_moves_release_and_certainty_along() -> None:
    rule = Rule("gun_shot", 0.5, 0.3, 2, 0.8)
    raised = rule.raised(1.0)
    for before, after in zip((0.5, 0.3, 0.8), (raised.threshold, raised.release, raised.certain), strict=True):
        assert log_odds(after) == pytest.approx(log_odds(before) + 1)
    assert rule.raised(0) is rule
    assert Rule("gun_shot", 0.5, 0.3, 2).raised(1.0).certain == math.inf


def test_a_weak_sound_is_an_event_at_a_quiet_site_and_none_at_a_loud_one() -> None:
    timing = Timing.of(SETTINGS, 16_000, 0.975)
    rule = Rule("gun_shot", 0.5, 0.3, 2)

    def events(site_scores: Sequence[float]) -> list[Event]:
        logic = EventLogic([rule], timing, backgrounds={"gun_shot": background()})
        scores = [*site_scores, *[0.01] * 10, 0.6, 0.6, *[0.01] * 20, 0.95, 0.95, *[0.01] * 20]
        found = [event for k, score in enumerate(scores) for event in logic.observe(k * timing.hop, [score])]
        return [event for event in [*found, *logic.finish()] if event.phase == "new"]

    assert [event.score for event in events([0.01] * 5 * MINUTE)] == [0.6, 0.95]
    loud = events(([0.01] * 9 + [0.45]) * MINUTE)
    assert [event.score for event in loud] == [0.95], "the strong one is heard everywhere"
    assert loud[0].threshold > 0.6, "and the alert says what it had to pass"


def test_a_rule_that_would_make_it_deaf_is_refused() -> None:
    kept = {"threshold": 0.5, "release": 0.3, "hits": {"0.24": 2}}
    assert Decision.model_validate({**kept, "background": RULE.model_dump()}).background == RULE
    with pytest.raises(ValidationError, match="nothing would be heard"):
        Decision.model_validate({**kept, "background": RULE.model_copy(update={"most": 7.0}).model_dump()})


def test_vetoes_need_to_know_their_network() -> None:
    manifest = read(default_model()).manifest.model_dump()
    manifest["decisions"]["gun_shot"]["veto"] = VETO.model_dump()
    assert Manifest.model_validate(manifest).decisions["gun_shot"].veto == VETO
    manifest["backbone_sha256"] = None
    with pytest.raises(ValidationError, match="backbone_sha256"):
        Manifest.model_validate(manifest)


def test_a_rule_of_a_later_version_is_left_out_and_the_threshold_holds() -> None:
    manifest = read(default_model()).manifest.model_dump()
    manifest["decisions"]["gun_shot"]["moon"] = {"phase": "full"}
    assert Manifest.model_validate(manifest) == read(default_model()).manifest


def marks(folder: Path, network: str = "") -> Marks:
    return Marks(adapting(network=network).manifest, folder)


def test_an_alert_that_was_marked_vetoes_what_is_near_and_nothing_else(tmp_path: Path) -> None:
    found = marks(tmp_path)
    found.keep("door", "gun_shot", 0.9, "now", embedding(1))
    assert found.near("gun_shot", embedding(1)) is None, "kept is not marked"
    assert found.mark("door", is_false=True).vetoes == 1
    near = found.near("gun_shot", embedding(1, near=0.05))
    assert near is not None and near.alert_id == "door" and 0 < near.distance <= VETO.radius
    assert found.near("gun_shot", embedding(2)) is None
    assert found.near("siren", embedding(1)) is None
    assert found.near("gun_shot", None) is None
    assert marks(tmp_path).near("gun_shot", embedding(1)) is not None, "a restart forgets nothing"


def test_a_mark_is_taken_back_by_a_shot_that_sounds_like_it(tmp_path: Path) -> None:
    found = marks(tmp_path)
    for number, name in enumerate(["door", "gun", "other"]):
        found.keep(name, "gun_shot", 0.9, "now", embedding(1, near=0.05) if name == "gun" else embedding(number + 1))
    found.mark("other", is_false=True)
    found.mark("door", is_false=True)
    result = found.mark("gun", is_false=False)
    assert list(result.removed) == ["door"] and result.vetoes == 1
    assert found.near("gun_shot", embedding(1)) is None
    found.mark("other", is_false=True)
    assert found.mark("other", is_false=False).vetoes == 0, "a mark by mistake is taken back by its own alert"


def test_marks_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    found = marks(tmp_path)
    for number in range(5):
        found.keep(f"a{number}", "gun_shot", 0.9, "now", embedding(number))
        result = found.mark(f"a{number}", is_false=True)
    assert result.vetoes == VETO.most and list(result.removed) == ["a1"]
    assert found.near("gun_shot", embedding(0)) is None and found.near("gun_shot", embedding(4)) is not None


def test_embeddings_of_alerts_are_bounded_over_restarts(tmp_path: Path) -> None:
    found = marks(tmp_path)
    for number in range(NEWEST):
        found.keep(f"a{number}", "gun_shot", 0.9, "now", embedding(0)[:4])
    again = marks(tmp_path)
    again.keep("newest", "gun_shot", 0.9, "now", embedding(0)[:4])
    assert len(list((tmp_path / "embeddings").iterdir())) == NEWEST
    assert again.mark("newest", is_false=True).vetoes == 1
    with pytest.raises(MarkError, match="no embedding of alert unknown is kept"):
        again.mark("unknown", is_false=True)


def test_a_disk_that_does_not_take_embeddings_is_not_filled_with_halves_of_them(tmp_path: Path) -> None:
    found = marks(tmp_path)
    for number in range(5):
        (tmp_path / "embeddings" / f"a{number}.json").mkdir(parents=True)  # what cannot be replaced by a file
        found.keep(f"a{number}", "gun_shot", 0.9, "now", embedding(0)[:4])
    assert len([path for path in (tmp_path / "embeddings").iterdir() if path.is_file()]) <= 1


def test_embeddings_of_two_networks_are_never_mixed(tmp_path: Path) -> None:
    found = marks(tmp_path)
    found.keep("door", "gun_shot", 0.9, "now", embedding(1))
    found.keep("gate", "gun_shot", 0.9, "now", embedding(2))
    found.mark("door", is_false=True)
    other = marks(tmp_path, network="0" * 64)
    assert (other.in_force, other.of_other_networks) == (0, 1)
    assert other.near("gun_shot", embedding(1)) is None
    with pytest.raises(MarkError, match="network of another model"):
        other.mark("gate", is_false=True)
    assert marks(tmp_path).in_force == 1, "the model before comes back with its marks"


@pytest.mark.parametrize("content", ["", "{", '{"marks": 3}', '{"marks": [{"embedding": "!"}]}', "[]"])
def test_a_damaged_file_of_marks_is_set_aside(tmp_path: Path, content: str) -> None:
    (tmp_path / VETOES).write_text(content)
    found = marks(tmp_path)
    assert found.in_force == 0 and (tmp_path / "vetoes.damaged").exists()


@cache
def shot_of_the_scene() -> tuple[NDArray[np.float32], int]:
    samples, rate_hz, annotations = demo_scene()
    at = round(next(one.onset_s for one in annotations if one.shot) * rate_hz)
    return samples[at - 2 * rate_hz : at + 4 * rate_hz], rate_hz


def test_the_windows_of_a_vetoed_sound_open_nothing_and_the_next_sound_is_an_event() -> None:
    timing = Timing.of(SETTINGS, 16_000, 0.975)
    door, gun = embedding(1), embedding(2)

    def vetoed(label: str, heard: NDArray[np.float32] | None) -> Near | None:
        return Near("door", 0.01) if heard is door else None

    logic = EventLogic([Rule("gun_shot", 0.5, 0.3, 2)], timing, vetoed=vetoed)
    windows = [(0.01, gun)] * 3 + [(0.7, gun), (0.9, door), (0.7, gun), (0.7, gun)] + [(0.01, gun)] * 4
    windows += [(0.8, gun)] * 3 + [(0.01, gun)] * 20
    found = [event for k, (score, one) in enumerate(windows) for event in logic.observe(k * timing.hop, [score], one)]
    assert [event.phase for event in found] == ["vetoed", "new", "end"]
    assert found[0].veto == Near("door", 0.01) and found[0].score == 0.9
    assert found[1].number == 1 and found[1].embedding is gun
    assert found[1].first_onset > found[0].first_onset + timing.window


def scene_events(model: Model, site: Site | None) -> list[Event]:
    sound, rate_hz = shot_of_the_scene()
    ring = Ring(rate_hz, 8.0)
    detector = Detector(model, ring, SETTINGS, site=site)
    found = []
    for start in range(0, len(sound), rate_hz):
        ring.write(sound[start : start + rate_hz])
        found += detector.advance(0.0)
    ring.close()
    return found + detector.finish()


def test_an_event_of_the_shipped_network_that_was_marked_comes_as_vetoed_and_opens_nothing(tmp_path: Path) -> None:
    model = adapting(None)
    plain = scene_events(model, None)
    first = next(event for event in plain if event.phase == "new")
    assert first.embedding is not None and first.embedding.shape == (512,)
    site = Site(model, SETTINGS, tmp_path)
    site.marks.keep("first", "gun_shot", first.score, "now", first.embedding)
    site.marks.mark("first", is_false=True)
    found = scene_events(model, site)
    vetoed = [event for event in found if event.phase == "vetoed"]
    assert vetoed and vetoed[0].veto is not None and vetoed[0].veto.alert_id == "first"
    assert abs(vetoed[0].first_onset - first.first_onset) < 48_000
    assert first.first_onset not in {event.first_onset for event in found if event.phase == "new"}


def test_without_marks_the_same_file_gives_the_same_events_as_before_the_rules() -> None:
    told = [
        [(event.phase, event.first_onset, event.score, event.shots) for event in scene_events(model, None)]
        for model in (adapting(None, None), adapting())
    ]
    assert told[0] == told[1] and told[0]
