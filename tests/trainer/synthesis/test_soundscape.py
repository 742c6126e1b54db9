"""Made soundscapes: their events stand where and as strong as the annotations say, and the commands say what is
wrong."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from trainer.data.licences import OWN
from trainer.data.sources import find
from trainer.synthesis.commands import app
from trainer.synthesis.guns import KINDS
from trainer.synthesis.sound_file import safely, write_sound
from trainer.synthesis.sounds import SOUNDS
from trainer.synthesis.soundscape import APART_S, OTHERS, DoNotFitError, in_band, loudest, soundscape

RATE = 16_000


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_soundscape_holds_as_many_events_as_asked_in_order_and_apart(rate_hz: int) -> None:
    samples, events = soundscape(40, rate_hz, np.random.default_rng(1), shots_per_min=6, others_per_min=4.5)
    assert samples.dtype == np.float32
    assert len(samples) == 40 * rate_hz
    assert np.abs(samples).max() <= 1
    assert sum(event.shot for event in events) == 4
    assert sum(not event.shot for event in events) == 3
    for before, after in itertools.pairwise(events):
        assert before.end_s + APART_S <= after.onset_s
    for event in events:
        assert event.shot == (event.label == "gun_shot") == (event.sound in KINDS)
        assert 0 <= event.onset_s == event.onsets_s[0] <= event.onsets_s[-1] < event.end_s <= 40
        assert 0 <= event.snr_db <= 30
        assert 30 <= event.distance_m <= 800


def test_a_seed_gives_the_same_soundscape_and_another_seed_another() -> None:
    first, again, other = (soundscape(20, RATE, np.random.default_rng(seed), 3, 3) for seed in (1, 1, 2))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_an_event_stands_as_far_over_its_ambience_as_annotated(snr_db: float) -> None:
    hiss = (0.003 * np.random.default_rng(3).standard_normal(20 * RATE)).astype(np.float32)
    options = {"snr_db": (snr_db, snr_db), "ambience": hiss}
    with_shot, (event,) = soundscape(20, RATE, np.random.default_rng(5), 3, 0, **options)  # type: ignore[arg-type]
    at, end = round(event.onset_s * RATE), round(event.end_s * RATE)
    quiet = np.sqrt(np.mean(np.square(in_band(hiss.astype(np.float64), RATE))))
    strong = loudest(in_band(with_shot[at : end + RATE // 4].astype(np.float64), RATE), RATE)
    # The ambience is in the loudest piece too.
    assert 20 * np.log10(strong / quiet) == pytest.approx(10 * np.log10(1 + 10 ** (snr_db / 10)), abs=1.0)


def test_every_shot_of_a_burst_is_annotated_where_it_begins() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    bursts = 0
    for seed in range(12):
        samples, (event,) = soundscape(12, RATE, np.random.default_rng(seed), 5, 0, ambience=silence)
        bursts += len(event.onsets_s) > 1
        assert event.snr_db == float("inf")
        first = round(event.onset_s * RATE)
        assert not samples[: first - 1].any()
        assert np.abs(samples[first : first + 160]).max() > 0
    assert bursts >= 1


def test_short_ambience_is_repeated_without_a_seam() -> None:
    tone = (0.1 * np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    samples, _ = soundscape(9, RATE, np.random.default_rng(0), 0, 0, ambience=tone)
    assert np.abs(np.diff(samples)).max() < 2 * np.abs(np.diff(tone)).max()
    assert np.sqrt(np.mean(np.square(samples))) > 0.05


def test_what_does_not_fit_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DoNotFitError, match=r"60 events need \d+ s .* there are 60 s: ask for fewer"):
        soundscape(60, RATE, np.random.default_rng(0), 60, 0)


def test_hard_negatives_hold_no_fireworks_and_nothing_that_lasts() -> None:
    assert all(SOUNDS[name].impulsive and SOUNDS[name].label != "fireworks" for name in OTHERS)


def test_the_command_writes_a_soundscape_and_what_stands_in_it(tmp_path: Path) -> None:
    out = tmp_path / "forest.flac"
    code, said = run("soundscape", out, "--seconds", 20, "--rate-hz", RATE, "--seed", 4, "--shots-per-min", 6)
    assert code == 0, said
    assert "annotated in forest.json and forest.csv" in said
    assert soundfile.info(out).frames == 20 * RATE
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["seed"] == 4
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert [float(row["onset_s"]) for row in rows] == [event["onset_s"] for event in document["events"]]
    assert {row["label"] for row in rows} >= {"gun_shot"}
    first = out.read_bytes()
    code, said = run("soundscape", out, "--seconds", 20, "--rate-hz", RATE, "--seed", 4, "--shots-per-min", 6)
    assert code == 1
    assert "exists already" in said
    again = ("--overwrite", "--seconds", 20, "--rate-hz", RATE, "--seed", 4, "--shots-per-min", 6)
    assert run("soundscape", out, *again)[0] == 0
    assert out.read_bytes() == first


def test_the_command_writes_shots_where_it_says(tmp_path: Path) -> None:
    out = tmp_path / "extracted_audio" / "gun_shot" / "shot.wav"
    out.parent.mkdir(parents=True)
    code, said = run("shot", out, "--kind", "pistol", "--shots", 3, "--interval-s", 0.25, "--distance-m", 60)
    assert code == 0, said
    samples, rate = soundfile.read(out)
    (event,) = json.loads(out.with_suffix(".json").read_text())["events"]
    assert event["onsets_s"] == [1.0, 1.25, 1.5]
    assert event["distance_m"] == 60
    assert event["snr_db"] is None
    assert not samples[: rate - 1].any()
    assert np.abs(samples).max() == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    (found,) = find(tmp_path).files
    assert (found.label, found.recording, found.licence) == ("gun_shot", "shot-1", "own")


def test_the_command_mixes_into_a_recording_of_any_rate(tmp_path: Path) -> None:
    write_sound(tmp_path / "bed.wav", 0.01 * np.random.default_rng(0).standard_normal(44_100), 44_100)
    out = tmp_path / "mixed.wav"
    code, said = run("soundscape", out, "--seconds", 6, "--rate-hz", 8000, "--ambience", tmp_path / "bed.wav",
                     "--shots-per-min", 10, "--others-per-min", 0, "--kind", "rifle")  # fmt: skip
    assert code == 0, said
    assert soundfile.info(out).samplerate == 8000
    code, said = run("soundscape", out, "--overwrite", "--ambience", tmp_path / "mixed.json")
    assert code == 1
    assert "mixed.json is not a sound file" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shot", "x.mp3"), "x.mp3: sound is written as .wav or .flac"),
        (("shot", "missing/x.wav"), "there is no folder"),
        (("shot", "x.wav", "--kind", "cannon"), "--kind cannon: there are pistol, rifle, shotgun"),
        (("soundscape", "x.wav", "--kind", "cannon"), "--kind cannon: there are pistol, rifle, shotgun"),
        (("soundscape", "x.wav", "--other", "ufo"), "--other ufo: there are wind, "),
        (("soundscape", "x.wav", "--snr-db", "20", "0"), "--snr-db 20 0: two numbers in order"),
        (("soundscape", "x.wav", "--distance-m", "0", "10"), "--distance-m 0 10: two numbers in order"),
        (("soundscape", "x.wav", "--seconds", "5", "--shots-per-min", "60"), "ask for fewer"),
        (("soundscape", "x.wav", "--ambience", "none.wav"), "none.wav"),
        (("sound", "x.wav", "ufo"), "NAME ufo: there are wind, "),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(*arguments)
    assert code == 1
    assert said in output
    assert output.startswith(f"ecosight-trainer synth {arguments[0]}: ")
    assert not list(tmp_path.iterdir())


def test_one_sound_is_written_alone_and_all_are_listed(tmp_path: Path) -> None:
    code, said = run("sound", tmp_path / "clap.flac", "clapping", "--seconds", 1)
    assert code == 0, said
    assert soundfile.info(tmp_path / "clap.flac").duration == pytest.approx(1)
    noted = json.loads((tmp_path / "clap.json").read_text())
    assert noted["licence"] == OWN, "without one, it could not be learned from"
    assert [(event["sound"], event["shot"], event["end_s"]) for event in noted["events"]] == [("clapping", False, 1.0)]
    code, said = run("sounds")
    assert code == 0
    assert len(said.splitlines()) == len(SOUNDS)


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("before")
    with pytest.raises(OSError, match="No space") as raised, safely(path) as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device", str(partial))
    assert raised.value.filename == str(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
