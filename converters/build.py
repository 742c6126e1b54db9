"""A whole model file from a backbone and a head, and both out of a model file again."""

import os
from collections.abc import Callable
from pathlib import Path

from converters.backbone_file import Backbone, open_backbone, pack_backbone
from converters.flatbuffer import GraphError
from converters.golden import golden
from converters.head import Head, append_head, head_of, in_steps
from converters.head_file import GUN_SHOT, About, Weights, load
from edge.detection import audioset, model_file
from edge.detection.graph import Graph
from edge.detection.model import PatchScorer
from edge.detection.model_file import Manifest, build, read_bytes
from edge.detection.verify import verify


def model_from_yamnet(yamnet: Path, out: Path, head: Path | None = None) -> About:
    """Write the model file that a backbone (Google's ``yamnet``, or one of ``converters.backbone_file``) makes with a
    trained head (the committed one without ``head``).

    Verified before it has its name. Returns what the head says of itself.

    Raises:
        GraphError, ModelFileError, OSError: a file cannot be used or written; ``out`` is as it was.
    """
    about, weights = load(head or GUN_SHOT)
    write_verified(out, with_backbone(read_bytes(yamnet), about, weights, str(yamnet)))
    return about


def write_verified(out: Path, content: bytes, check: Callable[[Path], object] = verify) -> None:
    """Write a model file by a temporary name beside it, once it has passed. Raises ModelFileError, OSError."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        check(temporary)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def with_backbone(content: bytes, about: About, weights: Weights, name: str = "the backbone") -> bytes:
    """The bytes of a model file: the network in ``content``, the head, golden vectors, manifest and card.

    Raises:
        GraphError: not the network that the head was trained on.
    """
    backbone = open_backbone(content, name)
    check_network(backbone, about)
    head = head_from(about, weights, backbone)
    context = [label for label in audioset.CONTEXT if label in backbone.classes]
    network = backbone.cut(context)
    append_head(network, in_steps(head))
    graph = network.pack()
    manifest = Manifest.model_validate(
        {
            "name": about.name,
            "version": about.version,
            "labels": about.labels,
            "roles": {**about.roles, **{label: "privacy" for label in audioset.VOICES if label in context}},
            "decisions": about.decisions,
            "context_labels": context,
            "speech_label": audioset.SPEECH if audioset.SPEECH in context else None,
            "score_kind": "margin",
            "score_scale": about.scale,
            "backbone_sha256": backbone.sha256,
            "backbone_heard": sorted(backbone.heard),
            "training": about.training,
            "metrics": about.metrics,
            "licence": about.licence,
        }
    )
    vectors = golden(PatchScorer(Graph(graph), manifest, about.name))
    return build(graph, manifest, vectors, about.card)


def check_network(backbone: Backbone, about: About) -> None:
    """Raises GraphError where the head was trained on another network: it means nothing on this one."""
    if backbone.sha256 != about.backbone_sha256:
        raise GraphError(
            f"the head was trained on the network with SHA-256 {about.backbone_sha256[:12]}…, this file has "
            f"{backbone.sha256[:12]}…; fetch that one"
        )


def head_from(about: About, weights: Weights, backbone: Backbone) -> Head:
    """The head for the graph. Raises GraphError where it joins in classes that the backbone does not have."""
    if unknown := [label for label in about.ensemble_classes if label not in backbone.classes]:
        raise GraphError(f"the head reads the backbone's class {unknown[0]!r}, which this one does not have")
    return Head(
        weights.weights,
        weights.biases,
        about.scale,
        about.labels.index(about.ensemble_label),
        tuple(backbone.classes.index(label) for label in about.ensemble_classes),
        about.ensemble_gain,
        about.ensemble_offset,
        tuple(about.labels.index(label) for label in about.neutral),
        tuple(about.maps),
        weights.hidden_weights,
        weights.hidden_biases,
    )


def taken_apart(content: bytes, name: str = "the model") -> tuple[bytes, About, Weights]:
    """A model file's backbone (the bytes of a file) and its head, as ``converters.head_file`` keeps it.

    The backbone has only the classes that the model passed on.

    Raises:
        GraphError, ModelFileError: no model file, or its head is of another kind.
    """
    whole = model_file.parse(content, name)
    manifest = whole.manifest
    backbone = open_backbone(content, name)
    head = head_of(backbone.cut())
    about = About(
        name=manifest.name,
        version=manifest.version,
        labels=manifest.labels,
        roles={label: role for label, role in manifest.roles.items() if label in manifest.labels},
        decisions=manifest.decisions,
        backbone_sha256=backbone.sha256,
        maps=list(head.maps),
        neutral=[manifest.labels[number] for number in head.neutral],
        scale=manifest.score_scale,
        ensemble_label=manifest.labels[head.ensemble_label],
        ensemble_classes=[backbone.classes[row] for row in head.ensemble_rows],
        ensemble_gain=_plain(head.ensemble_gain),
        ensemble_offset=_plain(head.ensemble_offset),
        licence=manifest.licence,
        training=manifest.training,
        metrics=manifest.metrics,
        card=whole.card,
    )
    network = backbone.cut(backbone.classes)
    content = pack_backbone(network, backbone.classes, backbone.sha256, backbone.heard, backbone.licence)
    return content, about, _numbers(head)


def _numbers(head: Head) -> Weights:
    return Weights(head.weights, head.biases, head.hidden_weights, head.hidden_biases)


def _plain(value: float) -> float:
    # The graph holds it as a float32 that was divided and multiplied by the scale.
    return float(f"{value:.6g}")
