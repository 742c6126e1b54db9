"""A benchmark of one's own: made, frozen, and scored on."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from tests.trainer.judging.judges import detector, loud
from tests.trainer.retraining.making import pack
from trainer.data.adding import add
from trainer.data.catalogue import Catalogue
from trainer.data.clip import Clip
from trainer.data.split import part_of
from trainer.judging.benchmark import digest_of, group_of, in_part, specs_of, write_sounds
from trainer.judging.commands import app
from trainer.judging.evaluate import evaluate
from trainer.judging.metrics import Metrics
from trainer.judging.scoring import score, score_document, score_rows
from trainer.judging.sounds import Sound, SoundError, Sounds, read_sounds
from trainer.learning.renderings import LEAD_S, TAIL_S


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of both parts, a city machine and something like a shot among them."""
    folder = tmp_path_factory.mktemp("benchmark") / "recordings"
    return pack(folder, gun_shot=(1, 2), rain=(1, 3), chainsaw=(1, 0), siren=(0, 1), explosion=(0, 1))


@pytest.fixture(scope="module")
def clips(data: Path) -> list[Clip]:
    with Catalogue(data.parent / "catalogue", begin=True) as catalogue:
        add(catalogue, data, processes=1)
        return catalogue.clips()


@pytest.fixture(scope="module")
def made(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Sounds:
    folder = tmp_path_factory.mktemp("made") / "benchmark"
    return write_sounds(specs_of(in_part(clips, "test")), folder, "a benchmark", 1)


def of(sounds: Sounds, label: str) -> list[Sound]:
    return [sound for sound in sounds if sound.label == label]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_shots_come_at_four_ratios_somewhere_in_their_clip_over_held_out_ambience(made: Sounds) -> None:
    shots = of(made, "gun_shot")
    assert sorted({shot.snr_db or 0.0 for shot in shots}) == [0, 5, 10, 20]
    assert len(shots) == 2 * 4
    for shot in shots:
        assert shot.path is not None
        samples, rate = soundfile.read(shot.path)
        assert rate == 16_000
        assert shot.onsets == (LEAD_S,)
        assert shot.somewhere_s == pytest.approx(len(samples) / rate - LEAD_S - TAIL_S)
        assert shot.lead_s == 0
        assert np.abs(samples).max() <= 1


def test_only_sounds_of_the_field_make_the_rate(made: Sounds) -> None:
    rated = {sound.label: sound.is_rated for sound in made}
    assert [label for label, counts in rated.items() if counts] == ["rain"]
    assert set(rated) == {"gun_shot", "rain", "siren", "explosion", "background"}


def test_groups_are_told_apart() -> None:
    labels = ["gun_shot", "background", "siren", "explosion", "dog_bark"]
    assert [group_of(label) for label in labels] == ["shots", "ambience", "city", "like shots", "field"]


def test_nothing_of_the_part_that_is_learned_from_is_in_it(made: Sounds, clips: list[Clip]) -> None:
    assert all(part_of(sound.recording) == "test" for sound in made)
    names = {clip.path for clip in in_part(clips, "test")}
    for spec in specs_of(in_part(clips, "test")):
        assert spec.path in names and set(spec.beds) <= names
    assert {part_of(clip.recording) for clip in in_part(clips, "train")} <= {"train", "validation"}
    assert len(in_part(clips, "all")) == len(clips)


def test_without_ambience_each_sound_comes_once_as_it_is(clips: list[Clip], tmp_path: Path) -> None:
    dry = [clip for clip in in_part(clips, "test") if clip.label != "background"]
    sounds = write_sounds(specs_of(dry), tmp_path, "dry", 1)
    shots = of(sounds, "gun_shot")
    assert len(shots) == 2
    assert all(shot.snr_db is None and shot.lead_s > 0 and shot.onsets[0] == shot.lead_s for shot in shots)


def test_it_goes_on_where_it_was_cut_off_and_is_frozen_once_made(clips: list[Clip], tmp_path: Path) -> None:
    specs = specs_of(in_part(clips, "test"))
    told: list[int] = []

    def stop(what: str, done: int, total: int) -> None:
        told.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sounds(specs, tmp_path, "a benchmark", 1, stop)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "sounds").iterdir()}
    assert len(times) == 3
    first = write_sounds(specs, tmp_path, "a benchmark", 1)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert first.version == digest_of(specs)[:12]
    assert write_sounds(specs, tmp_path, "a benchmark", 1).sha256() == first.sha256()
    with pytest.raises(SoundError, match="stays as it is; name another"):
        write_sounds(specs[:-1], tmp_path, "a benchmark", 1)


def test_two_that_are_made_of_the_same_are_the_same(made: Sounds, clips: list[Clip], tmp_path: Path) -> None:
    again = write_sounds(specs_of(in_part(clips, "test")), tmp_path, "a benchmark", 1)
    assert again.sha256() == made.sha256()
    other = specs_of(in_part(clips, "test"), seed=2)
    assert digest_of(other)[:12] != made.version


def test_a_score_has_a_row_for_each_rate_and_for_the_shipped_threshold(made: Sounds) -> None:
    found = score(evaluate(detector(loud), made, promised_per_hour=3.0))
    assert [row.at for row in found.rows] == ["10 per hour", "3 per hour", "1 per hour", "as it ships"]
    for row in found.rows:
        assert [one.snr_db for one in row.recalls.by_snr] == [20, 10, 5, 0]
        assert set(row.alarms) == {"field", "ambience", "city", "like shots"}
    shipped = found.rows[-1]
    metrics: Metrics = found.metrics
    assert shipped.alarms["field"].events == metrics.shipped.false_alarms.events
    assert shipped.alarms["field"].hours == pytest.approx(metrics.dataset.rated_hours)
    text = score_rows(found)
    assert "shots found" in text and "20 dB" in text and "ambience" in text and "promised 3 per hour" in text
    document = json.loads(json.dumps(score_document(found)))
    assert document["at"][0]["recall_by_snr_db"].keys() == {"20", "10", "5", "0"}


def test_the_command_makes_one_and_says_what_it_made(data: Path, tmp_path: Path) -> None:
    catalogue = data.parent / "catalogue"
    result = run("make", data, tmp_path / "b", "--catalogue", catalogue, "--processes", 1, "--part", "train")
    assert result.exit_code == 0, result.output
    sounds = read_sounds(tmp_path / "b")
    assert sounds.name == "benchmark of recordings (train)"
    assert f"{len(sounds.sounds)} sounds" in result.stdout
    again = run("make", data, tmp_path / "b", "--catalogue", catalogue, "--processes", 1, "--part", "test")
    assert again.exit_code == 1
    assert "stays as it is" in again.stderr


def test_the_commands_say_what_is_missing(tmp_path: Path) -> None:
    result = run("make", tmp_path / "none", tmp_path / "b", "--catalogue", tmp_path / "c")
    assert result.exit_code == 1 and "is not a folder" in result.stderr
    result = run("score", "no-such-version", tmp_path, "--models", tmp_path)
    assert result.exit_code == 1 and "no version" in result.stderr


def test_a_part_without_shots_is_named(data: Path, tmp_path: Path) -> None:
    folder = pack(tmp_path / "few", gun_shot=(2, 0), chainsaw=(0, 0))
    result = run("make", folder, tmp_path / "b", "--catalogue", tmp_path / "c", "--processes", 1)
    assert result.exit_code == 1
    assert "no recording labelled gun_shot belongs to the part 'test'" in " ".join(result.stderr.split())
