"""A graph in two parts: what its scores need, for each window, and what other outputs need, where they are asked for.

A device that listens wants the scores. The embedding and the scores of other classes are wanted for an event or a clip,
and the layers that only these need are a seventh of a network's work and half of its weights.

The parts are the same file with other lists of inputs, outputs and operators, so every layer is computed as in the
whole, to the bit. What one part hands to the other, the *seam*, must be a single tensor; else the graph stays whole.
Offsets and fields: flatbuffers.dev/internals and tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SUBGRAPHS, _SIGNATURES = 2, 7
"""Fields of the model's table."""
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3
"""Of a subgraph's."""
_READS, _MAKES = 1, 2
"""Of an operator's."""
_SHAPE, _TYPE, _NAME = 0, 1, 3
"""Of a tensor's. Type 0, which need not be said, is float32."""


@dataclass(frozen=True)
class Parts:
    """Two graphs that are one."""

    first: bytes
    """From the input to the wanted output and, as its last output, the seam."""
    seam: str
    """The tensor that the second part takes."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of the other outputs."""
    _patches: tuple[tuple[int, bytes], ...]

    def second(self) -> bytes:
        """From the seam to the other outputs."""
        return _patched(self.first, self._patches)


def parts_of(graph: bytes, wanted: str) -> Parts | None:
    """The parts of ``graph`` for its output ``wanted``; None where it stays whole."""
    try:
        return _parts(graph, wanted)
    except (struct.error, ValueError, IndexError):  # the interpreter has better words for what is damaged
        return None


def _parts(graph: bytes, wanted: str) -> Parts | None:
    model = _u32(graph, 0)
    subgraphs = _offsets(graph, _vector(graph, model, _SUBGRAPHS))
    if len(subgraphs) != 1 or _field(graph, model, _SIGNATURES):
        return None
    tensors = _offsets(graph, _vector(graph, subgraphs[0], _TENSORS))
    operators = _offsets(graph, _vector(graph, subgraphs[0], _OPERATORS))
    reads = [_numbers(graph, _vector(graph, op, _READS)) for op in operators]
    makes = [_numbers(graph, _vector(graph, op, _MAKES)) for op in operators]
    inputs, outputs = (_numbers(graph, _vector(graph, subgraphs[0], field)) for field in (_INPUTS, _OUTPUTS))
    names = {number: _text(graph, _vector(graph, tensors[number], _NAME)) for number in outputs}
    targets = [number for number in outputs if names[number] == wanted]
    others = [number for number in outputs if names[number] != wanted]
    if len(targets) != 1 or not others:
        return None
    if any((kind := _field(graph, tensors[number], _TYPE)) and graph[kind] for number in (*inputs, *outputs)):
        return None
    made_by = {tensor: at for at, made in enumerate(makes) for tensor in made}
    first, todo = set[int](), list(targets)
    while todo:
        at = made_by.get(todo.pop())
        if at is not None and at not in first:
            first.add(at)
            todo += reads[at]
    second = [at for at in range(len(operators)) if at not in first]
    made = {tensor for at in first for tensor in makes[at]}
    taken = {tensor for at in second for tensor in reads[at]}
    seams = taken & made
    if len(seams) != 1 or taken & set(inputs) or not set(others) <= {tensor for at in second for tensor in makes[at]}:
        return None
    (seam,) = seams
    order = [*sorted(first), *second]

    def lists(takes: Sequence[int], gives: Sequence[int], from_: int, to: int) -> list[tuple[int, bytes]]:
        where = {field: _vector(graph, subgraphs[0], field) for field in (_INPUTS, _OUTPUTS, _OPERATORS)}
        at = where[_OPERATORS]
        turned = [*order[from_:], *order[:from_]]
        steps = [operators[number] - (at + 4 + 4 * place) for place, number in enumerate(turned)]
        return [
            (where[_INPUTS], struct.pack(f"<I{len(takes)}i", len(takes), *takes)),
            (where[_OUTPUTS], struct.pack(f"<I{len(gives)}i", len(gives), *gives)),
            (at, struct.pack(f"<I{len(steps)}I", to - from_, *steps)),
        ]

    apart = {_vector(graph, op, field) for op in operators for field in (_READS, _MAKES)}
    if apart & {_vector(graph, subgraphs[0], field) for field in (_INPUTS, _OUTPUTS)}:
        return None  # some writers store equal lists once
    return Parts(
        _patched(graph, lists(inputs, [*targets, seam], 0, len(first))),
        _text(graph, _vector(graph, tensors[seam], _NAME)),
        {names[number]: tuple(_numbers(graph, _vector(graph, tensors[number], _SHAPE))) for number in others},
        tuple(lists([seam], others, len(first), len(order))),
    )


def _patched(graph: bytes, patches: Sequence[tuple[int, bytes]]) -> bytes:
    changed = bytearray(graph)
    for at, content in patches:
        changed[at : at + len(content)] = content
    return bytes(changed)


def _field(graph: bytes, table: int, number: int) -> int:
    """Where a field of a table lies; 0 where it has none."""
    layout = table - _unpacked("<i", graph, table)
    if 4 + 2 * number >= _unpacked("<H", graph, layout):
        return 0
    offset = _unpacked("<H", graph, layout + 4 + 2 * number)
    return table + offset if offset else 0


def _vector(graph: bytes, table: int, number: int) -> int:
    """Where the length of a vector lies that is a field of a table."""
    at = _field(graph, table, number)
    if not at:
        raise ValueError("a field is missing")
    return at + _u32(graph, at)


def _numbers(graph: bytes, vector: int) -> list[int]:
    return list(struct.unpack_from(f"<{_u32(graph, vector)}i", graph, vector + 4))


def _offsets(graph: bytes, vector: int) -> list[int]:
    places = [vector + 4 + 4 * number for number in range(min(_u32(graph, vector), len(graph)))]
    return [place + _u32(graph, place) for place in places]


def _text(graph: bytes, vector: int) -> str:
    return graph[vector + 4 : vector + 4 + _u32(graph, vector)].decode()


def _u32(graph: bytes, at: int) -> int:
    return _unpacked("<I", graph, at)


def _unpacked(how: str, graph: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("an offset leads out of the file")
    return int(struct.unpack_from(how, graph, at)[0])
