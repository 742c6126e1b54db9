"""The model that listens: a window in, scores out.

    model = load(Path("model.tflite"))
    scores = model.score(window)  # or listen(window), where the context is not wanted
    scores.labels[model.manifest.labels.index("gun_shot")]

Two kinds of file are taken: EcoSight's own (``model_file``), and Google's waveform-in YAMNet as it is
(``waveform_yamnet``), so that people can bring their own.
"""

import threading
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import Window
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES
from edge.delivery.messages import ModelName
from edge.detection import model_file
from edge.detection.graph import Graph, GraphInParts, open_graph
from edge.detection.model_file import Manifest, ModelFileError

_NONE = np.empty(0, np.float32)
LEAST_THRESHOLD = 0.01
"""No site's offset takes a threshold lower."""


class Scores(NamedTuple):
    """What a model says about one window. Scores, never probabilities."""

    labels: NDArray[np.float32]
    """float32 [K], of ``manifest.labels``."""
    context: NDArray[np.float32]
    """float32 [C], of ``manifest.context_labels``; empty where the model has none, or only listens."""
    embedding: NDArray[np.float32] | None = None
    """float32 [D], where the model has a rule for vetoes and an alert label scores at all."""


class Scorer(Protocol):
    """A graph that knows what of a window it wants."""

    def score(self, window: Window) -> Scores:
        """Of all that the graph knows."""

    def listen(self, window: Window) -> Scores:
        """Without the context, where that is less work."""


class PatchScorer:
    """A graph that takes the log-mel patch [1, 96, 64] and gives ``scores`` and perhaps ``context``."""

    def __init__(self, graph: Graph | GraphInParts, manifest: Manifest, name: str) -> None:
        """Raises ModelFileError where the graph's shapes are not those that the manifest promises."""
        wanted = {"scores": len(manifest.labels)}
        if manifest.context_labels:
            wanted["context"] = len(manifest.context_labels)
        if graph.input_shape != (1, PATCH_FRAMES, MEL_BANDS):
            raise ModelFileError(f"{name}: the graph takes {list(graph.input_shape)}, not a log-mel patch [1, 96, 64]")
        for output, count in wanted.items():
            shape = graph.output_shapes.get(output)
            if shape != (1, count):
                raise ModelFileError(f"{name}: output {output!r} has shape {shape}, the manifest says (1, {count})")
        with_veto = any(one.veto is not None for one in manifest.decisions.values())
        if with_veto and "embedding" not in graph.output_shapes:
            raise ModelFileError(f"{name}: the manifest has a rule for vetoes, the graph no output 'embedding'")
        self._graph = graph
        self._has_context = bool(manifest.context_labels)
        self._embedded_for = [manifest.labels.index(label) for label in manifest.alert_labels] if with_veto else []

        if with_veto and isinstance(graph, GraphInParts):
            graph.whole()  # not in the middle of the sound

    def score(self, window: Window) -> Scores:
        heard = self.listen(window)
        return heard._replace(context=self._graph.output("context")) if self._has_context else heard

    def listen(self, window: Window) -> Scores:
        self._graph.feed(window.patch[np.newaxis])
        labels = self._graph.output("scores")
        if self._embedded_for and max(labels[at] for at in self._embedded_for) >= LEAST_THRESHOLD:
            return Scores(labels, _NONE, self._graph.output("embedding"))
        return Scores(labels, _NONE)


class Model:
    """A loaded model. ``score`` may be called from several threads; they take turns."""

    def __init__(self, manifest: Manifest, sha256: str, scorer: Scorer) -> None:
        self.manifest = manifest
        self.sha256 = sha256
        """Of the whole file."""
        self.name = ModelName(name=manifest.name, version=manifest.version, sha256=sha256)
        self.alert_labels = manifest.alert_labels
        self._scorer = scorer
        self._lock = threading.Lock()
        voices = set(manifest.privacy_labels)
        self._voice_labels = [i for i, label in enumerate(manifest.labels) if label in voices]
        self._voice_context = [i for i, label in enumerate(manifest.context_labels) if label in voices]
        self.has_speech = bool(voices)

    def score(self, window: Window) -> Scores:
        """Scores of one window."""
        with self._lock:
            return self._scorer.score(window)

    def listen(self, window: Window) -> Scores:
        """The same without the context: what is asked for at every window."""
        with self._lock:
            return self._scorer.listen(window)

    def speech(self, scores: Scores) -> float | None:
        """The highest score among the labels of voices; None where the model cannot hear speech."""
        if not self.has_speech:
            return None
        found = [float(scores.labels[i]) for i in self._voice_labels]
        found += [float(scores.context[i]) for i in self._voice_context]
        return float(np.max(found))  # a NaN stays one: max() may drop it, and the privacy gate must see it


def load(path: Path, verify: bool = True, cache_dir: Path | None = None) -> Model:
    """Load a model file, or a bare waveform-in YAMNet.

    With ``verify``, its golden vectors are run in a child process first (``edge.detection.verify``); ``cache_dir``
    remembers files that passed.

    Raises:
        ModelFileError: the file cannot be used; the text says why.
    """
    if verify:
        from edge.detection.verify import verify as verify_file

        verify_file(path, cache_dir)
    return load_bytes(model_file.read_bytes(path), str(path))


def load_bytes(data: bytes, name: str = "model") -> Model:
    """Like ``load`` without ``verify``, from bytes; ``name`` is for messages. Raises ModelFileError."""
    if not model_file.has_manifest(data):
        from edge.detection.waveform_yamnet import load_waveform_yamnet

        manifest, sha256, waveform_scorer = load_waveform_yamnet(data, name)
        return Model(manifest, sha256, waveform_scorer)
    file = model_file.parse(data, name)
    scorer = PatchScorer(open_graph(file.graph, "scores", name), file.manifest, name)
    return Model(file.manifest, file.sha256, scorer)
