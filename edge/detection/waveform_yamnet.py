"""Google's YAMNet as it is published: waveform in, 521 AudioSet scores out, labels in its TFLite Metadata.

For people who bring their own. It costs twice the CPU of the same network cut at the patch, has no head, and its
scores are multiples of 1/256: ``ecosight-convert yamnet`` makes the better model of it.
"""

import hashlib
import io

import numpy as np

from edge.audio.frontend import Window
from edge.audio.logmel import WINDOW_SAMPLES
from edge.detection import audioset
from edge.detection.graph import Graph
from edge.detection.model import Scorer, Scores
from edge.detection.model_file import Decision, Manifest, ModelFileError

_MAX_LABELS_BYTES = 64 << 10


class WaveformScorer:
    """A graph that takes float32 [15600] at 16 kHz; ``gun_shot`` is the highest of its gun classes."""

    def __init__(self, graph: Graph, guns: list[int], context: list[int]) -> None:
        self._graph = graph
        (self._output,) = graph.output_shapes
        self._guns, self._context = guns, context
        self._batched = len(graph.input_shape) == 2

    def listen(self, window: Window) -> Scores:
        return self.score(window)

    def score(self, window: Window) -> Scores:
        self._graph.feed(window.waveform[np.newaxis] if self._batched else window.waveform)
        scores = self._graph.output(self._output)
        return Scores(scores[self._guns].max(keepdims=True), scores[self._context])


def load_waveform_yamnet(data: bytes, name: str) -> tuple[Manifest, str, Scorer]:
    """The manifest that such a file would have, its SHA-256, and its scorer. Raises ModelFileError."""
    graph = Graph(data, name)
    shapes = list(graph.output_shapes.values())
    if graph.input_shape not in ((WINDOW_SAMPLES,), (1, WINDOW_SAMPLES)):
        raise ModelFileError(
            f"{name} has no readable manifest and takes {list(graph.input_shape)}: it is neither a whole model file "
            f"nor a waveform-in YAMNet ([{WINDOW_SAMPLES}]); fetch or convert it again"
        )
    labels = read_labels(data, name)
    if len(shapes) != 1 or shapes[0][-1] != len(labels):
        raise ModelFileError(f"{name}: {len(labels)} labels, outputs of shapes {shapes}")
    guns = [labels.index(label) for label in audioset.GUNS if label in labels]
    if not guns:
        raise ModelFileError(f"{name} has no class of gunshots, so nothing to alert on")
    context = [label for label in audioset.CONTEXT if label in labels]
    roles = {"gun_shot": "alert", **{label: "privacy" for label in audioset.VOICES if label in labels}}
    sha256 = hashlib.sha256(data).hexdigest()
    manifest = Manifest.model_validate(
        {
            "name": "yamnet-waveform",
            "version": sha256[:12],
            "labels": ["gun_shot"],
            "roles": roles,
            "decisions": {"gun_shot": WAVEFORM_DECISION},
            "context_labels": context,
            "speech_label": audioset.SPEECH if audioset.SPEECH in labels else None,
            "score_kind": "sigmoid",
            "backbone_sha256": sha256,
        }
    )
    return manifest, sha256, WaveformScorer(graph, guns, [labels.index(label) for label in context])


WAVEFORM_DECISION = Decision(threshold=0.5, release=0.2, hits={"0.24": 2, "0.48": 1})


def read_labels(data: bytes, name: str) -> list[str]:
    """Labels from the ZIP that TFLite Metadata appends: its one text file, a label a line. Raises ModelFileError."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [one for one in archive.infolist() if one.filename.endswith(".txt")]
            if len(texts) != 1 or texts[0].file_size > _MAX_LABELS_BYTES:
                raise ModelFileError(f"{name}: its metadata holds no single list of labels")
            with archive.open(texts[0]) as file:
                return file.read(_MAX_LABELS_BYTES).decode().splitlines()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError, EOFError, RuntimeError) as error:
        raise ModelFileError(f"{name}: no labels in its metadata: {error}") from error
