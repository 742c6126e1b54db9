"""A whole model file from Google's YAMNet and a head."""

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.flatbuffer import GraphError
from converters.golden import golden
from converters.head import Head, append_head
from converters.head_file import GUN_SHOT, About, load
from converters.yamnet import cut
from edge.detection import audioset
from edge.detection.graph import Graph
from edge.detection.model import PatchScorer
from edge.detection.model_file import Manifest, ModelFileError, build, read_bytes
from edge.detection.verify import verify
from edge.detection.waveform_yamnet import read_labels


def model_from_yamnet(yamnet: Path, out: Path, head: Path | None = None) -> About:
    """Write the model file that Google's ``yamnet`` makes with a trained head (the committed one without ``head``).

    Verified before it has its name. Returns what the head says of itself.

    Raises:
        GraphError, ModelFileError, OSError: a file cannot be used or written; ``out`` is as it was.
    """
    about, weights, biases = load(head or GUN_SHOT)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(with_yamnet(read_bytes(yamnet), about, weights, biases))
        verify(temporary)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return about


def with_yamnet(content: bytes, about: About, weights: NDArray[np.float32], biases: NDArray[np.float32]) -> bytes:
    """The bytes of a model file: YAMNet's network (``content`` is the waveform-in file), the head, golden vectors,
    manifest and card.

    Raises:
        GraphError: not the YAMNet that the head was trained on.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != about.backbone_sha256:
        raise GraphError(
            f"the head was trained on the YAMNet with SHA-256 {about.backbone_sha256[:12]}…, this file has "
            f"{sha256[:12]}…; fetch that one"
        )
    try:
        classes = read_labels(content, "this YAMNet")
        context = [label for label in audioset.CONTEXT if label in classes]
        backbone = cut(content, [classes.index(label) for label in context])
        rows = tuple(classes.index(label) for label in about.ensemble_classes)
    except (ModelFileError, ValueError) as error:
        raise GraphError(str(error)) from error
    head = Head(
        weights,
        biases,
        about.scale,
        about.labels.index(about.ensemble_label),
        rows,
        about.ensemble_gain,
        about.ensemble_offset,
    )
    append_head(backbone, head)
    graph = backbone.pack()
    manifest = Manifest.model_validate(
        {
            "name": about.name,
            "version": about.version,
            "labels": about.labels,
            "roles": {**about.roles, **{label: "privacy" for label in audioset.VOICES if label in context}},
            "decisions": about.decisions,
            "context_labels": context,
            "speech_label": audioset.SPEECH,
            "score_kind": "margin",
            "score_scale": about.scale,
            "backbone_sha256": sha256,
            "training": about.training,
            "metrics": about.metrics,
            "licence": about.licence,
        }
    )
    vectors = golden(PatchScorer(Graph(graph), manifest, about.name))
    return build(graph, manifest, vectors, about.card)
