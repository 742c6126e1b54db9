"""A float ``.tflite`` of any shape made smaller: static int8 by ``ai-edge-quantizer``, or float16 weights.

Static int8 needs to know the ranges of all activations on real sound. The quantizer's own ``calibrate`` keeps a moving
average of them, so that the loud windows, rare as they are, end up outside: YAMNet's embeddings then correlate
with the true ones by 0.68. Here, the lowest and highest values are kept (0.999).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import flatbuffer
from converters.extras import needed, quietly
from converters.flatbuffer import GraphError, Operator, constant

_SMALLEST_HALVED = 64
"""Constants of fewer values stay float32: nothing is gained by them."""


def static_int8(content: bytes, samples: Iterable[NDArray[np.float32]]) -> bytes:
    """An int8 graph with float32 at both ends, weights with a scale per channel.

    ``samples``: inputs in the graph's own shape, quiet and loud.

    Raises:
        GraphError: the quantizer cannot do it, or there are no samples.
        MissingExtraError: ``ai-edge-quantizer`` is not installed.
    """
    quantizer = needed("ai_edge_quantizer.quantizer")
    calibrator = needed("ai_edge_quantizer.calibrator")
    recipes = needed("ai_edge_quantizer.recipe_manager")
    update = needed("ai_edge_quantizer.utils.qsv_utils").min_max_update
    kinds = needed("ai_edge_quantizer.qtyping").TFLOperationName
    key, argument = _signature(content)
    inputs = [{argument: sample} for sample in samples]
    if not inputs:
        raise GraphError("int8 needs sound to calibrate with; there is none")
    recipe = recipes.RecipeManager()
    recipe.add_static_config(regex=".*", operation_name=kinds.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for end in (kinds.INPUT, kinds.OUTPUT):
        recipe.add_quantization_config(".*", end, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
    try:
        with quietly():
            work = quantizer.Quantizer(content, recipe.get_quantization_recipe())
            ranges = calibrator.Calibrator(
                content,
                num_threads=1,
                mode=calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
                qsv_update_func=update,
            )
            ranges.calibrate({key: inputs}, recipe)
            made = bytes(work.quantize(ranges.get_model_qsvs()).quantized_model)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise GraphError(f"the quantizer refuses this graph: {error}") from error
    return _ends_named_like(made, content)


def halved(content: bytes) -> bytes:
    """The same graph with its float32 constants stored as float16, each expanded again when the graph is loaded.

    This is TFLite's float16 quantisation: half the size, float32 arithmetic.
    """
    model = flatbuffer.parse(content)
    graph = model.subgraphs[0]
    makers: list[Any] = []
    for index in range(len(graph.tensors)):
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) < 4 * _SMALLEST_HALVED:
            continue
        values = constant(model, tensor, "<f4")
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        source = flatbuffer.add_tensor(
            model, f"{tensor.name.decode()}/float16", values.shape, values.astype(np.float16)
        )
        tensor.buffer = 0
        flatbuffer.add_operator(model, Operator.DEQUANTIZE, [source], [index], version=3)
        makers.append(graph.operators.pop())
    graph.operators = makers + list(graph.operators)
    flatbuffer.drop_unused_buffers(model)
    return flatbuffer.pack(model)


def _ends_named_like(content: bytes, before: bytes) -> bytes:
    # The quantizer puts operators at both ends; the outermost tensors take the names over.
    model = flatbuffer.parse(content)
    after, old = model.subgraphs[0], flatbuffer.parse(before).subgraphs[0]
    names = [old.tensors[i].name for i in [*old.inputs, *old.outputs]]
    for tensor in after.tensors:
        tensor.name = tensor.name + b"/steps" if tensor.name in names else tensor.name
    for index, name in zip([*after.inputs, *after.outputs], names, strict=True):
        after.tensors[index].name = name
    return flatbuffer.pack(model)


def _signature(content: bytes) -> tuple[str, str]:
    """Its key, and the name of its one input."""
    model = flatbuffer.parse(content)
    if not model.signatureDefs or len(model.signatureDefs[0].inputs) != 1:
        raise GraphError("the graph has no signature with one input")
    one = model.signatureDefs[0]
    return one.signatureKey.decode(), one.inputs[0].name.decode()
