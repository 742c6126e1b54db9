"""A folder of recordings with a list: ``MANIFEST.csv`` has a row per clip.

Its columns: path, source, label, recording (the split group: clips of one recording never stand on both sides),
seconds, sample_rate, channels, licence, sha256. Others are allowed, and ``site`` is read where it stands.
"""

import csv
from pathlib import Path

from trainer.data.clip import Clip

MANIFEST = "MANIFEST.csv"
COLUMNS = ("path", "source", "label", "recording", "seconds", "licence", "sha256")


def read_pack(folder: Path) -> list[Clip]:
    """All clips under ``folder``, in the order of ``MANIFEST.csv``, as it says; no file is opened.

    Raises:
        OSError: there is no such list.
        KeyError: it lacks a column.
        ValueError: it is no CSV in UTF-8, or a row's seconds are no number.
    """
    with (folder / MANIFEST).open(newline="", encoding="utf-8-sig") as file:
        try:
            table = csv.DictReader(file, strict=True)
            if missing := [column for column in COLUMNS if column not in (table.fieldnames or [])]:
                raise KeyError(f"{folder / MANIFEST} lacks the column {missing[0]!r}")
            return [_clip(folder, row, table.line_num) for row in table]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{folder / MANIFEST} cannot be read: {error}") from error


def _clip(folder: Path, row: dict[str, str | None], line: int) -> Clip:
    if any(row[column] is None for column in COLUMNS):
        raise ValueError(f"{folder / MANIFEST}, line {line}: fewer values than columns")
    text = {name: value for name, value in row.items() if isinstance(value, str)}
    try:
        seconds, rate = float(text["seconds"]), int(text.get("sample_rate") or 0)
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST}, line {line}: {error}") from error
    return Clip(
        path=folder / text["path"],
        source=text["source"],
        label=text["label"],
        recording=text["recording"],
        seconds=seconds,
        licence=text["licence"],
        sha256=text["sha256"],
        site=text.get("site", ""),
        sample_rate_hz=rate,
    )
