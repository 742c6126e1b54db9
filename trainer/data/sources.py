"""What lies in a folder of recordings: with a ``MANIFEST.csv`` what that lists, else a folder per class.

    extracted_audio/<class>/*.{wav,mp3,ogg,flac}

Beside a file may lie a JSON of the same name that says more: what ``ecosight-edge record`` writes, what a device
writes beside the clip of an alert, or one's own with any of ``recording``, ``site``, ``licence``, ``label``. The name
of the folder is the label all the same: whoever moved the file there has listened to it.

Nothing is dropped in silence: what is no recording, or cannot be one, is listed with its reason.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.audio.recordings import SUFFIXES
from edge.delivery.evidence import Description
from trainer.data.decoding import one_line
from trainer.data.licences import OWN
from trainer.data.pack import MANIFEST, read_pack

LAYOUT = "extracted_audio"
LABEL = re.compile(r"[a-z0-9][a-z0-9_]{0,62}")
BESIDES = frozenset({".json", ".csv", ".md", ".txt"})
"""Files that may lie among recordings and are none."""


class FolderError(ValueError):
    """A folder that cannot be read as recordings at all. The text is for people."""


@dataclass(frozen=True)
class Found:
    """A file that may hold a recording, and what is known of it before it is opened."""

    path: Path
    """Absolute."""
    label: str
    source: str
    recording: str = ""
    """Empty: the file is a recording of its own."""
    licence: str = ""
    site: str = ""
    provenance: str = ""
    sha256: str = ""
    """What the file must have (hex); empty: not said."""


@dataclass(frozen=True)
class Refused:
    """A file, or a class, that nothing is learned from."""

    path: Path
    reason: str


@dataclass
class Folder:
    """All that was found in one."""

    root: Path
    files: list[Found] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


class Sidecar(BaseModel):
    """The JSON beside a recording, of ``ecosight-edge record`` or of one's own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str = ""
    recording: str = ""
    site: str = ""
    device: str = ""
    licence: str = ""
    software: str = ""


def find(root: Path, licence: str = "", site: str = "", source: str = "") -> Folder:
    """The recordings under ``root``. The other values are for files of which nothing else says them.

    Raises:
        FolderError: no folder, or neither a list nor a class in it.
    """
    root = Path(os.path.realpath(root))  # resolve() raises on links in a circle
    if not root.is_dir():
        raise FolderError(f"{one_line(root)} is not a folder")
    if not _is_utf8(root):
        raise FolderError(f"the name of {one_line(root)} is not UTF-8; rename it")
    folder = _listed(root) if (root / MANIFEST).is_file() else _by_class(root, source or root.name)
    folder.files = [
        replace(one, licence=one.licence or licence, site=one.site or site, source=one.source or source)
        for one in folder.files
    ]
    return folder


def _listed(root: Path) -> Folder:
    folder = Folder(root)
    try:
        clips = read_pack(root)
    except (OSError, KeyError, ValueError) as error:
        raise FolderError(str(error.args[0] if isinstance(error, KeyError) else error)) from error
    seen = set()
    for clip in clips:
        path = Path(os.path.normpath(clip.path))
        reason = ""
        if not path.is_relative_to(root):
            reason = f"{MANIFEST} leads out of the folder"
        elif path in seen:
            reason = f"{MANIFEST} lists it twice"
        elif not path.is_file():
            reason = f"{MANIFEST} lists it, but it is not there"
        elif not LABEL.fullmatch(clip.label):
            reason = f"its label {clip.label!r} is not of the form gun_shot (small letters, digits and underscores)"
        seen.add(path)
        if reason:
            folder.refused.append(Refused(path, reason))
            continue
        known = (clip.recording, clip.licence, clip.site, f"{MANIFEST} of {root.name}", clip.sha256.lower())
        folder.files.append(Found(path, clip.label, clip.source, *known))
    for path in _walk(root, folder):
        if path not in seen and path.suffix.lower() in SUFFIXES:
            folder.refused.append(Refused(path, f"{MANIFEST} does not list it"))
    return folder


def _by_class(root: Path, source: str) -> Folder:
    folder = Folder(root)
    top = root / LAYOUT if (root / LAYOUT).is_dir() else root
    for path in _walk(top, folder):
        parts = path.relative_to(top).parts
        label = parts[0] if len(parts) > 1 else ""
        if path.suffix.lower() not in SUFFIXES:
            if path.suffix.lower() not in BESIDES:
                folder.refused.append(Refused(path, "its ending is none of a sound file"))
            continue
        found, reason = _described(Found(path, label, source, provenance=f"folder {top.name}"))
        if reason:
            folder.refused.append(Refused(path, reason))
        else:
            folder.files.append(found)
    with_sound = {one.path.relative_to(top).parts[0] for one in folder.files}
    classes = sorted(one.name for one in os.scandir(top) if one.is_dir() and not one.name.startswith("."))
    for name in classes:
        if name not in with_sound:
            folder.refused.append(Refused(top / name, "an empty class: no recording in it"))
    if not folder.files and not folder.refused:
        raise FolderError(
            f"{one_line(root)} holds no recordings; expected {MANIFEST}, or {LAYOUT}/<class>/*.wav, .mp3, .ogg, .flac"
        )
    return folder


def _described(found: Found) -> tuple[Found, str]:
    """With what the JSON beside it says; or why it is refused."""
    if not _is_utf8(found.path):
        return found, "its name is not UTF-8; rename it"
    reason = ""
    try:
        found = _with_sidecar(found)
    except (OSError, ValueError) as error:
        reason = f"{found.path.with_suffix('.json').name} beside it cannot be read ({str(error).splitlines()[0]})"
    if not reason and not found.label:
        reason = "it lies in no folder that names its class"
    elif not reason and not LABEL.fullmatch(found.label):
        reason = f"its class {found.label!r} is not of the form gun_shot (small letters, digits and underscores)"
    return found, reason


def _with_sidecar(found: Found) -> Found:
    beside = found.path.with_suffix(".json")
    if not beside.is_file():
        return found
    content = beside.read_bytes()
    try:
        told = Description.model_validate_json(content)
        clip = told.clip
        who = f"{clip.site}/{clip.device}"
        return replace(found, recording=clip.alert_id, site=clip.site, licence=OWN, provenance=f"{told.kind} of {who}")
    except ValidationError:
        said = Sidecar.model_validate_json(content)
    ours = said.software.startswith("ecosight")
    recording = said.recording or (found.path.stem if ours else "")
    by = f"recorded by {said.site}/{said.device}" if ours else f"{found.provenance}, {beside.name}"
    licence = said.licence or (OWN if ours else "")
    label = found.label or said.label
    return replace(found, label=label, recording=recording, site=said.site, licence=licence, provenance=by)


def _is_utf8(path: Path) -> bool:
    try:
        return bool(os.fsencode(path).decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _walk(top: Path, folder: Folder) -> Iterator[Path]:
    """Every plain file below ``top`` in the order of names; what cannot be looked into is refused."""

    def failed(error: OSError) -> None:
        folder.refused.append(Refused(Path(error.filename or top), f"cannot be looked into: {error.strerror}"))

    for where, folders, names in os.walk(top, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith("."):
                continue
            if path.is_file():
                yield path
            else:
                folder.refused.append(Refused(path, "not a plain file, or a link that leads nowhere"))
