"""The scorer: a detector that hears nothing scores nothing, one that hears scores what it found."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.frontend import Window
from edge.audio.source import SourceError
from edge.detection.model import load
from edge.replay import replay
from edge.settings import DetectionSettings
from tests.trainer.judging.judges import RATE, clicks, detector, field, hiss, loud
from trainer.judging.evaluate import Evaluation, JudgedFile, evaluate, quantisation
from trainer.judging.hardest import write_excerpts
from trainer.judging.hearing import listen
from trainer.judging.metrics import Metrics
from trainer.judging.sounds import Sound, SoundError, Sounds
from trainer.judging.statistics import upper_rate
from trainer.synthesis.scene import demo_scene


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return field()


@pytest.fixture(scope="module")
def good(sounds: Sounds) -> Evaluation:
    return evaluate(detector(loud), sounds)


def about_zero(metrics: Metrics) -> None:
    for one in metrics.at_rates:
        assert one.recalls.all.value <= 0.05, f"{one.recalls.all.value} at {one.per_hour} per hour"


def test_what_is_always_on_finds_nothing(sounds: Sounds) -> None:
    found = evaluate(detector(lambda _: 0.99, certain=0.9), sounds).metrics
    about_zero(found)
    # At its own threshold it is one event from the first window of a sound to the last: too early for any shot.
    assert found.shipped.recalls.all.value == 0
    assert found.shipped.beside_shots.events == 24
    assert found.shipped.false_alarms.events == 12
    assert max(point.recall for point in found.curves.points) == 0


def test_what_is_always_on_but_trembles_finds_next_to_nothing(sounds: Sounds) -> None:
    random = np.random.default_rng(5)
    about_zero(evaluate(detector(lambda _: float(random.uniform(0.9, 0.99))), sounds).metrics)


@pytest.mark.parametrize("period_s", [2.4, 6.0, 30.0])
def test_what_fires_at_a_beat_finds_nothing_at_a_stated_rate(sounds: Sounds, period_s: float) -> None:
    def beat(window: Window) -> float:
        return 0.95 if (window.start / RATE) % period_s < 0.5 else 0.05

    found = evaluate(detector(beat), sounds).metrics
    about_zero(found)
    assert found.shipped.false_alarms.per_hour > 100


def test_chance_finds_nothing_at_a_stated_rate(sounds: Sounds) -> None:
    random = np.random.default_rng(1)
    about_zero(evaluate(detector(lambda _: float(random.random()), certain=0.99), sounds).metrics)


def test_what_is_never_on_finds_nothing_and_costs_nothing(sounds: Sounds) -> None:
    found = evaluate(detector(lambda _: 0.01), sounds).metrics
    about_zero(found)
    assert found.shipped.false_alarms.events == 0
    assert found.shipped.false_alarms.upper_per_hour == pytest.approx(upper_rate(0, 24 / 60), rel=1e-3)


def test_a_detector_that_hears_the_shots_finds_them_all(good: Evaluation) -> None:
    found = good.metrics
    for one in found.at_rates:
        assert one.recalls.all.value == 1
        assert one.recalls.all.bursts == 24
        assert one.recalls.all.recordings == 12
        assert [(part.snr_db, part.bursts) for part in one.recalls.by_snr] == [(20, 12), (5, 12)]
        assert one.reached_per_hour == 0
    assert found.shipped.recalls.all.value == 1
    assert found.shipped.recalls.all.low == pytest.approx(0.05 ** (1 / 12))
    assert found.shipped.false_alarms.events == 0
    assert found.dataset.rated_hours == pytest.approx(24 / 60)
    assert found.model.hits == 2


def test_a_loud_noise_in_the_field_is_a_false_alarm_and_the_hardest_is_named_first(sounds: Sounds) -> None:
    noisy = Sound("a barn", "door", samples=clicks(60, (20.0, 40.0), peak=0.8), name="barn door")
    missed = Sound("gun 99", "gun_shot", (5.0,), snr_db=0.0, samples=clicks(12, (5.0,), peak=0.05), name="far")
    found = evaluate(detector(loud), Sounds("field", "2", [*sounds, noisy, missed])).metrics
    assert found.shipped.false_alarms.events == 2
    assert list(found.shipped.by_label) == ["door", "rain"]
    assert [(one.sound, round(one.onset_s)) for one in found.false_alarms] == [("barn door", 20), ("barn door", 40)]
    assert [one.sound for one in found.misses] == ["far"]
    assert found.misses[0].score < 0.5
    assert found.shipped.recalls.all.value == pytest.approx(24 / 25)
    assert [(one.snr_db, one.value) for one in found.shipped.recalls.by_snr] == [(20, 1), (5, 1), (0, 0)]
    rows = {one.recording: one for one in found.recordings}
    assert rows["a barn"].false_alarms == 2
    # Two false alarms are allowed at 10 an hour, none at 3 or 1: and the door is louder than any shot.
    assert rows["gun 99"].found == {"10": 1, "3": 0, "1": 0, "shipped": 0}
    assert "rest" in found.notes[0]
    assert found.recall_at(1).recalls.all.value == 0


def test_the_document_comes_back_from_its_json_as_it_was(good: Evaluation) -> None:
    text = good.metrics.model_dump_json()
    assert Metrics.model_validate_json(text) == good.metrics
    with pytest.raises(KeyError, match="no recall at 5"):
        good.metrics.recall_at(5)


def test_windows_that_hold_a_shot_score_as_windows_that_do(good: Evaluation) -> None:
    assert {point.miss for point in good.metrics.curves.det if point.false_alarm == 0} >= {0.0}
    assert good.metrics.calibration.bins[0].share == 0
    assert good.metrics.calibration.bins[-1].share == 1
    assert good.metrics.calibration.error < 0.05


def test_sounds_are_taken_for_what_they_are(good: Evaluation) -> None:
    confusion = good.metrics.confusion
    assert confusion.rows == confusion.columns == ["gun_shot", "rain"]
    assert confusion.counts == [[24, 0], [0, 12]]
    shots = good.metrics.classes[0]
    assert (shots.label, shots.recordings, shots.sounds, shots.precision) == ("gun_shot", 12, 24, 1.0)


def test_shots_that_nobody_timed_count_wherever_they_are_heard_but_not_for_what_is_always_on() -> None:
    weak = [
        Sound(f"w{k}", "gun_shot", (2.0,), somewhere_s=6.0, lead_s=2.0, samples=clicks(6, (0.3, 4.5), k), name=f"w{k}")
        for k in range(4)
    ]
    quiet = [Sound(f"q{k}", "rain", lead_s=2.0, samples=hiss(60, k)) for k in range(3)]
    all_of_it = Sounds("weak", "", [*weak, *quiet])
    found = evaluate(detector(loud), all_of_it).metrics
    assert found.shipped.recalls.all.value == 1
    assert found.shipped.beside_shots.events == 0
    assert any("nobody noted" in note for note in found.notes)
    about_zero(evaluate(detector(lambda _: 0.99, certain=0.9), all_of_it).metrics)


def test_a_shot_too_early_in_its_sound_is_refused() -> None:
    with pytest.raises(SoundError, match="always on"):
        Sound("r", "gun_shot", (0.7,), samples=hiss(3))


def test_what_cannot_be_judged_is_said(sounds: Sounds, tmp_path: Path) -> None:
    with pytest.raises(SoundError, match="no sounds"):
        evaluate(detector(loud), Sounds("nothing", "", []))
    with pytest.raises(SoundError, match="does not alert on 'rain'"):
        evaluate(detector(loud), sounds, target="rain")
    (tmp_path / "bad.wav").write_text("no sound")
    with pytest.raises(SourceError, match=r"bad\.wav"):
        evaluate(detector(loud), Sounds("bad", "", [Sound("r", "x", path=tmp_path / "bad.wav")]))


def test_int8_and_float_are_compared_on_the_same_data_only(good: Evaluation, sounds: Sounds) -> None:
    assert quantisation(good.metrics, good.metrics).loss == 0
    other = evaluate(detector(loud), Sounds("other", "1", list(sounds)[:13])).metrics
    with pytest.raises(ValueError, match="other"):
        quantisation(other, good.metrics)


def test_the_hardest_moments_are_cut_out_of_their_sounds(tmp_path: Path) -> None:
    path = tmp_path / "barn.wav"
    soundfile.write(path, clicks(30, (10.0,), peak=0.8), RATE)
    some = Sounds("x", "", [Sound("barn", "door", path=path, lead_s=2.0), Sound("r", "rain", samples=hiss(30))])
    found = write_excerpts(evaluate(detector(loud), some).metrics, some.sounds, tmp_path)
    assert [one.excerpt for one in found.false_alarms] == ["excerpts/false_alarm_01.flac"]
    cut, rate = soundfile.read(tmp_path / "excerpts" / "false_alarm_01.flac")
    assert (len(cut), rate) == (4 * RATE, RATE)
    assert np.abs(cut).argmax() == pytest.approx(1.5 * RATE, abs=200)


@pytest.mark.data
def test_workers_hear_what_one_process_hears(model: Path, tmp_path: Path) -> None:
    samples, rate, _ = demo_scene()
    soundfile.write(tmp_path / "scene.wav", samples[: 20 * rate], rate)
    scene = Sound("scene", "", (5.0, 15.0), path=tmp_path / "scene.wav")
    some = Sounds("some", "1", [scene, *(Sound(f"q{k}", "rain", samples=hiss(10, k)) for k in range(3))])
    file = JudgedFile.read(model)
    heard: list[float] = []
    apart = evaluate(file, some, processes=2, progress=heard.append)
    assert apart.metrics == evaluate(file, some).metrics
    assert apart.listened[0].sound is scene
    assert heard == [20, 30, 40, 50]
    (tmp_path / "scene.wav").write_bytes(b"no sound")
    with pytest.raises(SourceError, match=r"scene\.wav"):
        evaluate(file, some, processes=2)


@pytest.mark.data
def test_the_events_are_those_that_replay_prints_and_the_sweep_finds_the_same(model: Path, tmp_path: Path) -> None:
    samples, rate, annotations = demo_scene()
    path = tmp_path / "scene.wav"
    soundfile.write(path, samples, rate, subtype="PCM_24")
    shots = tuple(onset for one in annotations if one.shot for onset in one.onsets_s)
    sound = Sound("scene", "", shots, path=path, distance_m=50.0)
    loaded = load(model, verify=False)
    lines = list(replay(path, loaded, DetectionSettings()))
    heard = listen(loaded, sound, DetectionSettings(), "gun_shot")
    assert [(round(one.onset_s, 4), one.shots) for one in heard.events] == [(x["onset_s"], x["shots"]) for x in lines]
    quiet = Sound("quiet", "rain", samples=hiss(60))
    found = evaluate(JudgedFile.read(model), Sounds("scene", "1", [sound, quiet])).metrics
    assert found.shipped.recalls.all.value == 1
    assert found.shipped.recalls.all.bursts == 3
    assert found.recall_at(3).recalls.by_distance[0].value == 1
    assert found.model.size_bytes == model.stat().st_size
    assert found.model.graph_sha256 != "0" * 64
