"""Recordings to and from a bucket, in the layout ``extracted_audio/<class>/…``.

What is there already, whole, is not sent again; a download that was cut off goes on where it stopped. Every object is
compared with its checksum before its file gets its name. Whatever fails ends the run: nobody trains on half of the new
data, or on the old, without having been told.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edge.audio.recordings import SUFFIXES
from trainer.data.decoding import one_line
from trainer.data.objects import AT_ONCE, PART, BucketError, Object, connect, get, listed, put, said_of
from trainer.data.sources import LAYOUT
from trainer.lock import only_one
from trainer.progress import Progress

MARK = ".ecosight"
"""Folder beside the recordings with the lock of who is downloading."""


@dataclass
class Transfer:
    """What came of it."""

    moved: list[str] = field(default_factory=list)
    """Keys that went over the network."""
    moved_bytes: int = 0
    there: int = 0
    """Objects that were there already, whole."""
    only_here: list[Path] = field(default_factory=list)
    """After a download: files of the folder that the bucket does not have. They stay."""


def bucket_name(given: str | None = None) -> str:
    """The bucket that is meant. Raises BucketError: none."""
    name = given or os.environ.get("S3_BUCKET", "")
    if not name:
        raise BucketError("no bucket is named: set S3_BUCKET, or give --bucket")
    return name


def upload(folder: Path, bucket: str, progress: Progress = lambda what, done, total: None) -> Transfer:
    """Put the recordings of ``folder``, and the JSONs beside them, into the bucket.

    Raises:
        BucketError: one of them could not be put; those before it are there.
    """
    top = _top(folder)
    if not top.is_dir():
        raise BucketError(f"{one_line(top)} is not a folder; expected {LAYOUT}/<class>/*.wav, .mp3, .ogg, .flac")
    files = [(path, f"{LAYOUT}/{path.relative_to(top).as_posix()}") for path in _local(top)]
    if not files:
        raise BucketError(f"{one_line(top)} holds nothing to upload; expected <class>/*.wav, .mp3, .ogg, .flac")
    client = connect()
    transfer = Transfer()
    stop = threading.Event()
    there = {one.key: one for one in listed(client, bucket, f"{LAYOUT}/")}

    def put_one(item: tuple[Path, str]) -> int:
        return put(client, bucket, *item, there.get(item[1]), stop)

    for (_, key), sent in _all(put_one, files, "uploading", progress, stop):
        _count(transfer, key, sent)
    return transfer


def download(folder: Path, bucket: str, progress: Progress = lambda what, done, total: None) -> Transfer:
    """Get every recording of the bucket into ``folder``.

    Raises:
        BucketError: one of them could not be had, or the bucket holds a key that would leave the folder, or none.
        AlreadyRunningError: another download into this folder runs.
    """
    client = connect()
    objects = listed(client, bucket, f"{LAYOUT}/")
    top = _top(folder)
    # Placeholders of folders, and what desktops leave in them, are no recordings.
    targets = [(one, _target(top, one.key)) for one in objects if not _is_hidden(one.key)]
    if hostile := [one.key for one, target in targets if target is None]:
        raise BucketError(
            f"the bucket {bucket} holds {len(hostile)} keys that would leave the folder, so nothing was downloaded: "
            f"{', '.join(map(repr, hostile[:5]))}; remove them"
        )
    wanted = [(one, target) for one, target in targets if target is not None]
    if not wanted:
        raise BucketError(f"the bucket {bucket} holds nothing under {LAYOUT}/; upload recordings first")
    transfer, stop = Transfer(), threading.Event()

    def get_one(item: tuple[Object, Path]) -> int:
        return get(client, bucket, *item, stop)

    try:
        with only_one(top.parent / MARK, f"data download {folder}"):
            for (one, _), came in _all(get_one, wanted, "downloading", progress, stop):
                _count(transfer, one.key, came)
            for left in top.rglob(f".*{PART}"):
                left.unlink()
            transfer.only_here = sorted(set(_local(top)) - {target for _, target in wanted})
    except OSError as error:
        raise BucketError(said_of(one_line(folder), error)) from error
    return transfer


def _top(folder: Path) -> Path:
    """The folder of the classes, whether it or the one around it was named."""
    folder = Path(os.path.realpath(folder))  # resolve() raises on links in a circle
    return folder if folder.name == LAYOUT else folder / LAYOUT


def _local(top: Path) -> list[Path]:
    """Recordings, and JSONs beside recordings."""
    files = [path for path in sorted(top.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    sound = {path for path in files if path.suffix.lower() in SUFFIXES}
    stems = {path.with_suffix("") for path in sound}
    return [path for path in files if path in sound or (path.suffix == ".json" and path.with_suffix("") in stems)]


def _is_hidden(key: str) -> bool:
    name = key.rpartition("/")[2]
    return name == "" or (name.startswith(".") and name.strip(".") != "")


def _target(top: Path, key: str) -> Path | None:
    """Where an object goes; None where its key would leave the folder."""
    parts = key.split("/")[1:]
    if not parts or any(part in ("", ".", "..") or "\0" in part for part in parts):
        return None
    target = top.joinpath(*PurePosixPath(*parts).parts)
    # A link in the folder itself must not lead out of it either.
    return target if target.parent.resolve().is_relative_to(top.resolve()) else None


def _all(
    move: Callable[[Any], int], items: Sequence[Any], what: str, progress: Progress, stop: threading.Event
) -> Iterator[tuple[Any, int]]:
    """Every item with the bytes that it moved, in order; the first that fails ends it all."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for number, (item, moved) in enumerate(zip(items, pool.map(move, items), strict=True)):
            progress(what, number + 1, len(items))
            yield item, moved
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _count(transfer: Transfer, key: str, moved: int) -> None:
    if moved:
        transfer.moved.append(key)
        transfer.moved_bytes += moved
    else:
        transfer.there += 1
