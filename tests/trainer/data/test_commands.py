"""``ecosight-trainer data``, as it is typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.servers.s3 import S3Server
from tests.trainer.data.sounds import folder, sound, write
from trainer.data.commands import app


def typed(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    return tmp_path / "catalogue"


def test_add_list_check_in_the_order_of_a_first_day(tmp_path: Path, catalogue: Path) -> None:
    root = folder(tmp_path / "data", gun_shot=3, rain=2)
    (root / "extracted_audio" / "rain" / "broken.wav").touch()
    done = typed("add", root, "--catalogue", catalogue, "--licence", "own", "--site", "north")
    assert done.exit_code == 0
    assert done.stdout.split() == ["new", "5", "changed", "0", "unchanged", "0", "refused", "1", "gone", "0"]
    assert "broken.wav: is empty (0 bytes)" in done.stderr
    listed = typed("list", "--catalogue", catalogue).stdout.splitlines()
    assert listed[0].split()[:4] == ["class", "clips", "recordings", "hours"]
    assert listed[1].split()[:3] == ["gun_shot", "3", "3"]
    files = typed("list", "--catalogue", catalogue, "--label", "rain").stdout
    assert files.count("\n") == 2 and "own  north" in files
    checked = typed("check", "--catalogue", catalogue)
    assert checked.exit_code == 1
    assert "ERROR: cannot be learned from (1)" in checked.stderr
    (root / "extracted_audio" / "rain" / "broken.wav").unlink()
    typed("add", root, "--catalogue", catalogue, "--licence", "own")
    assert typed("check", "--catalogue", catalogue).exit_code == 0


def test_scripts_get_one_json_document(tmp_path: Path, catalogue: Path) -> None:
    root = folder(tmp_path / "data", rain=2)
    (root / "extracted_audio" / "rain" / "a\nb.wav").touch()
    added = json.loads(typed("add", root, "--catalogue", catalogue, "--json").stdout)
    assert (added["new"], added["refused"][0]["path"][-8:]) == (2, "/a\nb.wav")
    clips = json.loads(typed("list", "--catalogue", catalogue, "--json").stdout)
    assert {clip["label"] for clip in clips} == {"rain"}
    assert {clip["part"] for clip in clips} <= {"train", "validation", "test"}
    checked = json.loads(typed("check", "--catalogue", catalogue, "--json").stdout)
    assert checked["counts"]["usable"] == 2
    assert list(checked["errors"]) == ["cannot be learned from"]


def test_check_names_both_files_of_a_contradiction(tmp_path: Path, catalogue: Path) -> None:
    root = tmp_path / "data"
    write(root / "rain" / "one.wav", sound(1))
    write(root / "wind" / "other.flac", sound(1) / 2)
    typed("add", root, "--catalogue", catalogue)
    done = typed("check", "--catalogue", catalogue)
    assert done.exit_code == 1
    assert f"{root}/rain/one.wav (rain) and {root}/wind/other.flac (wind)" in done.stderr
    assert "nothing to learn from" in done.stderr


def test_check_tells_of_copies_single_recordings_licences_and_files_that_changed(
    tmp_path: Path, catalogue: Path
) -> None:
    root = tmp_path / "data"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(root / "rain" / f"{name}.wav", sound(seed))
    write(root / "wind" / "d.wav", sound(3))
    typed("add", root, "--catalogue", catalogue, "--licence", "CC BY-NC 4.0")
    (root / "rain" / "c.wav").unlink()
    found = json.loads(typed("check", "--catalogue", catalogue, "--json").stdout)
    assert found["counts"] == {"files": 4, "usable": 3, "recordings": 3, "may be in a model that ships": 0}
    assert found["errors"] == {"changed or gone since it was added; add its folder again": [f"{root}/rain/c.wav"]}
    remarks = found["remarks"]
    assert remarks["copies, used once"] == [f"{root}/rain/a.wav and {root}/rain/b.wav"]
    assert remarks["classes with one recording, which cannot be learned and judged"] == ["wind"]
    assert remarks["licences that keep a clip out of a model that ships"] == ["3 x CC BY-NC 4.0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list",), "no catalogue in"),
        (("check",), "no catalogue in"),
        (("add", "nowhere"), "is not a folder"),
        (("add", "circle"), "is not a folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(
    tmp_path: Path, catalogue: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    done = typed(*arguments, "--catalogue", catalogue)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"ecosight-trainer data {arguments[0]}: ") and said in done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1


def test_a_folder_in_which_nothing_can_be_used_is_an_error(tmp_path: Path, catalogue: Path) -> None:
    (tmp_path / "data" / "rain").mkdir(parents=True)
    done = typed("add", tmp_path / "data", "--catalogue", catalogue)
    assert done.exit_code == 1
    assert "an empty class" in done.stderr and "nothing in" in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.data.adding.add", interrupted)
    done = typed("add", tmp_path, "--catalogue", catalogue)
    assert done.exit_code == 130
    assert done.stderr == "ecosight-trainer data add: interrupted; run it again to go on\n"


@pytest.mark.server
def test_upload_and_download(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "here", rain=2)
    environment = {
        "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_REGION": s3.region,
    }
    assert typed("upload", root, **environment).stdout.startswith("moved      2 (")
    done = typed("download", tmp_path / "there", "--json", **environment)
    assert len(json.loads(done.stdout)["moved"]) == 2
    refused = typed("download", tmp_path / "there", **{**environment, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert refused.exit_code == 1 and refused.stdout == ""
    assert refused.stderr.startswith("ecosight-trainer data download: the bucket")
