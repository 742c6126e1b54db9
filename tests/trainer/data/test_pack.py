"""A folder with a list of its recordings."""

from pathlib import Path

import pytest

from trainer.data.pack import read_pack

HEADER = "path,source,label,recording,seconds,sample_rate,channels,licence,sha256"
ROW = "rain/a.flac,own,rain,r1,5.0,16000,1,CC0,00"


def pack(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    (folder / "MANIFEST.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder


def test_a_row_becomes_a_clip(tmp_path: Path) -> None:
    (clip,) = read_pack(pack(tmp_path, HEADER + ",site", ROW + ",north"))
    assert (clip.path, clip.label, clip.recording) == (tmp_path / "rain" / "a.flac", "rain", "r1")
    assert (clip.seconds, clip.sample_rate_hz, clip.licence, clip.site) == (5.0, 16000, "CC0", "north")


def test_a_list_from_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert len(read_pack(pack(tmp_path, HEADER, ROW, encoding="utf-8-sig"))) == 1


def test_a_list_without_a_column_says_which(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="lacks the column 'recording'"):
        read_pack(pack(tmp_path, HEADER.replace("recording", "id"), ROW))


@pytest.mark.parametrize("row", [ROW.replace("5.0", "five"), "rain/a.flac,own"])
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(ValueError, match="line 3"):
        read_pack(pack(tmp_path, HEADER, ROW, row))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_pack(pack(tmp_path, HEADER, ROW, encoding="utf-16"))
