"""A folder of recordings into a folder of their variants, with a list that says whose variants they are.

The list (``MANIFEST.csv``) is what the trainer reads: should somebody add the variants to a catalogue, they carry the
recording that they were made of, and never stand on the other side of a split from it.
"""

import csv
import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.audio.recordings import open_recording
from edge.audio.source import SourceError
from trainer.augmentation.variants import chosen, stem_for, variant_of
from trainer.data.decoding import DecodingError, inspect, one_line
from trainer.data.pack import MANIFEST, read_pack
from trainer.data.sources import FolderError, Found, Refused, find
from trainer.lock import only_one
from trainer.processes import Failure, over_processes
from trainer.progress import Progress
from trainer.synthesis.sound_file import safely, write_sound

LONGEST_S = 600.0
COLUMNS = ("path", "source", "label", "recording", "seconds", "sample_rate", "channels", "licence", "sha256", "site")
PROCESSES_FROM = 32
"""Recordings: for fewer it takes longer to start workers than to do the work."""


@dataclass
class Augmented:
    """What came of it."""

    recordings: int = 0
    variants: int = 0
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    found: Found
    out: Path
    alone: bool
    """No other recording of its class has its name."""
    seed: int
    count: int


def augment(
    root: Path,
    out: Path,
    seed: int = 1,
    count: int = 5,
    processes: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Augmented:
    """Write the original and ``count`` variants of every recording under ``root`` to ``out/<class>/``.

    What cannot be decoded, or is longer than `LONGEST_S`, is in ``refused``; everything else is made all the same. The
    same seed writes the same files again. Of ``processes``, None is one per core.

    Raises:
        FolderError: no recordings, or ``out`` lies among them.
        AlreadyRunningError: somebody else is writing there.
        OSError: it cannot be written; what was written before is whole, and listed.
        KeyboardInterrupt: likewise.
    """
    folder = find(root)
    out = Path(os.path.realpath(out))  # resolve() raises on links in a circle
    _keep_apart(folder.root, folder.files, out)
    done = Augmented(refused=folder.refused)
    with only_one(out, f"augment {root}"):
        names = Counter((one.label, stem_for(one.path, "", True).casefold()) for one in folder.files)
        work = [
            _Work(one, out, names[one.label, stem_for(one.path, "", True).casefold()] == 1, seed, count)
            for one in folder.files
        ]
        earlier = _listed(out)
        rows: list[dict[str, str]] = []
        many = len(work) >= PROCESSES_FROM or processes is not None
        try:
            for number, (item, outcome) in enumerate(over_processes(_make, work, processes if many else 1)):
                progress("variants", number, len(work))
                if not isinstance(outcome, Failure):
                    done.recordings += 1
                    done.variants += len(outcome)
                    rows += outcome
                elif isinstance(outcome.error, OSError):
                    raise outcome.error
                else:
                    done.refused.append(Refused(item.found.path, _why(item.found.path, outcome.error)))
            progress("variants", len(work), len(work))
        finally:
            _list(out, rows, earlier)
    return done


def _keep_apart(root: Path, files: list[Found], out: Path) -> None:
    """Or the next run would make variants of variants."""
    among = not (root / MANIFEST).is_file() and any(out.parent == one.path.parent.parent for one in files)
    if out == root or among or any(one.path.is_relative_to(out) for one in files):
        raise FolderError(f"--out {one_line(out)} lies among the recordings; choose a folder beside them")


def _make(work: _Work) -> list[dict[str, str]]:
    """The variants of one recording, and their rows of the list. Raises DecodingError, OSError."""
    found = work.found
    try:
        with open_recording(found.path) as recording:
            rate_hz, seconds = recording.sample_rate_hz, recording.duration_s
            if seconds > LONGEST_S:
                raise DecodingError(
                    f"{one_line(found.path)}: {seconds / 60:.0f} minutes; variants are made of clips of up to "
                    f"{LONGEST_S / 60:.0f}, cut it first"
                )
            inside = inspect(found.path)
            waveform = np.concatenate([np.empty(0, np.float32), *recording.blocks(10.0)])
    except SourceError:
        inspect(found.path)  # which says it better
        raise
    if found.sha256 and found.sha256 != inside.sha256:
        raise DecodingError(f"{one_line(found.path)}: its SHA-256 is not as {MANIFEST} lists it; fetch it again")
    folder = work.out / found.label
    folder.mkdir(parents=True, exist_ok=True)
    stem = stem_for(found.path, inside.sha256, work.alone)
    rows = []
    for name in chosen(work.seed, inside.sha256, work.count):
        sound = variant_of(name, waveform, rate_hz, work.seed, inside.sha256)
        path = folder / f"{stem}_{name}.wav"
        write_sound(path, sound, rate_hz)
        rows.append(
            {
                "path": f"{found.label}/{path.name}",
                "source": found.source,
                "label": found.label,
                "recording": found.recording or f"file-{inside.sha256[:16]}",
                "seconds": f"{len(sound) / rate_hz:.6f}",
                "sample_rate": str(rate_hz),
                "channels": "1",
                "licence": found.licence,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "site": found.site,
            }
        )
    return rows


def _listed(out: Path) -> list[dict[str, str]]:
    """The rows of earlier runs."""
    if not (out / MANIFEST).is_file():
        return []
    try:
        clips = read_pack(out)
    except (KeyError, ValueError) as error:
        raise FolderError(f"{error.args[0]}; it is no list of variants: choose another --out") from error
    rows = []
    for clip in clips:
        known = (str(clip.path.relative_to(out)), clip.source, clip.label, clip.recording, f"{clip.seconds:.6f}")
        values = (*known, str(clip.sample_rate_hz), "1", clip.licence, clip.sha256, clip.site)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _list(out: Path, rows: list[dict[str, str]], earlier: list[dict[str, str]]) -> None:
    """Write the list: these rows, and the earlier ones whose files are still there."""
    written = {row["path"] for row in rows}
    kept = [row for row in earlier if row["path"] not in written and (out / row["path"]).is_file()]
    with safely(out / MANIFEST) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: row["path"]))


def _why(path: Path, error: BaseException) -> str:
    if isinstance(error, DecodingError | SourceError):
        return str(error).replace(f"{one_line(path)}: ", "", 1).replace(f"{one_line(path)} ", "", 1)
    return f"cannot be worked on: {type(error).__name__}: {error}"
