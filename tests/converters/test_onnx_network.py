"""ONNX models as TFLite, against ONNX's own reference. Needs the extra ``deep``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.clips import made
from converters.flatbuffer import GraphError
from converters.onnx_network import onnx_to_tflite
from converters.onnx_operators import operators
from converters.parity import FLOAT32, compare
from converters.running import run_onnx, run_tflite


def made_of(onnx: Any, nodes: list[Any], output: list[int], constants: dict[str, np.ndarray], path: Path) -> Path:
    """An ONNX file: patch [batch, 96, 64] → ``scores``."""
    helper = onnx.helper
    source = helper.make_tensor_value_info("patch", onnx.TensorProto.FLOAT, ["batch", 96, 64])
    target = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, output)
    initial = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "net", [source], [target], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def test_a_network_of_many_operators_gives_what_onnx_says(onnx: Any, litert_torch: Any, tmp_path: Path) -> None:
    node, random = onnx.helper.make_node, np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    constants = {
        "axis": np.array([1], np.int64),
        "first": normal(8, 1, 3, 3),
        "deep": normal(8, 1, 3, 3),
        "wide": normal(6, 8, 1, 1),
        "wide_bias": normal(6),
        "scale": np.abs(normal(6)),
        "offset": normal(6),
        "mean": normal(6),
        "variance": np.abs(normal(6)) + 0.1,
        "six": np.array(6, np.float32),
        "zero": np.array(0, np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64),
        "two": np.array([2], np.int64),
        "minus": np.array([-1], np.int64),
        "dense": normal(6, 4),
    }
    nodes = [
        node("Unsqueeze", ["patch", "axis"], ["a"]),
        node("Conv", ["a", "first"], ["b"], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Clip", ["b", "zero", "six"], ["c"]),
        node("Conv", ["c", "deep"], ["d"], group=8, auto_pad="SAME_UPPER", strides=[2, 2]),
        node("HardSwish", ["d"], ["e"]),
        node("Conv", ["e", "wide", "wide_bias"], ["f"]),
        node("BatchNormalization", ["f", "scale", "offset", "mean", "variance"], ["g"]),
        node("LeakyRelu", ["g"], ["h"], alpha=0.1),
        node("Pad", ["h", "pads"], ["i"]),
        node("MaxPool", ["i"], ["j"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["j"], ["k"], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        # What exporters write to flatten: the shape is computed, and must come out as a constant.
        node("GlobalAveragePool", ["k"], ["l"]),
        node("Shape", ["l"], ["shape"]),
        node("Slice", ["shape", "zero_i", "two"], ["rows"]),
        node("Reshape", ["l", "rows"], ["m"]),
        node("Gemm", ["m", "dense"], ["n"]),
        node("Sigmoid", ["n"], ["o"]),
        node("Mul", ["n", "o"], ["p"]),
        node("Softmax", ["p"], ["scores"], axis=-1),
    ]
    constants["zero_i"] = np.array([0], np.int64)
    path = made_of(onnx, nodes, [1, 4], constants, tmp_path / "net.onnx")
    (found,) = compare(run_onnx(path), run_tflite(onnx_to_tflite(path)), made(), FLOAT32)
    assert found.output == "scores" and found.holds, str(found)


@pytest.mark.parametrize(
    ("kind", "attributes", "shapes"),
    [
        ("Flatten", {"axis": 2}, [(2, 3, 4)]),
        ("Squeeze", {}, [(1, 3, 1)]),
        ("Concat", {"axis": 1}, [(2, 3), (2, 4)]),
        ("Transpose", {"perm": [1, 0, 2]}, [(2, 3, 4)]),
        ("ReduceMean", {"axes": [1], "keepdims": 0}, [(2, 3, 4)]),
        ("GlobalMaxPool", {}, [(2, 3, 4, 5)]),
        ("HardSigmoid", {"alpha": 0.3}, [(2, 3)]),
        ("Elu", {"alpha": 0.7}, [(2, 3)]),
        ("Softplus", {}, [(2, 3)]),
        ("Gemm", {"transB": 1, "alpha": 0.5, "beta": 2.0}, [(2, 3), (4, 3), (4,)]),
        ("Conv", {"dilations": [2, 2], "auto_pad": "SAME_LOWER"}, [(1, 2, 7, 8), (3, 2, 3, 3)]),
        ("Conv", {"pads": [2, 1]}, [(1, 2, 9), (3, 2, 3)]),
        ("AveragePool", {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1], "count_include_pad": 1}, [(1, 2, 6, 7)]),
    ],
)
def test_an_operator_computes_what_onnx_says(
    onnx: Any, kind: str, attributes: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    torch = pytest.importorskip("torch", reason="MISSING EXTRA: no torch (pip install 'ecosight[deep]')")
    reference = pytest.importorskip("onnx.reference")
    random = np.random.default_rng(0)
    values = {f"i{n}": random.standard_normal(shape).astype(np.float32) for n, shape in enumerate(shapes)}
    node = onnx.helper.make_node(kind, list(values), ["out"], **attributes)
    inputs = [onnx.helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, v.shape) for k, v in values.items()]
    output = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "one", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    (wanted,) = reference.ReferenceEvaluator(model).run(None, values)
    given = {k: v.encode() if isinstance(v, str) else v for k, v in attributes.items()}
    found = operators()[kind](given, [torch.from_numpy(one) for one in values.values()])
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_an_operator_that_is_not_known_is_refused_by_its_name(onnx: Any, litert_torch: Any, tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Det", ["patch"], ["scores"])]
    path = made_of(onnx, nodes, [1], {}, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match="not known here: Det"):
        onnx_to_tflite(path)


def test_what_is_no_onnx_is_refused(onnx: Any, litert_torch: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(GraphError, match="is no ONNX model"):
        onnx_to_tflite(path)
    with pytest.raises(GraphError, match="is no ONNX model"):
        run_onnx(path)
