"""A backbone on disk: a network from the patch on, the names of its classes, and whose network it is.

It is a ``.tflite`` with outputs ``embedding`` [1, D] and ``context`` [1, C], to which a ZIP is appended as TFLite
Metadata does it (``unzip -l`` lists it): ``labels.txt``, a class a line; ``backbone.json`` with the SHA-256 of
the file that the network was cut out of (that SHA-256 is the network's name: a head says on which one it was trained)
and the licence, where what the network learned from forbids something;
and ``heard.json``, where the network itself has learned from recordings that heads are trained on, too: which clips.

Google's waveform-in ``yamnet.tflite`` and whole model files hold a backbone, too: ``open_backbone`` takes all three.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converters.flatbuffer import GraphError
from converters.yamnet import Cut, cut
from edge.detection import model_file
from edge.detection.appended_zip import tail
from edge.detection.model_file import ModelFileError
from edge.detection.waveform_yamnet import read_labels

LABELS, ORIGIN, HEARD = "labels.txt", "backbone.json", "heard.json"
NETWORK, LICENCE = "network_sha256", "licence"
"""What `ORIGIN` may say."""
_MAX_ORIGIN_BYTES = 4096
_MAX_HEARD_BYTES = 16 << 20
HEARD_DIGITS = 8
"""Of a clip's SHA-256; enough to know it again."""


@dataclass(frozen=True)
class Backbone:
    """A graph that holds a network, whatever stands before and behind it."""

    graph: bytes
    classes: tuple[str, ...]
    """What the rows of its classifier are; empty where it has none."""
    sha256: str
    """The network's name: of the file that it first came from."""
    heard: frozenset[str] = frozenset()
    """The first `HEARD_DIGITS` digits of the SHA-256 of each clip that the network itself has learned from; empty where
    that is not known, or long ago and elsewhere, as with Google's."""
    licence: str = ""
    """As a model file says it; empty where the file says nothing."""

    def cut(self, context: Sequence[str] = ()) -> Cut:
        """The network alone, with the scores of these classes. Raises GraphError where one is not known."""
        if unknown := [label for label in context if label not in self.classes]:
            raise GraphError(f"the backbone knows no class {unknown[0]!r}")
        return cut(self.graph, [self.classes.index(label) for label in context])


def open_backbone(content: bytes, name: str = "the backbone") -> Backbone:
    """The network in a backbone's file, in Google's ``yamnet.tflite``, or in a whole model file.

    Raises:
        GraphError: none of the three.
    """
    try:
        if model_file.has_manifest(content):
            whole = model_file.parse(content, name)
            sha256 = whole.manifest.backbone_sha256 or whole.sha256
            manifest = whole.manifest
            heard = frozenset(manifest.backbone_heard)
            found = Backbone(whole.graph, tuple(manifest.context_labels), sha256, heard, manifest.licence)
        else:
            labels = tuple(read_labels(content, name)) if zipfile.is_zipfile(io.BytesIO(content)) else ()
            origin = _origin(content, name)
            sha256 = origin.get(NETWORK) or hashlib.sha256(content).hexdigest()
            found = Backbone(content, labels, sha256, _heard(content, name), origin.get(LICENCE, ""))
    except ModelFileError as error:
        raise GraphError(str(error)) from error
    try:
        count = len(found.cut().class_biases)
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from error
    if count != len(found.classes):
        raise GraphError(f"{name} names {len(found.classes)} classes, its classifier has {count}")
    return found


def pack_backbone(
    network: Cut, classes: Sequence[str], sha256: str | None = None, heard: Iterable[str] = (), licence: str = ""
) -> bytes:
    """The bytes of a backbone's file. ``network`` gives the scores of ``classes``, in this order, as its context.

    ``sha256``: the network's name, where it was cut out of another file; without it, the new file's own. ``heard``: the
    SHA-256 (hex) of each clip that the network itself has learned from, or its first digits.
    ``licence``: of what the network learned from, where that is to be said.
    """
    graph = network.pack()
    members = {LABELS: "".join(f"{label}\n" for label in classes).encode()}
    if told := {name: value for name, value in ((NETWORK, sha256), (LICENCE, licence)) if value}:
        members[ORIGIN] = json.dumps(told).encode()
    if clips := sorted({digest[:HEARD_DIGITS] for digest in heard}):
        members[HEARD] = json.dumps(clips).encode()
    return graph + tail(len(graph), members)


def _origin(content: bytes, name: str) -> dict[str, str]:
    """What `ORIGIN` says; nothing where there is none."""
    found = _member(content, ORIGIN, _MAX_ORIGIN_BYTES, name)
    if found is None:
        return {}
    try:
        said = json.loads(found)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{name}: {ORIGIN} cannot be read: {error}") from error
    if not isinstance(said, dict):
        said = {}
    told = {key: said[key] for key in (NETWORK, LICENCE) if isinstance(said.get(key), str)}
    if not told or len(told.get(NETWORK, "0" * 64)) != 64:
        raise GraphError(f"{name}: {ORIGIN} does not say whose network this is")
    return told


def _heard(content: bytes, name: str) -> frozenset[str]:
    try:
        clips = json.loads(_member(content, HEARD, _MAX_HEARD_BYTES, name) or b"[]")
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{name}: {HEARD} cannot be read: {error}") from error
    if not isinstance(clips, list) or any(not isinstance(one, str) or len(one) != HEARD_DIGITS for one in clips):
        raise GraphError(f"{name}: {HEARD} is no list of clips")
    return frozenset(clips)


def _member(content: bytes, member: str, most_bytes: int, name: str) -> bytes | None:
    """A member of the ZIP behind the graph, or the beginning of a longer one; None without it. Raises GraphError."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if member not in archive.namelist():
                return None
            with archive.open(member) as file:
                return file.read(most_bytes)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise GraphError(f"{name}: {member} cannot be read: {error}") from error
