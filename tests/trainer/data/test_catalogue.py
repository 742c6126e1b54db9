"""The catalogue, and how a folder comes into it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.interrupting import may_be_interrupted
from tests.trainer.data.sounds import folder, sound, write
from trainer.data.adding import Added, add
from trainer.data.catalogue import Catalogue, CatalogueError
from trainer.data.clip import Clip
from trainer.data.copies import Pair
from trainer.data.split import part_of
from trainer.lock import AlreadyRunningError

REPOSITORY = Path(__file__).resolve().parents[3]


def added(root: Path, catalogue: Path, processes: int = 1) -> Added:
    with Catalogue(catalogue, begin=True) as opened:
        return add(opened, root, licence="own", processes=processes)


def clips(catalogue: Path) -> list[Clip]:
    with Catalogue(catalogue) as opened:
        return opened.clips()


def pairs(catalogue: Path) -> list[Pair]:
    with Catalogue(catalogue) as opened:
        return opened.pairs(opened.entries())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_is_catalogued_once_and_kept_in_agreement(tmp_path: Path, processes: int) -> None:
    root, catalogue = folder(tmp_path / "data", gun_shot=2, rain=3), tmp_path / "catalogue"
    first = added(root, catalogue, processes)
    assert (first.new, first.changed, first.unchanged) == (5, 0, 0)
    (shot, *_) = clips(catalogue)
    assert shot.path == root / "extracted_audio" / "gun_shot" / "gun_shot_0.wav"
    assert (shot.label, shot.licence, shot.seconds, shot.sample_rate_hz, shot.source) == (
        "gun_shot",
        "own",
        2.0,
        16000,
        "data",
    )
    assert shot.recording == f"file-{shot.sha256[:16]}"
    again = added(root, catalogue, processes)
    assert (again.new, again.changed, again.unchanged) == (0, 0, 5)
    write(shot.path, sound(77))
    (root / "extracted_audio" / "rain" / "rain_0.wav").unlink()
    write(root / "extracted_audio" / "wind" / "a.wav", sound(78))
    third = added(root, catalogue, processes)
    assert (third.new, third.changed, third.unchanged) == (1, 1, 3)
    assert [path.name for path in third.gone] == ["rain_0.wav"]
    assert [clip.path.name for clip in clips(catalogue)] == [
        "gun_shot_0.wav",
        "gun_shot_1.wav",
        "rain_1.wav",
        "rain_2.wav",
        "a.wav",
    ]


def test_other_folders_stay_when_one_is_added(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    added(folder(tmp_path / "a", rain=2), catalogue)
    second = tmp_path / "b"
    write(second / "wind" / "x.wav", sound(50))
    assert added(second, catalogue).gone == []
    assert len(clips(catalogue)) == 3


def test_a_file_that_is_moved_to_another_class_keeps_its_part(tmp_path: Path) -> None:
    root, catalogue = folder(tmp_path / "data", rain=2), tmp_path / "catalogue"
    added(root, catalogue)
    before = clips(catalogue)[0]
    (root / "extracted_audio" / "wind").mkdir()
    before.path.rename(root / "extracted_audio" / "wind" / "named otherwise.wav")
    added(root, catalogue)
    after = next(clip for clip in clips(catalogue) if clip.label == "wind")
    assert after.recording == before.recording


def test_what_is_said_of_a_file_may_change_without_reading_it_again(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue"
    write(tmp_path / "data" / "a.wav", sound(1))
    manifest = tmp_path / "data" / "MANIFEST.csv"
    header = "path,source,label,recording,seconds,sample_rate,channels,licence,sha256\n"
    for label, recording in (("rain", "r1"), ("wind", "r2")):
        manifest.write_text(f"{header}a.wav,s,{label},{recording},2,16000,1,CC0,\n")
        assert added(tmp_path / "data", catalogue).refused == []
        (clip,) = clips(catalogue)
        assert (clip.label, clip.recording) == (label, recording)
    with Catalogue(catalogue) as opened:
        assert opened.entries()[0].number == 1


def test_a_file_that_is_not_what_the_list_says_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.wav", sound(1))
    header = "path,source,label,recording,seconds,sample_rate,channels,licence,sha256\n"
    (tmp_path / "data" / "MANIFEST.csv").write_text(f"{header}a.wav,s,rain,r,2,16000,1,CC0,{'0' * 64}\n")
    result = added(tmp_path / "data", tmp_path / "catalogue")
    assert result.new == 0
    assert "not as listed" in result.refused[0].reason


def test_what_cannot_be_decoded_is_reported_remembered_and_never_fatal(tmp_path: Path) -> None:
    root, catalogue = folder(tmp_path / "data", rain=1), tmp_path / "catalogue"
    top = root / "extracted_audio" / "rain"
    (top / "empty.wav").touch()
    (top / "text.mp3").write_text("hello")
    write(top / "silent.wav", np.zeros(16000, np.float32))
    write(top / "nan.wav", np.full(16000, np.nan, np.float32), subtype="FLOAT")
    result = added(root, catalogue)
    assert result.new == 1
    assert {one.path.name for one in result.refused} == {"empty.wav", "text.mp3", "silent.wav", "nan.wav"}
    with Catalogue(catalogue) as opened:
        remembered = opened.refused()
    assert [Path(path).name for path, _ in remembered] == ["empty.wav", "nan.wav", "silent.wav", "text.mp3"]
    assert [reason.split(" (")[0] for _, reason in remembered][:2] == [
        "is empty",
        "100 % of its samples are no numbers",
    ]
    write(top / "empty.wav", sound(9))
    assert added(root, catalogue).new == 1
    with Catalogue(catalogue) as opened:
        assert len(opened.refused()) == 3


def test_a_file_that_becomes_unreadable_leaves_the_catalogue(tmp_path: Path) -> None:
    root, catalogue = folder(tmp_path / "data", rain=2), tmp_path / "catalogue"
    added(root, catalogue)
    (root / "extracted_audio" / "rain" / "rain_0.wav").write_bytes(b"damaged")
    assert [one.path.name for one in added(root, catalogue).refused] == ["rain_0.wav"]
    assert [clip.path.name for clip in clips(catalogue)] == ["rain_1.wav"]


def test_copies_are_one_recording_even_when_they_come_later(tmp_path: Path) -> None:
    root, catalogue = tmp_path / "data", tmp_path / "catalogue"
    originals = [sound(seed, 4.0) for seed in range(4)]
    for number, one in enumerate(originals):
        write(root / "rain" / f"{number}.wav", one)
    added(root, catalogue)
    before = {clip.path.name: part_of(clip.recording) for clip in clips(catalogue)}
    for number, one in enumerate(originals):
        write(root / "rain" / f"copy of {number}.mp3", one[9_000:] / 3, 16000)
    soundfile.write(root / "rain" / "same.flac", soundfile.read(root / "rain" / "0.wav", dtype="int16")[0], 16000)
    added(root, catalogue)
    of = {clip.path.name: clip.recording for clip in clips(catalogue)}
    for number in range(4):
        assert of[f"{number}.wav"] == of[f"copy of {number}.mp3"]
    assert "same.flac" not in of  # an exact copy is used once
    assert all(part_of(of[name]) == "test" for name, part in before.items() if part == "test")


def test_the_same_sound_under_two_labels_is_left_out_until_one_goes(tmp_path: Path) -> None:
    root, catalogue = folder(tmp_path / "data", rain=2), tmp_path / "catalogue"
    other = root / "extracted_audio" / "gun_shot" / "that one.wav"
    write(other, sound(1)[2000:])
    added(root, catalogue)
    (pair,) = pairs(catalogue)
    assert pair.is_conflict and not pair.exact
    assert {pair.one.clip.path.name, pair.other.clip.path.name} == {"that one.wav", "rain_0.wav"}
    assert [clip.path.name for clip in clips(catalogue)] == ["rain_1.wav"]
    other.unlink()
    added(root, catalogue)
    assert [clip.path.name for clip in clips(catalogue)] == ["rain_0.wav", "rain_1.wav"]


ADD = """
import sys
from pathlib import Path
from trainer.data import adding
from trainer.data.catalogue import Catalogue, CatalogueError
adding.COMMIT_EVERY = 2
if __name__ == "__main__":
    def tell(what, done, total):
        print(what, done, flush=True)
    try:
        with Catalogue(Path(sys.argv[2]), begin=True) as opened:
            adding.add(opened, Path(sys.argv[1]), processes=1, progress=tell)
    except (CatalogueError, OSError) as error:
        print("ERROR", error)
"""


def adding_process(root: Path, catalogue: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", ADD, str(root), str(catalogue)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        preexec_fn=may_be_interrupted,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_adding_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path, number: signal.Signals) -> None:
    root, catalogue = folder(tmp_path / "data", rain=30), tmp_path / "catalogue"
    process = adding_process(root, catalogue)
    assert process.stdout is not None
    while process.stdout.readline() != "reading 11\n":
        pass
    process.send_signal(number)
    process.communicate()
    with Catalogue(catalogue) as opened:
        kept = len(opened.entries())
        assert kept >= 10
        with pytest.raises(CatalogueError, match="run `ecosight-trainer data add` again"):
            opened.clips()
    rest = added(root, catalogue)
    assert (rest.new, rest.unchanged) == (30 - kept, kept)
    assert len(clips(catalogue)) == 30


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    root, catalogue = folder(tmp_path / "data", rain=200), tmp_path / "catalogue"
    process = adding_process(root, catalogue)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(AlreadyRunningError, match=rf"already running.*data add .*process {process.pid}"):
        added(root, catalogue)
    process.kill()
    process.communicate()


def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", rain=40)
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=72k tmpfs {small}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    kept = tmp_path / "kept.sqlite3"
    script = f'{mount} && "$0" -c "$1" {root} {small}; cp {small}/catalogue.sqlite3 {kept}'
    done = subprocess.run([*own_disk, script, sys.executable, ADD], capture_output=True, text=True, cwd=REPOSITORY)
    assert "ERROR" in done.stdout and "full" in done.stdout and "free some space" in done.stdout, done
    database = sqlite3.connect(kept)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    count = database.execute("SELECT count(*) FROM file").fetchone()[0]
    database.close()
    assert 0 < count < 40
    (tmp_path / "catalogue").mkdir()
    kept.rename(tmp_path / "catalogue" / "catalogue.sqlite3")
    rest = added(root, tmp_path / "catalogue")
    assert (rest.new, rest.unchanged) == (40 - count, count)


def test_a_damaged_or_newer_catalogue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CatalogueError, match="not a database; move it away"):
        Catalogue(tmp_path)
    path.unlink()
    with pytest.raises(CatalogueError, match="no catalogue in"):
        Catalogue(tmp_path)
    Catalogue(tmp_path, begin=True).__exit__()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(CatalogueError, match="version 99"):
        Catalogue(tmp_path)


def test_names_full_of_mischief_come_through_unchanged(tmp_path: Path) -> None:
    names = ["a' OR 1=1;--.wav", "two\nlines.wav", "é漢字🐘.wav", "-rf.wav", "%s%n.wav", "[bold]x[.wav"]
    for number, name in enumerate(names):
        write(tmp_path / "data" / "rain" / name, sound(number))
    assert added(tmp_path / "data", tmp_path / "catalogue").new == len(names)
    assert {clip.path.name for clip in clips(tmp_path / "catalogue")} == set(names)


@pytest.mark.data
def test_copies_are_found_among_public_recordings_too(data: Path, tmp_path: Path) -> None:
    """SESA's test part holds sound that its training part holds too; the explosions here are two such copies."""
    root = tmp_path / "data" / "extracted_audio"
    names = ("test/explosion/explosion_156", "train/explosion/explosion_065", "train/explosion/explosion_157")
    for name in names:
        target = root / "explosion" / f"{name.replace('/', '-')}.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "audio" / "sesa" / f"{name}.flac", target)
    added(tmp_path / "data", tmp_path / "catalogue")
    one, other, third = (clip.recording for clip in clips(tmp_path / "catalogue"))
    assert one == other != third
