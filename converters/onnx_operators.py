"""What ONNX operators compute, in PyTorch: those that small networks for sound are made of.

Each takes its attributes and its inputs (tensors, or None for one that is left out) and returns its outputs. Meaning
and defaults: onnx.ai/onnx/operators, opset 13 and later; before it, axes and the like were attributes, which are
read, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converters.extras import needed
from converters.flatbuffer import GraphError

Attributes = Mapping[str, Any]
Operator = Callable[[Attributes, Sequence[Any]], Any]


def operators() -> dict[str, Operator]:
    """By ONNX name."""
    torch = needed("torch")
    functional = torch.nn.functional

    def one(function: Callable[..., Any]) -> Operator:
        return lambda attributes, inputs: function(*inputs)

    def listed(value: Any) -> list[int]:
        return [int(n) for n in value.tolist()] if hasattr(value, "tolist") else [int(n) for n in value]

    def axes_of(attributes: Attributes, inputs: Sequence[Any], place: int = 1) -> list[int] | None:
        if len(inputs) > place and inputs[place] is not None:
            return listed(inputs[place])
        return [int(n) for n in attributes["axes"]] if "axes" in attributes else None

    def padding(attributes: Attributes, size: Sequence[int], kernel: Sequence[int], steps: Sequence[int]) -> list[int]:
        """As ``pad`` wants it: last dimension first, before and behind."""
        how = attributes.get("auto_pad", b"NOTSET")
        if how in (b"SAME_UPPER", b"SAME_LOWER"):
            found: list[int] = []
            for length, width, step in zip(size, kernel, steps, strict=True):
                total = max((-(-length // step) - 1) * step + width - length, 0)
                small, large = total // 2, total - total // 2
                found = [*((small, large) if how == b"SAME_UPPER" else (large, small)), *found]
            return found
        pads = [int(n) for n in attributes.get("pads", [0] * 2 * len(kernel))]
        half = len(pads) // 2
        return [n for i in reversed(range(half)) for n in (pads[i], pads[half + i])]

    def convolution(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, weights, biases = inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else None
        spread = list(attributes.get("dilations", [1] * (weights.dim() - 2)))
        steps = list(attributes.get("strides", [1] * (weights.dim() - 2)))
        kernel = [(n - 1) * d + 1 for n, d in zip(weights.shape[2:], spread, strict=True)]
        pads = padding(attributes, value.shape[2:], kernel, steps)
        apply = {3: functional.conv1d, 4: functional.conv2d}.get(weights.dim())
        if apply is None:
            raise GraphError(f"a convolution over {weights.dim() - 2} dimensions is not known here")
        even = pads[::2] == pads[1::2]
        if not even:
            value = functional.pad(value, pads)
        around = list(reversed(pads[::2])) if even else 0
        return apply(value, weights, biases, steps, around, spread, int(attributes.get("group", 1)))

    def pooled(attributes: Attributes, inputs: Sequence[Any], is_mean: bool) -> Any:
        value, kernel = inputs[0], list(attributes["kernel_shape"])
        steps = list(attributes.get("strides", [1] * len(kernel)))
        pads = padding(attributes, value.shape[2:], kernel, steps)
        if len(kernel) != 2 or attributes.get("ceil_mode", 0) or set(attributes.get("dilations", [1])) != {1}:
            raise GraphError("pooling is known here over two dimensions, without ceil_mode and dilations")
        if not is_mean:
            return functional.max_pool2d(functional.pad(value, pads, value=float("-inf")), kernel, steps)
        if any(pads) and not attributes.get("count_include_pad", 0):
            ones = functional.pad(torch.ones_like(value), pads)
            shares = functional.avg_pool2d(ones, kernel, steps)
            return functional.avg_pool2d(functional.pad(value, pads), kernel, steps) / shares
        return functional.avg_pool2d(functional.pad(value, pads), kernel, steps)

    def normalised(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, scale, offset, mean, variance = inputs
        gain = scale / torch.sqrt(variance + float(attributes.get("epsilon", 1e-5)))
        shape = [1, -1] + [1] * (value.dim() - 2)
        return value * gain.reshape(shape) + (offset - mean * gain).reshape(shape)

    def gemm(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        a = inputs[0].T if attributes.get("transA", 0) else inputs[0]
        b = inputs[1].T if attributes.get("transB", 0) else inputs[1]
        found = float(attributes.get("alpha", 1.0)) * (a @ b)
        if len(inputs) > 2 and inputs[2] is not None:
            found = found + float(attributes.get("beta", 1.0)) * inputs[2]
        return found

    def reduced(function: Callable[..., Any]) -> Operator:
        def apply(attributes: Attributes, inputs: Sequence[Any]) -> Any:
            value, axes = inputs[0], axes_of(attributes, inputs)
            if axes is None and attributes.get("noop_with_empty_axes", 0):
                return value
            return function(value, axes or list(range(value.dim())), bool(attributes.get("keepdims", 1)))

        return apply

    def reshaped(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, wanted = inputs[0], listed(inputs[1])
        if not attributes.get("allowzero", 0):
            wanted = [value.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
        return value.reshape(wanted)

    def flattened(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, axis = inputs[0], int(attributes.get("axis", 1)) % (inputs[0].dim() + 1)
        rows = 1
        for n in value.shape[:axis]:
            rows *= n
        return value.reshape(rows, -1)

    def squeezed(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value = inputs[0]
        axes = axes_of(attributes, inputs)
        gone = {a % value.dim() for a in axes} if axes else {i for i, n in enumerate(value.shape) if n == 1}
        return value.reshape([n for i, n in enumerate(value.shape) if i not in gone])

    def unsqueezed(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, axes = inputs[0], axes_of(attributes, inputs) or []
        rank = value.dim() + len(axes)
        sizes = iter(value.shape)
        new = {a % rank for a in axes}
        return value.reshape([1 if i in new else next(sizes) for i in range(rank)])

    def padded(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value, pads = inputs[0], listed(inputs[1]) if len(inputs) > 1 else [int(n) for n in attributes["pads"]]
        if attributes.get("mode", b"constant") != b"constant" or (len(inputs) > 3 and inputs[3] is not None):
            raise GraphError("padding is known here with a constant, over all dimensions")
        fill = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else float(attributes.get("value", 0.0))
        half = len(pads) // 2
        return functional.pad(value, [n for i in reversed(range(half)) for n in (pads[i], pads[half + i])], value=fill)

    def clipped(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        low = inputs[1] if len(inputs) > 1 else attributes.get("min")
        high = inputs[2] if len(inputs) > 2 else attributes.get("max")
        low, high = (None if n is None else float(n) for n in (low, high))
        if (low, high) == (0.0, 6.0):
            return functional.relu6(inputs[0])  # one operator in TFLite
        return torch.clamp(inputs[0], low, high)

    def sliced(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        value = inputs[0]
        if len(inputs) > 1:
            starts, stops = listed(inputs[1]), listed(inputs[2])
        else:
            starts, stops = list(attributes["starts"]), list(attributes["ends"])
        axes = axes_of(attributes, inputs, 3) or list(range(len(starts)))
        steps = listed(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
        cuts = [slice(None)] * value.dim()
        for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
            if step < 1:
                raise GraphError("slicing backwards is not known here")
            cuts[axis] = slice(start, stop, step)
        return value[tuple(cuts)]

    def cast(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
        if int(attributes["to"]) not in kinds:
            raise GraphError(f"casting to ONNX type {attributes['to']} is not known here")
        return inputs[0].to(kinds[int(attributes["to"])])

    def constant_of_shape(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        fill = attributes.get("value")
        shape = listed(inputs[0])
        return torch.zeros(shape) if fill is None else torch.full(shape, fill.reshape(-1)[0].item(), dtype=fill.dtype)

    def softmax(attributes: Attributes, inputs: Sequence[Any]) -> Any:
        return torch.softmax(inputs[0], int(attributes.get("axis", -1)))

    def over_space(function: Callable[..., Any]) -> Operator:
        return lambda attributes, inputs: function(inputs[0], list(range(2, inputs[0].dim())), True)

    def mean(value: Any, axes: list[int], keep: bool) -> Any:
        return torch.mean(value, axes, keep)

    def largest(value: Any, axes: list[int], keep: bool) -> Any:
        return torch.amax(value, axes, keep)

    return {
        "Add": one(torch.add), "Sub": one(torch.sub), "Mul": one(torch.mul), "Pow": one(torch.pow),
        "Div": one(lambda a, b: torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")),
        "Sqrt": one(torch.sqrt), "Exp": one(torch.exp), "Log": one(torch.log), "Neg": one(torch.neg),
        "Abs": one(torch.abs), "Erf": one(torch.erf), "Tanh": one(torch.tanh), "Sigmoid": one(torch.sigmoid),
        "Relu": one(functional.relu), "HardSwish": one(functional.hardswish), "Softplus": one(functional.softplus),
        "HardSigmoid": lambda a, i: torch.clamp(i[0] * a.get("alpha", 0.2) + a.get("beta", 0.5), 0.0, 1.0),
        "LeakyRelu": lambda a, i: functional.leaky_relu(i[0], float(a.get("alpha", 0.01))),
        "Elu": lambda a, i: functional.elu(i[0], float(a.get("alpha", 1.0))),
        "Clip": clipped, "Softmax": softmax, "Conv": convolution, "BatchNormalization": normalised,
        "MatMul": one(torch.matmul), "Gemm": gemm,
        "MaxPool": lambda a, i: pooled(a, i, False), "AveragePool": lambda a, i: pooled(a, i, True),
        "GlobalAveragePool": over_space(mean), "GlobalMaxPool": over_space(largest),
        "ReduceMean": reduced(mean), "ReduceMax": reduced(largest),
        "ReduceSum": reduced(torch.sum),
        "Reshape": reshaped, "Flatten": flattened, "Squeeze": squeezed, "Unsqueeze": unsqueezed, "Pad": padded,
        "Transpose": lambda a, i: i[0].permute([int(n) for n in a.get("perm", reversed(range(i[0].dim())))]),
        "Concat": lambda a, i: torch.cat(list(i), int(a["axis"])), "Slice": sliced, "Cast": cast,
        "Gather": lambda a, i: torch.index_select(i[0], int(a.get("axis", 0)), i[1].reshape(-1)).reshape(
            [*i[0].shape[: int(a.get("axis", 0)) % i[0].dim()], *i[1].shape,
             *i[0].shape[int(a.get("axis", 0)) % i[0].dim() + 1 :]]
        ),
        "Expand": lambda a, i: i[0] * torch.ones(listed(i[1]), dtype=i[0].dtype),
        "Shape": lambda a, i: torch.tensor(i[0].shape[int(a.get("start", 0)) : a.get("end")], dtype=torch.int64),
        "ConstantOfShape": constant_of_shape, "Identity": one(lambda value: value),
        "Dropout": lambda a, i: i[0],
    }  # fmt: skip
