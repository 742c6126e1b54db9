"""An ONNX model as a PyTorch module, so that ``litert-torch`` can make a ``.tflite`` of it. No TensorFlow.

Only what is needed: one input of a fixed size (an open first dimension becomes 1), floats, and the operators of
``converters.onnx_operators``; anything else is refused by its name. What depends on no input (and on shapes only) is
computed once, here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.extras import needed, quietly
from converters.flatbuffer import GraphError
from converters.keras_export import with_names
from converters.onnx_operators import operators


def onnx_to_tflite(path: Path) -> bytes:
    """A float32 ``.tflite`` of an ONNX file, outputs called as in it.

    Raises:
        GraphError: no ONNX file, or something in it is not known here.
        MissingExtraError: a library is not installed.
    """
    torch, litert = needed("torch"), needed("litert_torch")
    onnx = needed("onnx")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker raise what they like
        raise GraphError(f"{path} is no ONNX model: {' '.join(str(error).split())[:200]}") from error
    module, shape = _module(model)
    try:
        with quietly(), torch.no_grad():
            content: bytes = litert.convert(module, (torch.zeros(shape),)).model_content()
    except GraphError:
        raise
    except Exception as error:  # torch.export and the lowering behind it raise whatever they meet
        raise GraphError(f"{path} cannot be lowered: {' '.join(str(error).split())[:300]}") from error
    return with_names(content, [one.name for one in model.graph.output], model.graph.input[0].name)


def _module(model: Any) -> tuple[Any, list[int]]:
    torch, onnx = needed("torch"), needed("onnx")
    known = operators()
    unknown = sorted({n.op_type for n in model.graph.node} - set(known) - {"Constant"})
    if unknown or any(node.domain not in ("", "ai.onnx") for node in model.graph.node):
        raise GraphError(
            f"the ONNX model has operators that are not known here: {', '.join(unknown) or 'another domain'}"
        )
    values = {one.name: _tensor(onnx.numpy_helper.to_array(one)) for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in values]
    if len(inputs) != 1:
        raise GraphError(f"the ONNX model has {len(inputs)} inputs; one is expected")
    shape = [d.dim_value or 1 for d in inputs[0].type.tensor_type.shape.dim]
    names = [one.name for one in model.graph.output]
    steps: list[tuple[Any, dict[str, Any], list[str], list[str]]] = []
    flowing = {inputs[0].name: torch.zeros(shape)}
    for node in model.graph.node:
        attributes = {one.name: _attribute(onnx.helper.get_attribute_value(one)) for one in node.attribute}
        if node.op_type == "Constant":
            values[node.output[0]] = _constant(attributes)
            continue
        depends = node.op_type != "Shape" and any(name in flowing for name in node.input)
        found = _apply(known[node.op_type], attributes, node, values | flowing)
        if depends:
            flowing[node.output[0]] = found
            steps.append((known[node.op_type], attributes, list(node.input), list(node.output)))
        else:
            values[node.output[0]] = found

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, patch: Any) -> Any:
            now = {**values, inputs[0].name: patch}
            for operator, attributes, sources, results in steps:
                now[results[0]] = operator(attributes, [now[name] if name else None for name in sources])
            return tuple(now[name] for name in names)

    return Network().eval(), shape


def _apply(operator: Any, attributes: dict[str, Any], node: Any, values: dict[str, Any]) -> Any:
    try:
        return operator(attributes, [values[name] if name else None for name in node.input])
    except GraphError:
        raise
    except Exception as error:  # PyTorch's own refusals
        raise GraphError(f"ONNX operator {node.op_type} {node.name!r} does not run: {error}") from error


def _constant(attributes: dict[str, Any]) -> Any:
    for kind in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if kind in attributes:
            found = attributes[kind]
            if hasattr(found, "dim"):
                return found
            return _tensor(np.asarray(found, np.float32 if "float" in kind else np.int64))
    raise GraphError("an ONNX constant of a kind that is not known here")


def _attribute(value: Any) -> Any:
    onnx = needed("onnx")
    if isinstance(value, onnx.TensorProto):
        return _tensor(onnx.numpy_helper.to_array(value))
    return list(value) if isinstance(value, Sequence) and not isinstance(value, bytes | str) else value


def _tensor(array: Any) -> Any:
    return needed("torch").from_numpy(np.array(array))
