"""A Keras 3 model (PyTorch backend, no TensorFlow) as TFLite float32, float16 or int8, ONNX, or TorchScript."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from converters import flatbuffer
from converters.extras import MissingExtraError, needed, quietly
from converters.flatbuffer import GraphError
from converters.quantise import halved, static_int8
from converters.running import named_outputs

Format = Literal["float32", "float16", "int8", "onnx", "torchscript"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS = {"float32": ".tflite", "float16": ".tflite", "int8": ".tflite", "onnx": ".onnx", "torchscript": ".pt"}


def read_keras(path: Path) -> Any:
    """A ``.keras`` file. Nothing is unpickled, no code of the file is run.

    Raises:
        GraphError: no such file, or one that Keras cannot read.
    """
    keras = needed("keras")
    if not path.is_file():
        raise GraphError(f"{path} does not exist")
    try:
        with quietly():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise GraphError(f"{path} is no Keras model that can be read: {' '.join(str(error).split())[:300]}") from error
    model.eval()
    return model


def export(model: Any, to: Format, path: Path, samples: Iterable[NDArray[np.float32]] = ()) -> None:
    """Write ``model`` to ``path``. ``samples``, inputs of its shape with a first dimension of 1, calibrate int8.

    Outputs have the names that they have in Keras.

    Raises:
        GraphError: the exporter cannot do it.
        MissingExtraError: a library is not installed.
    """
    if to == "torchscript":
        content = _torchscript(model)
    elif to == "onnx":
        content = _onnx(model)
    else:
        content = float_tflite(model)
        if to == "float16":
            content = halved(content)
        elif to == "int8":
            content = static_int8(content, samples)
    path.write_bytes(content)


def float_tflite(model: Any) -> bytes:
    """A float32 ``.tflite``, by ``litert-torch``. Raises GraphError, MissingExtraError."""
    needed("litert_torch")
    return with_names(_exported(model, "litert", ".tflite"), output_names(model), model.inputs[0].name)


def output_names(model: Any) -> list[str]:
    """Names of its outputs, in the order in which exporters flatten them: dictionaries by key."""
    named = named_outputs(model, model.output)
    return sorted(named) if isinstance(model.output, dict) else list(named)


def with_names(content: bytes, outputs: Sequence[str], patch: str = "patch") -> bytes:
    """The same ``.tflite``, its tensors at both ends called by what they are; the signature says which is which."""
    model = flatbuffer.parse(content)
    tensors = model.subgraphs[0].tensors
    for one in model.signatureDefs or []:
        for end in one.inputs:
            tensors[end.tensorIndex].name = patch.encode()
        for end in one.outputs:
            name = end.name.decode()
            place = name.removeprefix("output_")
            # Without a dictionary, a signature counts the outputs.
            if name not in outputs and place.isdigit() and int(place) < len(outputs):
                name = outputs[int(place)]
            tensors[end.tensorIndex].name = name.encode()
    return flatbuffer.pack(model)


def _spec(model: Any) -> Any:
    keras = needed("keras")
    (one,) = model.inputs
    return keras.InputSpec(shape=(1, *one.shape[1:]), dtype="float32", name=one.name)


def _exported(model: Any, to: str, ending: str) -> bytes:
    import tempfile

    if len(model.inputs) != 1 or None in model.inputs[0].shape[1:]:
        raise GraphError("the model has one input of a fixed shape, or it cannot be exported")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{ending}"
        try:
            with quietly():
                model(np.zeros((1, *model.inputs[0].shape[1:]), np.float32))  # ONNX wants a model that was called once
                model.export(path, format=to, input_signature=[_spec(model)], verbose=False)
        except ImportError as error:
            raise MissingExtraError(
                f"this export needs what is not installed ({error}): pip install 'ecosight[deep]'"
            ) from error
        except Exception as error:  # torch.export and the lowering behind it raise whatever they meet
            raise GraphError(f"this model cannot be exported to {to}: {' '.join(str(error).split())[:300]}") from error
        return path.read_bytes()


def _onnx(model: Any) -> bytes:
    onnx = needed("onnx")
    needed("onnxscript")
    made = onnx.load_from_string(_exported(model, "onnx", ".onnx"))
    for one, name in zip(list(made.graph.output), output_names(model), strict=True):
        old = one.name
        one.name = name
        for node in made.graph.node:
            for ends in (node.input, node.output):
                for i, end in enumerate(ends):
                    if end == old:
                        ends[i] = name
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def _torchscript(model: Any) -> bytes:
    import io

    torch = needed("torch")
    buffer = io.BytesIO()
    try:
        with quietly():
            traced = torch.jit.trace(model, torch.zeros((1, *model.inputs[0].shape[1:])), strict=False)
            torch.jit.save(traced, buffer)
    except (RuntimeError, ValueError, TypeError) as error:
        raise GraphError(f"this model cannot be traced: {' '.join(str(error).split())[:300]}") from error
    return buffer.getvalue()
