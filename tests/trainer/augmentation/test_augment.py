"""`augment`: named variants, the same for the same seed and content, and nothing dropped in silence."""

import csv
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from tests.trainer.data.sounds import folder, sound, write
from trainer.augmentation.augmenting import augment
from trainer.augmentation.commands import BESIDE, app
from trainer.augmentation.variants import ORIGINAL, VARIANTS, chosen, stem_for, variant_of
from trainer.data.sources import find

NAMES = (
    "original", "pitch_up", "pitch_down", "time_stretch_fast", "time_stretch_slow", "noise_light", "noise_medium",
    "volume_up", "volume_down", "combined_1", "combined_2",
)  # fmt: skip


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*.wav"))


def test_the_variants_are_the_eleven_of_their_names() -> None:
    assert tuple(VARIANTS) == NAMES
    assert len(VARIANTS) - 1 == BESIDE


def test_a_variant_is_what_its_name_says() -> None:
    waveform = sound(1, 1.0)
    made = {name: variant_of(name, waveform, 16_000, 1, "ab") for name in VARIANTS}
    assert np.array_equal(made["original"], waveform)
    assert len(made["time_stretch_fast"]) == round(16_000 / 1.1)
    assert len(made["time_stretch_slow"]) == round(16_000 / 0.9)
    assert len(made["combined_1"]) in (round(16_000 / 1.1), round(16_000 / 0.9))
    assert np.allclose(made["volume_up"], 1.2 * waveform)
    assert np.allclose(made["volume_down"], 0.8 * waveform)
    for name, part in (("noise_light", 0.002), ("noise_medium", 0.005)):
        assert np.std(made[name] - waveform) == pytest.approx(part * np.abs(waveform).max(), rel=0.05)
    for name in ("pitch_up", "pitch_down", "combined_2"):
        assert len(made[name]) == len(waveform)
        assert not np.allclose(made[name], waveform)


def test_five_are_chosen_by_seed_and_content_and_the_original_always() -> None:
    picks = {chosen(1, f"{number:064x}", 5)[1:] and tuple(chosen(1, f"{number:064x}", 5)) for number in range(50)}
    assert all(len(set(pick)) == 6 and pick[0] == ORIGINAL for pick in picks)
    assert len(picks) > 20
    assert {name for pick in picks for name in pick} == set(NAMES)
    assert chosen(1, "ab", 5) == chosen(1, "ab", 5)
    assert chosen(1, "ab", 10) == list(NAMES)
    assert chosen(1, "ab", 0) == [ORIGINAL]


def test_a_folder_by_class_gets_six_files_of_each_recording_and_a_list_of_whose_they_are(tmp_path: Path) -> None:
    folder(tmp_path, gun_shot=2, rain=1)
    code, said = run(tmp_path, "--out", tmp_path / "augmented_audio")
    assert code == 0, said
    assert "18 files of 3 recordings" in said
    made = files(tmp_path / "augmented_audio")
    assert len(made) == 18
    assert {"gun_shot/gun_shot_0_original.wav", "rain/rain_0_original.wav"} <= set(made)
    assert all(name.rsplit("/", 1)[1].split("_", 2)[2][:-4] for name in made)
    listed = find(tmp_path / "augmented_audio")
    assert not listed.refused
    assert len({found.recording for found in listed.files if found.label == "gun_shot"}) == 2


def test_the_same_seed_writes_the_same_bytes_whatever_the_order_and_the_names(tmp_path: Path) -> None:
    folder(tmp_path / "one", gun_shot=3)
    source = tmp_path / "one" / "extracted_audio" / "gun_shot"
    for number, name in enumerate(("z", "y", "x")):
        copy = tmp_path / "two" / "extracted_audio" / "gun_shot" / f"{name}.wav"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((source / f"gun_shot_{number}.wav").read_bytes())
    augment(tmp_path / "one", tmp_path / "a")
    augment(tmp_path / "two", tmp_path / "b")
    augment(tmp_path / "one", tmp_path / "c", seed=2)

    def contents(out: Path) -> list[bytes]:
        return sorted(path.read_bytes() for path in out.rglob("*.wav"))

    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


def test_a_variant_has_the_rate_of_its_recording_and_its_first_channel(tmp_path: Path) -> None:
    left = sound(1, 1.0, 44_100)
    write(tmp_path / "extracted_audio" / "rain" / "r.flac", np.stack([left, 0 * left], axis=1), 44_100)
    run(tmp_path, "--out", tmp_path / "out", "--variants", 0)
    samples, rate = soundfile.read(tmp_path / "out" / "rain" / "r_original.wav", dtype="float32")
    assert rate == 44_100
    assert samples.ndim == 1
    assert np.allclose(samples, left, atol=1e-4)


def test_all_means_all(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    code, said = run(tmp_path, "--out", tmp_path / "out", "--all")
    assert code == 0, said
    assert len(files(tmp_path / "out")) == 11


def test_a_folder_with_a_list_is_read_by_it(tmp_path: Path) -> None:
    write(tmp_path / "audio" / "deep" / "a.wav", sound(1))
    columns = "path,source,label,recording,seconds,sample_rate,channels,licence,sha256"
    (tmp_path / "MANIFEST.csv").write_text(f"{columns}\naudio/deep/a.wav,mine,gun_shot,tape-7,2,16000,1,CC0,\n")
    code, said = run(tmp_path, "--out", tmp_path / "out")
    assert code == 0, said
    rows = list(csv.DictReader((tmp_path / "out" / "MANIFEST.csv").open()))
    assert {(row["label"], row["recording"], row["licence"], row["source"]) for row in rows} == {
        ("gun_shot", "tape-7", "CC0", "mine")
    }


def test_what_cannot_be_decoded_is_named_and_left_out_and_the_rest_is_made(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    rain = tmp_path / "extracted_audio" / "rain"
    (rain / "text.wav").write_text("no sound")
    (rain / "empty.flac").touch()
    write(rain / "silent.wav", np.zeros(16_000, dtype=np.float32))
    write(rain / "long.flac", np.tile(sound(3, 1.0, 8000), 601), 8000)
    (rain / "notes.pdf").write_text("?")
    code, said = run(tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "6 files of 1 recording\n" in said
    assert "left out: 5" in said
    for name, reason in (("text.wav", "not a sound file"), ("empty.flac", ""), ("silent.wav", "is silent"),
                         ("long.flac", "10 minutes; variants"), ("notes.pdf", "its ending")):  # fmt: skip
        assert any(name in line and reason in line for line in said.splitlines()), name
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "name", ["with\nline.wav", "ünï 🦜.wav", "-rf.wav", "a:b*c?.wav", "tab\there.wav", f"{'é' * 120}.wav", "...wav"]
)
def test_a_hostile_name_becomes_a_plain_one_inside_the_folder(name: str, tmp_path: Path) -> None:
    write(tmp_path / "extracted_audio" / "rain" / "plain.wav", sound(1))
    (tmp_path / "extracted_audio" / "rain" / "plain.wav").rename(tmp_path / "extracted_audio" / "rain" / name)
    done = augment(tmp_path, tmp_path / "out", count=10)
    if name == "...wav":  # hidden: not looked at
        assert done.recordings == 0
        return
    made = list((tmp_path / "out").rglob("*_*.wav"))
    assert len(made) == 11
    assert {path.parent for path in made} == {tmp_path / "out" / "rain"}
    assert all(path.name.isprintable() and not path.name.startswith("-") for path in made)


def test_recordings_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    rain = tmp_path / "extracted_audio" / "rain"
    write(rain / "a.wav", sound(1))
    write(rain / "a.flac", sound(2))
    write(rain / "more" / "A.wav", sound(3))
    done = augment(tmp_path, tmp_path / "out")
    assert len(files(tmp_path / "out")) == done.variants == 18


def test_the_name_of_a_plain_recording_is_kept() -> None:
    assert stem_for(Path("gunshot_017.wav"), "ab" * 32, True) == "gunshot_017"
    assert stem_for(Path("gunshot_017.wav"), "ab" * 32, False) == "gunshot_017-abababab"


def test_another_run_keeps_the_list_of_what_is_still_there(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    out = tmp_path / "out"
    augment(tmp_path, out, seed=1, count=10)
    (out / "rain" / "rain_0_combined_1.wav").unlink()
    augment(tmp_path, out, seed=1, count=0)
    rows = list(csv.DictReader((out / "MANIFEST.csv").open()))
    assert len(rows) == 10
    assert not find(out).refused


def test_variants_of_variants_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    top = tmp_path / "extracted_audio"
    for out in (top / "augmented_audio", top, top / "rain"):
        code, said = run(top, "--out", out)
        assert code == 1
        assert "lies among the recordings" in said
    assert not (top / "augmented_audio").exists()


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    code, said = run(tmp_path / "nowhere")
    assert code == 1
    assert said == f"ecosight-trainer augment: {tmp_path / 'nowhere'} is not a folder\n"
    (tmp_path / "file").touch()
    code, said = run(tmp_path, "--out", tmp_path / "file")
    assert code == 1
    assert f"{tmp_path / 'file'}" in said
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MANIFEST.csv").write_text("a,b\n")
    code, said = run(tmp_path, "--out", tmp_path / "other")
    assert code == 1
    assert "lacks the column 'path'; it is no list of variants: choose another --out" in said


def test_a_disk_that_fills_up_stops_the_run_and_leaves_whole_files_only(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    write(tmp_path / "extracted_audio" / "rain" / "zz.wav", sound(9, 20.0))
    limit = 300_000  # between the two recordings' sizes at 24 bits
    ended = subprocess.run(
        [sys.executable, "-c", "from trainer.augmentation.commands import app; app()",
         str(tmp_path), "--out", str(tmp_path / "out")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "ecosight-trainer augment: " in ended.stderr
    assert "zz_original.wav: File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert all(soundfile.info(path).frames > 0 for path in (tmp_path / "out").rglob("*.wav"))
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert len(find(tmp_path / "out").files) == len(files(tmp_path / "out")) == 6


def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    folder(tmp_path, rain=3)
    one = augment(tmp_path, tmp_path / "one", processes=1)
    two = augment(tmp_path, tmp_path / "two", processes=2)
    assert (one.recordings, one.variants) == (two.recordings, two.variants)
    assert (tmp_path / "one" / "MANIFEST.csv").read_bytes() == (tmp_path / "two" / "MANIFEST.csv").read_bytes()
