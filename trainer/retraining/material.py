"""What there is to learn from and to judge on: bucket → folder → catalogue → parts of the split."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.adding import add
from trainer.data.bucket import bucket_name, download
from trainer.data.catalogue import Catalogue, CatalogueError
from trainer.data.clip import Clip
from trainer.data.decoding import one_line
from trainer.data.labels import BACKGROUND, SHOT
from trainer.data.licences import OWN, split_by_licence
from trainer.data.split import part_of
from trainer.retraining.kept import digest_of
from trainer.retraining.pieces import LONGEST_S, in_pieces
from trainer.retraining.request import Licence, Request
from trainer.retraining.telling import Telling

DOWNLOADED = Path("recordings")
"""Where a bucket's recordings come to lie, if no folder is named."""


@dataclass(frozen=True)
class Material:
    """All recordings of the catalogue, in the order of paths."""

    learned: tuple[Clip, ...]
    """Training and validation: both are learned from, the threshold is set out of fold. None is long."""
    tested: tuple[Clip, ...]
    """Likewise."""
    sources: tuple[Clip, ...]
    """What is learned from as the catalogue has it: long recordings in one piece."""
    refused: int
    """Clips of the learned part that were left out, because their licence does not permit a model that ships."""
    catalogue: str
    """SHA-256 of all clips with their labels, recordings and licences."""
    recordings: tuple[str, ...]
    """All of them, in order."""
    folders: tuple[str, ...]

    @property
    def labels(self) -> Counter[str]:
        """Recordings of each label that are learned from."""
        return Counter(label for label, _ in {(clip.label, clip.recording) for clip in self.learned})


def gather(request: Request, telling: Telling) -> Material:
    """Raises BucketError, FolderError, CatalogueError, AlreadyRunningError, DecodingError, OSError."""
    folders = request.data or ((DOWNLOADED,) if request.bucket else ())
    if request.bucket:
        with telling.step("download"):
            transfer = download(folders[0], bucket_name(request.bucket), telling.progress)
            telling.say(f"{len(transfer.moved)} files came from {request.bucket}, {transfer.there} were there")
            telling.show("only in the folder, not in the bucket", [one_line(path) for path in transfer.only_here])
    with telling.step("catalogue"):
        clips = _catalogued(request, folders, telling)
        learned = [clip for clip in clips if part_of(clip.recording) != "test"]
        tested = [clip for clip in clips if part_of(clip.recording) == "test"]
        permitted = _permitted(learned, request.licence, telling)
        _tell_of_little(permitted, tested, telling)
        cut = in_pieces([*permitted, *tested], request.cache / "pieces", telling.progress)
        if cut.long:
            telling.note(f"{cut.long} recordings of more than {LONGEST_S:g} s were cut into {cut.pieces} pieces")
    lines = sorted(f"{clip.sha256} {clip.label} {clip.recording} {clip.licence}" for clip in clips)
    return Material(
        learned=tuple(clip for clip in cut.clips if part_of(clip.recording) != "test"),
        tested=tuple(clip for clip in cut.clips if part_of(clip.recording) == "test"),
        sources=tuple(permitted),
        refused=len(learned) - len(permitted),
        catalogue=digest_of(lines),
        recordings=tuple(sorted({clip.recording for clip in clips})),
        folders=tuple(map(str, folders)),
    )


def _catalogued(request: Request, folders: Sequence[Path], telling: Telling) -> list[Clip]:
    with Catalogue(request.catalogue, begin=bool(folders)) as catalogue:
        for folder in folders:
            licence = OWN if request.own else ""
            added = add(catalogue, folder, licence, processes=request.processes, progress=telling.progress)
            telling.say(f"{folder}: {added.new} new, {added.changed} changed, {added.unchanged} as they were")
            refused = [f"{one_line(one.path)}: {one.reason}" for one in added.refused]
            telling.show("not in the catalogue", refused)
            telling.show("gone from the folder, and from the catalogue", [one_line(path) for path in added.gone])
            if refused:
                telling.note(
                    f"{len(refused)} files of {folder.name} cannot be learned from; `ecosight-trainer data check` "
                    "names them"
                )
        entries = catalogue.entries()
        conflicts = {
            entry.number for pair in catalogue.pairs(entries) if pair.is_conflict for entry in (pair.one, pair.other)
        }
        if conflicts:
            telling.note(
                f"{len(conflicts)} files hold the same sound under different labels and are left out; "
                "`ecosight-trainer data check` names them"
            )
        clips = sorted(catalogue.clips(), key=lambda clip: clip.path)
        stale = [one_line(entry.clip.path) for entry in entries if entry.is_stale]
        if stale:
            raise CatalogueError(
                f"{len(stale)} recordings were changed or have gone since they were added, {stale[0]} first: add their "
                "folder again with `ecosight-trainer data add`"
            )
    return clips


def _permitted(clips: list[Clip], licence: Licence, telling: Telling) -> list[Clip]:
    if licence == "any":
        return clips
    permitted = {clip.path for some in split_by_licence(clips)[0].values() for clip in some}
    if refused := len(clips) - len(permitted):
        telling.note(f"{refused} clips are not learned from: their licence does not permit a model that ships")
    return [clip for clip in clips if clip.path in permitted]


def _tell_of_little(learned: Iterable[Clip], tested: Iterable[Clip], telling: Telling) -> None:
    there = {clip.label for clip in learned}
    if SHOT not in there and any(clip.label == SHOT for clip in tested):
        telling.note(f"all recordings of {SHOT} belong to the test part, which is never learned from: add more")
    if BACKGROUND not in there:
        telling.note(
            f"there is no ambience (label {BACKGROUND}) to learn from: sounds are learned as they are, without a "
            "forest around them; record some hours at your site"
        )
