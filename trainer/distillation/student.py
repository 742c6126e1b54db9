"""The student: a narrow network of YAMNet's shape in PyTorch, random at first, with batch norms; and its way out.

    student = Student(width=0.5, classes=521)
    embedding, *maps = student(patches)         # float32 [n, D], and the layers that `maps` name, [n, C, t, f]
    network = student.network()                 # plain numbers, batch norms folded: converters.network

PyTorch itself rather than Keras: Keras on PyTorch turns every convolution's axes round and back, and trains at half
the speed; the shape and the padding are those of `converters.network`, where the exported weights are run.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from converters.network import FIRST_STRIDE, FIRST_WIDTH, WIDTHS_AND_STRIDES, Layer, Network, folded, from_torch

EPSILON = 1e-3
"""Of the batch norms, as in YAMNet."""


def channels_at(width: float) -> list[int]:
    """Channels of the first convolution and the 13 pairs; multiples of 8, which the kernels like."""
    return [max(8, round(full * width / 8) * 8) for full in (FIRST_WIDTH, *(c for c, _ in WIDTHS_AND_STRIDES))]


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU6; TensorFlow's SAME padding."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        padding = size // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPSILON, momentum=0.02)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1:
            return functional.relu6(self.norm(self.convolution(x)))
        # In bfloat16 its gradient at stride 2 falls back on a kernel that takes ten times as long.
        with torch.autocast(x.device.type, enabled=False):
            padded = functional.pad(x.float(), (0, 1, 0, 1))  # sizes are even: the zero goes behind
            x = self.convolution(padded)
        return functional.relu6(self.norm(x))

    def layer(self) -> Layer:
        kind: Literal["conv", "depthwise"] = "depthwise" if self.convolution.groups > 1 else "conv"
        kernel = from_torch(kind, self.convolution.weight.detach().float().numpy())
        parts = (self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var)
        scale, offset, mean, variance = (part.detach().float().numpy() for part in parts if part is not None)
        return folded(kind, kernel, scale, offset, mean, variance, EPSILON, self.stride)


class Student(nn.Module):
    """A narrow YAMNet. ``maps``: pairs (1 to 13) whose output `forward` also gives."""

    def __init__(self, width: float, classes: int, maps: Sequence[int] = ()) -> None:
        super().__init__()
        channels = channels_at(width)
        units = [_Unit(1, channels[0], 3, FIRST_STRIDE)]
        for number, (_, stride) in enumerate(WIDTHS_AND_STRIDES, 1):
            before, after = channels[number - 1], channels[number]
            units += [_Unit(before, before, 3, stride, before), _Unit(before, after, 1, 1)]
        self.units = nn.ModuleList(units)
        self.classifier = nn.Linear(channels[-1], classes)
        self.maps = tuple(maps)
        self.channels = channels

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = patches[:, None].contiguous(memory_format=torch.channels_last)
        found = {}
        for number, unit in enumerate(self.units):
            x = unit(x)
            if number % 2 == 0:
                found[number // 2] = x
        return (x.mean((2, 3)), *(found[number] for number in self.maps))

    def network(self) -> Network:
        """Its layers in plain numbers, for conversion."""
        layers = tuple(unit.layer() for unit in self.units if isinstance(unit, _Unit))
        weights = self.classifier.weight.detach().float().numpy()
        return Network(layers, np.array(weights), np.array(self.classifier.bias.detach().float().numpy()))
