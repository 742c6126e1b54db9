"""What is learned from and judged on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from trainer.augmentation.mixing import bed, in_band, loudest, over_bed, random_of
from trainer.data.clip import Clip
from trainer.data.labels import BACKGROUND, SHOT
from trainer.learning.made import OTHERS, made_beside
from trainer.learning.renderings import LEAD_S, Spec, effects_of, judged, learned, render
from trainer.learning.windows import MOST, chosen_for
from trainer.synthesis.guns import KINDS
from trainer.synthesis.sounds import SOUNDS

RATE = 16_000


def clip(folder: Path, name: str, label: str, seconds: float, recording: str = "") -> Clip:
    random = random_of(3, name)
    samples = random.standard_normal(round(seconds * RATE)).astype(np.float32) * 0.02
    if label == SHOT:
        at = len(samples) // 2
        samples[at : at + 2000] += np.exp(-np.arange(2000) / 300) * random.standard_normal(2000)
    path = folder / f"{name}.wav"
    soundfile.write(path, samples.clip(-1, 1), RATE, subtype="FLOAT")
    return Clip(path, "own", label, recording or name, seconds, "own", f"{name:0<64}")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return [
        clip(tmp_path, "shot", SHOT, 5),
        clip(tmp_path, "rain", "rain", 2),
        clip(tmp_path, "forest", BACKGROUND, 6),
        clip(tmp_path, "elsewhere", BACKGROUND, 6),
    ]


FOLD_OF = {"shot": 0, "rain": 0, "forest": 0, "elsewhere": 1}


def beds_of(clips: list[Clip]) -> dict[int, list[Clip]]:
    return {0: [clips[2]], 1: [clips[3]]}


def test_a_bed_is_continuous_where_its_pieces_meet(tmp_path: Path) -> None:
    t = np.arange(RATE) / RATE
    soundfile.write(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 200 * t)).astype(np.float32), RATE)
    made = bed([tmp_path / "tone.wav"], 5 * RATE, random_of(1, "x"))
    assert len(made) == 5 * RATE
    # No step is larger than the tone's own steepest.
    assert np.abs(np.diff(made)).max() <= 1.05 * 0.5 * 2 * np.pi * 200 / RATE


@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_the_ratio_is_that_of_the_loudest_part_over_the_bed_in_the_band(snr_db: float) -> None:
    random = random_of(1, "ratio")
    sound = np.concatenate([random.standard_normal(8000) * 0.01, random.standard_normal(8000) * 0.2]).astype(np.float32)
    below = random.standard_normal(4 * RATE).astype(np.float32) * 0.05
    made = over_bed(sound, below, RATE, snr_db, random)
    noise = np.sqrt(np.mean(in_band(made.mixed - made.clean) ** 2))
    assert 20 * np.log10(loudest(in_band(made.clean)) / noise) == pytest.approx(snr_db, abs=0.3)


def test_specs_use_beds_of_their_own_fold_only_and_shots_have_more_variants(clips: list[Clip]) -> None:
    specs = list(learned(clips, beds_of(clips), FOLD_OF, variants=2, of_shots=5, seed=1))
    assert sum(spec.label == SHOT for spec in specs) == 6 and sum(spec.label == "rain" for spec in specs) == 3
    for spec in specs:
        assert set(spec.beds) <= {one.path for one in beds_of(clips)[FOLD_OF[spec.recording]]}
    assert len({spec.key for spec in specs}) == len(specs)


def test_a_rendering_depends_on_its_key_and_on_nothing_else(clips: list[Clip]) -> None:
    spec = [s for s in learned(clips, beds_of(clips), FOLD_OF, 1, 2, 1) if s.kind == "field" and s.label == SHOT]
    first, again, other = render(spec[0]), render(spec[0]), render(spec[1])
    assert np.array_equal(first.mixed, again.mixed)
    assert len(first.mixed) != len(other.mixed) or not np.array_equal(first.mixed, other.mixed)
    assert np.isfinite(first.mixed).all() and np.abs(first.mixed).max() <= 1.01


def test_a_longer_clip_is_learned_from_around_its_loud_part(clips: list[Clip]) -> None:
    plain = next(s for s in learned(clips, beds_of(clips), FOLD_OF, 0, 0, 1) if s.label == SHOT)
    rendering = render(plain)
    assert len(rendering.mixed) == 4 * RATE
    assert np.abs(rendering.clean).max() > 0.5


def test_what_is_judged_is_whole_with_a_lead_and_every_ratio_for_shots(clips: list[Clip]) -> None:
    specs = list(judged([*clips, clips[1], clips[1]], beds_of(clips), FOLD_OF, 1))
    assert [s.snr_db for s in specs if s.label == SHOT] == [20, 10, 5, 0]
    assert sum(s.label == "rain" for s in specs) == 2, "at most two clips of one recording"
    rendering = render(next(s for s in specs if s.label == "rain"))
    assert not rendering.clean[: round(LEAD_S * RATE)].any()
    assert len(rendering.mixed) > round((LEAD_S + 2) * RATE)


def test_an_effect_that_is_left_out_has_another_key(clips: list[Clip]) -> None:
    spec = Spec("field", clips[0].path, clips[0].sha256, SHOT, "shot")
    assert spec.key != Spec("field", clips[0].path, clips[0].sha256, SHOT, "shot", without=frozenset({"forest"})).key


def test_windows_are_learned_from_where_the_clean_clip_is_loud() -> None:
    peak = np.array([0.0, 0.1, 0.9, 1.0, 0.2, 0.0], np.float32)
    random = random_of(1, "w")
    assert chosen_for(SHOT, peak, peak, random).tolist() == [2, 3]
    assert chosen_for("rain", peak, peak, random).tolist() == [1, 2, 3, 4]
    assert len(chosen_for(BACKGROUND, np.ones(50, np.float32), np.ones(50, np.float32), random)) == MOST[BACKGROUND]
    assert not len(chosen_for(SHOT, np.zeros(5, np.float32), np.zeros(5, np.float32), random))


def test_leaving_out_an_effect_changes_the_renderings_that_had_it_and_no_other(clips: list[Clip]) -> None:
    def specs(*without: str) -> list[Spec]:
        found = learned(clips, beds_of(clips), FOLD_OF, 6, 12, 1, frozenset(without))
        return [spec for spec in found if spec.kind == "field"]

    whole = specs()
    for effect in ("burst", "forest", "lossy"):
        pairs = list(zip(whole, specs(effect), strict=True))
        changed = [one.key != other.key for one, other in pairs]
        assert changed == [effect in effects_of(one) for one, _ in pairs]
        assert any(changed) and not all(changed)
        for one, other in pairs[:8]:
            had, has = render(one).mixed, render(other).mixed
            assert (effect in effects_of(one)) == (len(had) != len(has) or not np.array_equal(had, has))
    assert not any("burst" in effects_of(spec) for spec in whole if spec.label != SHOT)


def test_what_no_effect_was_drawn_for_is_rendered_as_well(clips: list[Clip]) -> None:
    specs = [s for s in learned(clips, beds_of(clips), FOLD_OF, 40, 0, 1) if s.kind == "field" and not effects_of(s)]
    assert {BACKGROUND, "rain"} <= {spec.label for spec in specs}
    for spec in specs:
        assert np.isfinite(render(spec).mixed).all()


def test_made_sounds_are_learned_beside_recorded_shots_over_beds_of_their_fold(clips: list[Clip]) -> None:
    made = made_beside(clips, of_shots=15)
    shots, others = ([one for one in made if (one.label == SHOT) == is_shot] for is_shot in (True, False))
    assert len(shots) == round(0.28 * 16) and {one.kind for one in shots} == set(KINDS)
    assert len(others) == 16 and len({one.kind for one in others}) == 16
    assert made_beside([clip for clip in clips if clip.label != SHOT], 15) == []  # nothing to stand beside
    fold_of = FOLD_OF | {one.name: number % 2 for number, one in enumerate(made)}
    specs = [spec for spec in learned(clips, beds_of(clips), fold_of, 0, 0, 1, made=made) if spec.kind == "made"]
    assert [(spec.recording, spec.label) for spec in specs] == [(one.name, one.label) for one in made]
    for spec in specs:
        assert set(spec.beds) == {one.path for one in beds_of(clips)[fold_of[spec.recording]]}
        sound = render(spec)
        assert np.array_equal(sound.mixed, render(spec).mixed) and np.isfinite(sound.mixed).all()
        # Silence before it, then the sound: what comes before is bed alone.
        assert not sound.clean[: round(0.8 * RATE)].any() and np.abs(sound.clean).max() > 0
    assert len({render(spec).clean.tobytes() for spec in specs}) == len(specs)
    assert not any("burst" in effects_of(spec) for spec in specs if spec.label != SHOT)


def test_made_sounds_have_the_label_of_recordings_where_there_are_such(clips: list[Clip]) -> None:
    rain = {name for name, sound in SOUNDS.items() if sound.label == "rain" and sound.impulsive}
    others = [one for one in made_beside(clips, of_shots=200) if one.label != SHOT]
    assert {one.label for one in others} == {"rain", OTHERS}
    assert all((one.label == "rain") == (one.kind in rain) for one in others)
    assert {one.kind for one in others} == {name for name, sound in SOUNDS.items() if sound.impulsive}
