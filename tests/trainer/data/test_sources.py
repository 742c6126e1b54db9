"""What lies in a folder of recordings."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.audio.field_recording import record_field
from edge.settings import EdgeSettings
from tests.edge.delivery.clip_parts import RATE_HZ, Bench, noise
from tests.trainer.data.sounds import folder, sound, write
from trainer.data.licences import OWN
from trainer.data.sources import FolderError, find

HEADER = "path,source,label,recording,seconds,sample_rate,channels,licence,sha256\n"


def reasons(root: Path) -> dict[str, str]:
    return {one.path.name: one.reason for one in find(root).refused}


def test_the_folder_of_a_file_is_its_class(tmp_path: Path) -> None:
    folder(tmp_path, gun_shot=2, rain=1)
    for named in (tmp_path, tmp_path / "extracted_audio"):
        found = find(named, licence="CC0", site="north", source="mine")
        assert [(one.path.name, one.label) for one in found.files] == [
            ("gun_shot_0.wav", "gun_shot"),
            ("gun_shot_1.wav", "gun_shot"),
            ("rain_0.wav", "rain"),
        ]
        assert {(one.licence, one.site, one.source, one.recording) for one in found.files} == {
            ("CC0", "north", "mine", "")
        }
        assert found.refused == []


def test_a_folder_within_a_class_belongs_to_the_class(tmp_path: Path) -> None:
    write(tmp_path / "extracted_audio" / "rain" / "2026" / "may" / "a.wav", sound(1))
    assert [one.label for one in find(tmp_path).files] == ["rain"]


def test_everything_that_is_not_taken_is_listed_with_its_reason(tmp_path: Path) -> None:
    top = folder(tmp_path, rain=1) / "extracted_audio"
    write(top / "Gun Shot" / "a.wav", sound(1))
    write(top / "loose.wav", sound(1))
    (top / "wind").mkdir()
    (top / "rain" / "notes.docx").touch()
    (top / "rain" / "gone.wav").symlink_to(top / "nowhere.wav")
    os.mkfifo(top / "rain" / "pipe.wav")
    (top / "rain" / ".hidden.wav").touch()
    (top / "rain" / "readme.txt").touch()
    found = reasons(tmp_path)
    assert found.keys() == {"a.wav", "loose.wav", "Gun Shot", "wind", "notes.docx", "gone.wav", "pipe.wav"}
    assert "not of the form gun_shot" in found["a.wav"]
    assert "no folder that names its class" in found["loose.wav"]
    assert "an empty class" in found["wind"]
    assert "not a plain file" in found["pipe.wav"]
    assert len(find(tmp_path).files) == 1


def test_a_name_that_is_not_utf8_is_refused_and_any_other_taken(tmp_path: Path) -> None:
    top = tmp_path / "extracted_audio" / "rain"
    names = ["é 漢字.wav", "two\nlines.wav", "..a.wav", "a' OR 1=1;--.wav"]
    for name in names:
        write(top / name, sound(1))
    shutil.copy(top / names[0], os.fsencode(top) + b"/\xff\xfe.wav")
    found = find(tmp_path)
    assert sorted(one.path.name for one in found.files) == sorted(set(names) - {"..a.wav"})  # that one is hidden
    assert [one.reason for one in found.refused] == ["its name is not UTF-8; rename it"]


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_recordings_says_what_was_expected(tmp_path: Path, made: bool) -> None:
    root = tmp_path / "data"
    if made:
        root.mkdir()
    with pytest.raises(FolderError, match="extracted_audio/<class>" if made else "is not a folder"):
        find(root)


# --- with a list --------------------------------------------------------------------------------


def listed(root: Path, *rows: str) -> Path:
    (root / "MANIFEST.csv").write_text(HEADER + "\n".join(rows))
    return root


def test_a_list_is_used_where_there_is_one(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sound(1))
    write(tmp_path / "unlisted.wav", sound(2))
    listed(tmp_path, "a.wav,SESA,gun_shot,r1,2.0,16000,1,CC BY 4.0,AA")
    found = find(tmp_path, licence="CC0", source="mine")
    (one,) = found.files
    assert (one.label, one.recording, one.source, one.licence, one.sha256) == (
        "gun_shot",
        "r1",
        "SESA",
        "CC BY 4.0",
        "aa",
    )
    assert reasons(tmp_path) == {"unlisted.wav": "MANIFEST.csv does not list it"}


def test_a_list_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    write(tmp_path / "outside.wav", sound(1))
    write(root / "a.wav", sound(1))
    row = ",s,rain,r,2,16000,1,CC0,"
    listed(
        root, f"../outside.wav{row}", f"{tmp_path}/outside.wav{row}", f"missing.wav{row}", f"a.wav{row}", f"a.wav{row}"
    )
    found = find(root)
    assert [one.path.name for one in found.files] == ["a.wav"]
    assert [one.reason.partition("MANIFEST.csv ")[2] for one in found.refused] == [
        "leads out of the folder",
        "leads out of the folder",
        "lists it, but it is not there",
        "lists it twice",
    ]


def test_a_list_that_cannot_be_read_is_an_error_and_no_reason_to_guess(tmp_path: Path) -> None:
    folder(tmp_path, rain=1)
    (tmp_path / "MANIFEST.csv").write_text("path,label\nextracted_audio/rain/rain_0.wav,rain\n")
    with pytest.raises(FolderError, match="lacks the column 'source'"):
        find(tmp_path)


# --- what lies beside a file --------------------------------------------------------------------


def test_what_edge_record_wrote_names_recording_site_and_label(tmp_path: Path) -> None:
    location = write(tmp_path / "sound.wav", sound(1))
    settings = EdgeSettings.model_validate(
        {"site": "north", "device": "cedar", "audio": {"source": "file", "location": str(location), "pace": "fast"}}
    )
    path = record_field(settings, "gun_shot", 1.0, tmp_path / "field")
    (one,) = find(tmp_path / "field").files
    assert (one.label, one.recording, one.site, one.licence) == ("gun_shot", path.stem, "north", OWN)
    assert one.provenance == "recorded by north/cedar"


def test_the_clip_of_an_alert_is_the_recording_of_that_alert_whatever_class_it_was_put_into(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", clips={"free_floor_bytes": 0, "pre_roll_s": 1, "post_roll_s": 1, "max_s": 5})
    bench.play(noise(4 * RATE_HZ))
    bench.keeper.start()
    bench.whole_event("a1", 2 * RATE_HZ)
    bench.finish()
    clip = bench.outbox.clip("a1")
    assert clip is not None and clip.path is not None
    top = tmp_path / "data" / "extracted_audio" / "chainsaw"
    top.mkdir(parents=True)
    for ending in (".flac", ".json"):
        shutil.copy(Path(clip.path).with_suffix(ending), top)
    bench.outbox.close()
    (one,) = find(tmp_path / "data").files
    assert (one.label, one.recording, one.site, one.licence) == ("chainsaw", "a1", "forest", OWN)
    assert one.provenance == "alert of forest/oak"


def test_ones_own_description_names_what_it_knows(tmp_path: Path) -> None:
    path = write(tmp_path / "rain" / "a.wav", sound(1))
    path.with_suffix(".json").write_text(json.dumps({"recording": "tape 7", "licence": "CC0", "weather": "wet"}))
    (one,) = find(tmp_path, licence="MIT", site="south").files
    assert (one.recording, one.licence, one.site, one.label) == ("tape 7", "CC0", "south", "rain")


@pytest.mark.parametrize("content", [b"no json", b"[]", b'{"site": 7}', b"\xff"])
def test_a_description_that_cannot_be_read_keeps_the_file_out_and_says_so(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "rain" / "a.wav", np.ones(10, np.float32))
    path.with_suffix(".json").write_bytes(content)
    assert reasons(tmp_path)["a.wav"].startswith("a.json beside it cannot be read")
