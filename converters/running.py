"""Models of every format as functions from a window of sound to named outputs, to compare them with each other.

A model takes a log-mel patch (96 x 64 values, in whatever shape) or a waveform (15600 samples); which of both is seen
from the size of its input.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.clips import Sound
from converters.extras import MissingExtraError, needed
from converters.flatbuffer import GraphError
from converters.parity import Run
from edge.audio.logmel import MEL_BANDS, PATCH_FRAMES, WINDOW_SAMPLES


def input_of(sound: Sound, shape: Sequence[Any], name: str = "the model") -> NDArray[np.float32]:
    """The window as a model of this input ``shape`` wants it; a first dimension that is open becomes 1.

    Raises:
        GraphError: neither a patch nor a waveform fits.
    """
    sizes = [int(n) if isinstance(n, int | np.integer) and n > 0 else 1 for n in shape]
    count = int(np.prod(sizes))
    if count == PATCH_FRAMES * MEL_BANDS:
        return sound.patch.reshape(sizes)
    if count == WINDOW_SAMPLES:
        return sound.waveform.reshape(sizes)
    raise GraphError(
        f"{name} takes {list(shape)}: neither a log-mel patch (96 x 64 values) nor a waveform ({WINDOW_SAMPLES}), so "
        "it cannot be compared on sound"
    )


def run_tflite(content: bytes, name: str = "the graph") -> Run:
    """A ``.tflite``, outputs by tensor name. Raises GraphError."""
    from edge.detection.graph import Graph
    from edge.detection.model_file import ModelFileError

    try:
        graph = Graph(content, name)
    except ModelFileError as error:
        raise GraphError(str(error)) from error

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        graph.feed(input_of(sound, graph.input_shape, name))
        return {output: graph.output(output) for output in graph.output_shapes}

    return run


def run_keras(model: Any) -> Run:
    """A Keras model of one input, outputs by their names; ``output`` where it has one without a name."""

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        value = input_of(sound, _keras_input(model), "the Keras model")
        found = model(value, training=False)
        return {name: _flat(one) for name, one in named_outputs(model, found).items()}

    return run


def named_outputs(model: Any, found: Any) -> dict[str, Any]:
    """What a Keras model returned, by name: of its dictionary, or of the layers that its outputs come from."""
    if isinstance(found, dict):
        return dict(found)
    if not isinstance(found, list | tuple):
        return {str(model.output_names[0]) if getattr(model, "output_names", None) else "output": found}
    names = list(getattr(model, "output_names", [])) or [f"output_{i}" for i in range(len(found))]
    return dict(zip(names, found, strict=True))


def run_onnx(path: Path) -> Run:
    """An ONNX file, by onnxruntime where it is installed, else by ONNX's own slow reference. Raises GraphError."""
    onnx = needed("onnx")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise what they like
        raise GraphError(f"{path} is no ONNX model: {error}") from error
    (first,) = [one for one in model.graph.input if one.name not in {t.name for t in model.graph.initializer}][:1]
    shape = [d.dim_value if d.HasField("dim_value") else None for d in first.type.tensor_type.shape.dim]
    names = [one.name for one in model.graph.output]
    try:
        onnxruntime = needed("onnxruntime")
    except MissingExtraError:
        session = needed("onnx.reference").ReferenceEvaluator(model)
    else:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        found = session.run(names, {first.name: input_of(sound, shape, str(path))})
        return {name: _flat(one) for name, one in zip(names, found, strict=True)}

    return run


def run_torchscript(path: Path, shape: Sequence[Any]) -> Run:
    """A TorchScript file that takes ``shape``. Raises GraphError."""
    torch = needed("torch")
    try:
        module = torch.jit.load(path)
    except RuntimeError as error:
        raise GraphError(f"{path} is no TorchScript: {error}") from error

    def run(sound: Sound) -> dict[str, NDArray[np.float32]]:
        with torch.no_grad():
            found = module(torch.from_numpy(input_of(sound, shape, str(path)).copy()))
        if isinstance(found, dict):
            return {name: _flat(one) for name, one in found.items()}
        several = found if isinstance(found, list | tuple) else [found]
        return {f"output_{i}": _flat(one) for i, one in enumerate(several)}

    return run


def _keras_input(model: Any) -> Sequence[Any]:
    if len(model.inputs) != 1:
        raise GraphError(f"the Keras model takes {len(model.inputs)} inputs; one is expected")
    shape: Sequence[Any] = model.inputs[0].shape
    return shape


def _flat(value: Any) -> NDArray[np.float32]:
    array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    return np.ravel(array).astype(np.float32)
