"""One file is the model: a ``.tflite`` that any interpreter opens, with a ZIP appended to it.

``unzip -l model.tflite`` lists ``manifest.json``, ``golden.npz`` and ``MODEL_CARD.md``. This module only reads and
writes the format; ``verify`` runs the golden vectors and ``model`` runs the graph.

Every byte counts: members are stored, not compressed, in one fixed order with one fixed header, so there is exactly
one file for given contents. Reading takes the members out, writes the file again and compares, which covers the
ZIP's own structure; ``contents_sha256`` in the manifest is the SHA-256 of that file with the digest's 64 digits
replaced by zeros, which covers the rest. Nothing is ever decompressed.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.audio.logmel import FRONT_END, WINDOW_SAMPLES, front_end_hash
from edge.delivery.messages import Identifier
from edge.detection.appended_zip import split, tail
from edge.detection.site_rules import BackgroundRule, VetoRule, log_odds, score_at

MANIFEST, GOLDEN, CARD = "manifest.json", "golden.npz", "MODEL_CARD.md"

# Far above anything that runs on the device; a file beyond them is refused before it is read.
MAX_FILE_BYTES = 64 << 20
MAX_MEMBER_BYTES = {MANIFEST: 1 << 20, GOLDEN: 8 << 20, CARD: 1 << 20}  # and their order in the file

HIGHEST_RAISED = 0.999
"""Highest score that a site's background may raise a threshold to."""

Label = Annotated[str, Field(min_length=1, max_length=80)]
Role = Literal["alert", "context", "privacy", "background"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClipDigits = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
"""The first digits of a clip's SHA-256."""


class ModelFileError(ValueError):
    """The file is no model that this device can use. The text is for a person."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class Decision(_Part):
    """When an alert label counts as heard; tuned on events, set again at every release."""

    threshold: float = Field(gt=0, lt=1)
    """A window at or above it is a hit."""
    release: float = Field(gt=0, lt=1)
    """Windows below it end the event; under the threshold, so that an event does not flicker."""
    hits: dict[str, int] = Field(min_length=1, max_length=32)
    """Required hits by hop in seconds (``{"0.24": 2, "0.48": 1}``)."""
    certain: float | None = Field(default=None, gt=0, lt=1)
    """A window at or above it needs no other hit: a near shot is told a hop earlier. None: never."""
    background: BackgroundRule | None = None
    """How the site's own background raises the threshold. None: not at all."""
    veto: VetoRule | None = None
    """How near a sound that was marked as false an event may be. None: nothing is marked."""

    @model_validator(mode="after")
    def _can_be_met(self) -> "Decision":
        if self.release > self.threshold:
            raise ValueError(f"release {self.release} is above threshold {self.threshold}")
        if self.certain is not None and self.certain < self.threshold:
            raise ValueError(f"certain {self.certain} is under threshold {self.threshold}")
        if self.background is not None and score_at(log_odds(self.threshold) + self.background.most) > HIGHEST_RAISED:
            raise ValueError(f"background.most lets the threshold rise over {HIGHEST_RAISED}: nothing would be heard")
        for hop, hits in self.hits.items():
            if re.fullmatch(r"0\.[0-9]{1,4}", hop) is None or not 0.01 <= float(hop) <= 0.96:
                raise ValueError(f"hits for hop {hop!r}: a hop is a decimal number of seconds from 0.01 to 0.96")
            if not 1 <= hits <= _most_hits(float(hop)):
                raise ValueError(f"{hits} hits at hop {hop} s: a shot allows 1 to {_most_hits(float(hop))}")
        return self

    def required_hits(self, hop_s: float) -> int:
        """Hits in a row that confirm an event at this hop.

        For a hop that the table does not hold, the span of sound that the nearest entry covers is kept, and
        never more are asked for than the windows that contain one shot.
        """
        nearest = min(self.hits, key=lambda hop: abs(float(hop) - hop_s))
        if abs(float(nearest) - hop_s) < 1e-6:
            return self.hits[nearest]
        span_s = (self.hits[nearest] - 1) * float(nearest)
        return min(_most_hits(hop_s), 1 + int(span_s / hop_s + 1e-9))


def _most_hits(hop_s: float) -> int:
    # A shot stands in 0.96 / hop windows, but at the rim of the first and the last it scores low: half of
    # them must do. That is two at 0.24 s; three would cost 0.24 s of latency and the weak shots.
    return max(1, int(0.96 / hop_s / 2 + 1e-9))


class Manifest(_Part):
    """``manifest.json``. Unknown fields are ignored: a later trainer may say more."""

    format_version: Literal[1] = 1
    name: Identifier
    version: Identifier
    labels: list[Label] = Field(min_length=1, max_length=2000)
    """What the columns of ``scores`` are."""
    roles: dict[Label, Role]
    """Of every label, and of context labels where they have one."""
    decisions: dict[Label, Decision] = {}
    """For each label whose role is ``alert``."""
    changes_alert_labels: bool = False
    """Its alert labels are others than those of the model before it, on purpose. Without this, a device that gets it
    over the air refuses it for that."""
    context_labels: list[Label] = Field(default=[], max_length=2000)
    """AudioSet classes that the columns of ``context`` are; empty where the graph has no such output."""
    speech_label: str | None = None
    """The label, among both lists, that the privacy gate reads; together with all whose role is ``privacy``."""
    score_kind: Literal["margin", "sigmoid", "softmax"] = "margin"
    """How scores were made. ``margin``: sigmoid of (logit minus the log-sum-exp of the others), scaled."""
    score_scale: float = Field(default=1.0, gt=0)
    """Divisor of the margin before the sigmoid."""
    sample_rate_hz: Literal[16000] = 16000
    window_s: float = WINDOW_SAMPLES / 16000
    hop_s: float = Field(default=0.24, gt=0, le=0.96)
    """Hop that the thresholds were tuned at."""
    front_end: dict[str, Any] = dict(FRONT_END)
    front_end_hash: Sha256 = front_end_hash()
    backbone_sha256: Sha256 | None = None
    """Of the file whose network this is (Google's ``yamnet.tflite``)."""
    backbone_heard: list[ClipDigits] = Field(default=[], max_length=50_000)
    """Clips that the network itself has learned from, if that is known: thresholds set on others hold."""
    training: dict[str, Any] = {}
    """Snapshot: sources, licences, recordings, seed."""
    metrics: dict[str, Any] = {}
    licence: str = "Apache-2.0"
    contents_sha256: Sha256 = "0" * 64
    """Digest of everything else in the file."""

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        known = set(self.labels) | set(self.context_labels)
        if len(set(self.labels)) != len(self.labels) or len(set(self.context_labels)) != len(self.context_labels):
            raise ValueError("a label stands twice")
        if unknown := sorted(set(self.roles) - known):
            raise ValueError(f"roles name unknown labels {unknown}")
        if missing := sorted(set(self.labels) - set(self.roles)):
            raise ValueError(f"labels without a role: {missing}")
        if not self.alert_labels:
            raise ValueError("no label has the role alert")
        if set(self.decisions) != set(self.alert_labels):
            raise ValueError(f"decisions are for {sorted(self.decisions)}, alert labels are {self.alert_labels}")
        if self.backbone_sha256 is None and any(one.veto is not None for one in self.decisions.values()):
            raise ValueError("a rule for vetoes needs backbone_sha256: embeddings of two networks must not be mixed")
        if self.speech_label is not None and self.speech_label not in known:
            raise ValueError(f"speech_label {self.speech_label!r} is not a label")
        return self

    @property
    def alert_labels(self) -> list[str]:
        return [label for label in self.labels if self.roles.get(label) == "alert"]

    @property
    def privacy_labels(self) -> list[str]:
        """Labels of voices: ``speech_label`` and all whose role is ``privacy``."""
        known = [*self.labels, *self.context_labels]
        return list(dict.fromkeys(x for x in known if x == self.speech_label or self.roles.get(x) == "privacy"))


class ModelFile:
    """The parts of a model file that was read and whose digest holds."""

    def __init__(self, graph: bytes, manifest: Manifest, golden: bytes | None, card: str, sha256: str) -> None:
        self.graph = graph
        """The ``.tflite`` alone."""
        self.manifest = manifest
        self.golden = golden
        """``golden.npz``; the golden vectors."""
        self.card = card
        self.sha256 = sha256
        """Of the whole file."""


def read(path: Path) -> ModelFile:
    """Read and check a model file.

    Raises:
        ModelFileError: unreadable, not this format, damaged anywhere, or made for another front end.
    """
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The file's bytes, if it is a file of a size that a model can have. Raises ModelFileError."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelFileError(f"{path} is not a file")
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path} has {size} bytes; a model has at most {MAX_FILE_BYTES}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelFileError(f"cannot read model {path}: {error.strerror or error}") from error


def parse(data: bytes, name: str = "model") -> ModelFile:
    """Like ``read``, from bytes; ``name`` is for messages."""
    found = split(data, MAX_MEMBER_BYTES)
    if found is None or MANIFEST not in found[1] or found[0][4:8] != b"TFL3":
        raise ModelFileError(f"{name} is not a model file, or is cut short or damaged; fetch it again")
    graph, members = found
    manifest_bytes = members[MANIFEST]
    try:
        manifest = Manifest.model_validate(json.loads(manifest_bytes))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelFileError(f"{name}: {MANIFEST}: {where + ': ' if where else ''}{first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}: {MANIFEST} is not JSON: {error}") from error
    blank = {**members, MANIFEST: manifest_bytes.replace(manifest.contents_sha256.encode(), b"0" * 64)}
    if manifest.contents_sha256 != _digest(graph, blank):
        raise ModelFileError(f"{name} is damaged: its digest does not match its contents; fetch it again")
    if dict(manifest.front_end) != dict(FRONT_END) or manifest.front_end_hash != front_end_hash():
        raise ModelFileError(f"{name} was made for another front end; install an EcoSight that implements it")
    try:
        card = members.get(CARD, b"").decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{name}: {CARD} is not UTF-8") from error
    return ModelFile(graph, manifest, members.get(GOLDEN), card, hashlib.sha256(data).hexdigest())


def build(graph: bytes, manifest: Manifest, golden: bytes | None, card: str) -> bytes:
    """The bytes of a model file; ``contents_sha256`` is filled in. Raises ModelFileError on parts too large."""
    blank = manifest.model_copy(update={"contents_sha256": "0" * 64})
    text = json.dumps(blank.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    members = {MANIFEST: text.encode()}
    if golden is not None:
        members[GOLDEN] = golden
    members[CARD] = card.encode()
    for member, content in members.items():
        if len(content) > MAX_MEMBER_BYTES[member]:
            raise ModelFileError(f"{member} has {len(content)} bytes; at most {MAX_MEMBER_BYTES[member]} are read")
    digest = _digest(graph, members)
    members[MANIFEST] = text.replace(f'"contents_sha256": "{"0" * 64}"', f'"contents_sha256": "{digest}"').encode()
    data = graph + tail(len(graph), members)
    parse(data)
    return data


def write(path: Path, graph: bytes, manifest: Manifest, golden: bytes | None, card: str) -> None:
    """Write a model file, by a temporary name beside it. Raises ModelFileError, OSError."""
    data = build(graph, manifest, golden, card)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(data)
    temporary.replace(path)


def has_manifest(data: bytes) -> bool:
    """Whether these are the bytes of a model file in this format, undamaged or not, rather than of a bare graph."""
    return MANIFEST.encode() in data[-4096:] or b"contents_sha256" in data


def _digest(graph: bytes, members: dict[str, bytes]) -> str:
    digest = hashlib.sha256(graph)
    digest.update(tail(len(graph), members))
    return digest.hexdigest()
