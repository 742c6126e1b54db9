"""Reading, changing and writing ``.tflite`` graphs without TensorFlow.

The schema comes with ``ai-edge-litert`` (``schema_py_generated``) and is written by ``flatbuffers``, on which that
package depends: a device can do this too. Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Operator = schema.BuiltinOperator
Options = schema.BuiltinOptions
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
}


class GraphError(ValueError):
    """The graph is not what the conversion expects. The text is for a person."""


def parse(content: bytes) -> Any:
    """The object tree (``ModelT``) of a ``.tflite``. Raises GraphError."""
    if content[4:8] != b"TFL3":
        raise GraphError("this is no .tflite file (its identifier is not TFL3)")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except Exception as error:  # the generated reader raises whatever a damaged offset leads to
        raise GraphError(f"this .tflite is damaged: {error}") from error
    if not model.subgraphs or not model.subgraphs[0].operators:
        raise GraphError("this .tflite holds no graph")
    for buffer in model.buffers:
        if buffer.offset > 1:  # some writers put large contents behind the tables; here they come in
            if buffer.offset + buffer.size > len(content):
                raise GraphError("this .tflite is cut short")
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


class _Sharing(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal scales and zero points once. A network has some of each for every channel, zero points of eight
    bytes, nearly all of them 0: together as much as a tenth of its weights."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 - the builder's own name
        if x.dtype not in (np.float32, np.int64):  # contents of tensors, and what is changed one by one
            return int(super().CreateNumpyVector(x))
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def pack(model: Any) -> bytes:
    """The bytes of ``model``."""
    builder = _Sharing(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tensor_index(graph: Any, ends_with: str) -> int:
    """The one tensor of this name, else the one whose name ends so. Raises GraphError."""
    names = [tensor.name.decode() for tensor in graph.tensors]
    found = [i for i, name in enumerate(names) if name == ends_with]
    found = found or [i for i, name in enumerate(names) if name.endswith(ends_with)]
    if len(found) != 1:
        raise GraphError(f"{len(found)} tensors end with {ends_with!r}, expected one")
    return found[0]


def maker(graph: Any, tensor: int) -> Any | None:
    """The operator that computes a tensor; None for inputs and constants."""
    return next((op for op in graph.operators if tensor in op.outputs), None)


def builtin(model: Any, op: Any) -> int:
    """Which builtin an operator is."""
    code = model.operatorCodes[op.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def constant(model: Any, tensor: Any, dtype: str) -> NDArray[Any]:
    """The values of a constant tensor, in its shape, as ``dtype`` (numpy's name, little-endian: ``<f4``)."""
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype).reshape(tensor.shape)


def add_tensor(
    model: Any,
    name: str,
    shape: Sequence[int],
    data: NDArray[Any] | None = None,
    like: Any = None,
    quantisation: Any = None,
) -> int:
    """Add a tensor to the first subgraph and return its index.

    ``data`` (float32, float16, int32 or int8) makes it a constant. Else it is float32, or int8 where a ``quantisation``
    (``steps_of``) is given. ``like``: a tensor whose type and quantisation it takes.
    """
    graph = model.subgraphs[0]
    buffer = schema.BufferT()
    if data is not None:
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), [int(n) for n in shape], len(model.buffers) - 1
    if like is not None:
        tensor.type, tensor.quantization = like.type, like.quantization
    else:
        dtype = np.dtype(np.float32 if quantisation is None else np.int8) if data is None else data.dtype
        tensor.type, tensor.quantization = _TYPES[dtype], quantisation
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def steps_of(scale: float | NDArray[np.float32], zero_point: int = 0, axis: int = 0) -> Any:
    """A quantisation: value = scale * (step - zero_point). Several scales: one per index along ``axis``."""
    parameters = schema.QuantizationParametersT()
    parameters.scale = np.atleast_1d(np.asarray(scale, np.float32))
    parameters.zeroPoint = np.full(len(parameters.scale), zero_point, np.int64)
    parameters.quantizedDimension = axis
    return parameters


def empty(version: int = 3) -> Any:
    """A model (``ModelT``) of one subgraph with nothing in it. Buffer 0 is the empty one, by the schema."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    model.version, model.operatorCodes, model.buffers, model.subgraphs = version, [], [schema.BufferT()], [graph]
    return model


def add_operator(
    model: Any, code: int, inputs: Iterable[int], outputs: Iterable[int], options: Any = None, version: int = 1
) -> None:
    """Append an operator. ``options`` is its options object (``FullyConnectedOptionsT()``)."""
    op = schema.OperatorT()
    op.opcodeIndex = _opcode(model, code, version)
    op.inputs, op.outputs = list(inputs), list(outputs)
    if options is not None:
        op.builtinOptionsType = getattr(Options, type(options).__name__.removesuffix("T"))
        op.builtinOptions = options
    model.subgraphs[0].operators.append(op)


def _opcode(model: Any, code: int, version: int) -> int:
    for i, one in enumerate(model.operatorCodes):
        if max(one.builtinCode, one.deprecatedBuiltinCode) == code and one.version == version:
            return i
    one = schema.OperatorCodeT()
    one.builtinCode, one.deprecatedBuiltinCode, one.version = code, min(code, 127), version
    model.operatorCodes.append(one)
    return len(model.operatorCodes) - 1


def prune(model: Any) -> None:
    """Keep only what the outputs need: operators between inputs and outputs, their tensors, buffers and codes.

    Metadata and signatures go too, because they point into what is renumbered.
    """
    graph = model.subgraphs[0]
    needed, todo = set(), list(graph.outputs)
    made_by = {output: i for i, op in enumerate(graph.operators) for output in op.outputs}
    while todo:
        at = made_by.get(todo.pop())
        if at is not None and at not in needed:
            needed.add(at)
            todo += [i for i in graph.operators[at].inputs if i >= 0 and i not in graph.inputs]
    graph.operators = [op for i, op in enumerate(graph.operators) if i in needed]
    used = sorted({i for op in graph.operators for i in [*op.inputs, *op.outputs] if i >= 0} | set(graph.inputs))
    place = {old: new for new, old in enumerate(used)}
    graph.tensors = [graph.tensors[i] for i in used]
    for op in graph.operators:
        op.inputs = [place.get(int(i), -1) for i in op.inputs]
        op.outputs = [place[int(i)] for i in op.outputs]
    graph.inputs = [place[int(i)] for i in graph.inputs]
    graph.outputs = [place[int(i)] for i in graph.outputs]
    model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
    drop_unused_buffers(model)
    codes = sorted({op.opcodeIndex for op in graph.operators})
    for op in graph.operators:
        op.opcodeIndex = codes.index(op.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[i] for i in codes]


def drop_unused_buffers(model: Any) -> None:
    """Keep only the contents that tensors or metadata refer to."""
    buffers = [schema.BufferT()]  # buffer 0 is the empty one, by the schema
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for user in [*tensors, *(model.metadata or [])]:
        content = model.buffers[user.buffer]
        if content.data is None or len(content.data) == 0:
            user.buffer = 0
        else:
            user.buffer = len(buffers)
            buffers.append(content)
    model.buffers = buffers
