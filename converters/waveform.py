"""The waveform-in variant of a model file: Google's float front end before it, so that others can run it alone.

EcoSight itself computes the log-mel outside (it costs less there, and is shared between windows); MediaPipe and the
like expect a graph that takes sound. The front end is the part of ``yamnet.tflite`` up to ``feature_patch``, and
stays float32; the network and the head are the model's own, unchanged.
"""

from typing import Any

from converters import flatbuffer
from converters.flatbuffer import GraphError
from converters.tflite_metadata import ScoresOf, attach, audio_metadata, with_labels
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES, WINDOW_SAMPLES
from edge.detection import model_file


def waveform_variant(yamnet: bytes, model: bytes, name: str = "the model", yamnet_name: str = "yamnet.tflite") -> bytes:
    """A ``.tflite`` that takes float32 [15600] at 16 kHz and gives the model's ``scores`` and, where it has them, its
    ``context``; with TFLite Metadata.

    ``yamnet``: Google's waveform-in file. ``model``: a model file.

    Raises:
        GraphError, ModelFileError: one of them is something else.
    """
    whole = model_file.parse(model, name)
    manifest = whole.manifest
    try:
        joined = _front_end(yamnet)
    except GraphError as error:
        raise GraphError(f"{yamnet_name}: {error}") from error
    _join(joined, flatbuffer.parse(whole.graph), ["scores", "context"] if manifest.context_labels else ["scores"])
    flatbuffer.prune(joined)
    outputs = [ScoresOf("scores", "Scores of the labels, 0 to 1; not probabilities.", manifest.labels)]
    if manifest.context_labels:
        outputs.append(ScoresOf("context", "Scores of AudioSet classes, 0 to 1.", manifest.context_labels))
    alerts = ", ".join(f"{label} from {manifest.decisions[label].threshold:g}" for label in manifest.alert_labels)
    text = f"Alerts on {alerts}. Window 0.975 s at 16 kHz."
    attach(joined, audio_metadata(manifest.name, manifest.version, text, manifest.licence, outputs))
    return with_labels(flatbuffer.pack(joined), outputs)


def _front_end(content: bytes) -> Any:
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    patch = flatbuffer.tensor_index(graph, "feature_patch")
    if [int(n) for n in graph.tensors[graph.inputs[0]].shape] != [WINDOW_SAMPLES]:
        raise GraphError("it takes no waveform: the front end is taken from Google's waveform-in yamnet.tflite")
    graph.outputs = [patch]
    flatbuffer.prune(model)
    return model


def _join(first: Any, second: Any, outputs: list[str]) -> None:
    """Put ``second`` behind ``first``: the one's only output is the other's only input."""
    one, two = first.subgraphs[0], second.subgraphs[0]
    (seam,), (entrance,) = one.outputs, two.inputs
    if [int(n) for n in two.tensors[entrance].shape] != [1, PATCH_FRAMES, MEL_BANDS]:
        raise GraphError("the model takes no log-mel patch")
    place = {int(entrance): int(seam)}
    for index, tensor in enumerate(two.tensors):
        if index != entrance:
            place[index] = len(one.tensors)
            tensor.buffer += len(first.buffers)
            one.tensors.append(tensor)
    for op in two.operators:
        op.opcodeIndex += len(first.operatorCodes)
        op.inputs = [place.get(int(i), -1) for i in op.inputs]
        op.outputs = [place[int(i)] for i in op.outputs]
        one.operators.append(op)
    first.buffers += second.buffers
    first.operatorCodes += second.operatorCodes
    found = {one.tensors[place[int(i)]].name.decode(): place[int(i)] for i in two.outputs}
    one.outputs = [found[name] for name in outputs]
