"""A ``.tflite`` graph in an interpreter: one float32 input, named float32 outputs, one thread.

The interpreter is ``ai-edge-litert``; ``tflite-runtime``, its former name, where that is all there is (with numpy < 2,
and many times slower on int8).
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detection.graph_parts import Parts, parts_of
from edge.detection.model_file import ModelFileError

_NOISE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
"""What the interpreter's C++ writes to standard error once a process; it has no setting against it."""


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep ``_NOISE`` from standard error; whatever else is written follows.

    Only where no other thread runs, as in a command that a person types (rich's spinner may): sounddevice, too, puts
    something else in the place of standard error while PortAudio starts, and two at once would not put it back. The
    daemon's log keeps the line.
    """
    others = [thread for thread in threading.enumerate() if not type(thread).__module__.startswith("rich.")]
    if len(others) > 1 or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "wb", 0) as kept, os.fdopen(os.memfd_create("stderr"), "rb", 0) as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept.fileno(), 2)
            said = os.pread(held.fileno(), held.seek(0, os.SEEK_END), 0)
            kept.write(said.replace(_NOISE, b""))


def _interpreter(graph: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter(model_content=graph, num_threads=1)


def _calls(interpreter: Any) -> tuple[Callable[[int, Any], Any], Callable[[], Any], Callable[[int], Any]]:
    """``set_tensor``, ``invoke`` and ``get_tensor``, without the Python around them where they can be had so. All that
    it does is to see that nobody holds a view of a tensor while the graph runs; here nobody has one."""
    inner: Any = getattr(interpreter, "_interpreter", None)
    if all(hasattr(inner, name) for name in ("SetTensor", "Invoke", "GetTensor")):
        return inner.SetTensor, inner.Invoke, inner.GetTensor
    return interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor


class Graph:
    """Not thread-safe: whoever shares it holds a lock."""

    def __init__(self, graph: bytes, name: str = "model", seam: str = "") -> None:
        """``name`` is for messages. ``seam``: an input or output that may be of any type.

        Raises:
            ModelFileError: no graph that this interpreter can run, or not one input and only float32.
        """
        try:
            with _without_greeting():
                self._interpreter = _interpreter(graph)
                self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError, MemoryError) as error:
            if graph[4:8] != b"TFL3":
                raise ModelFileError(f"{name} is no .tflite file") from error
            raise ModelFileError(
                f"{name}: the interpreter cannot run this graph: {error}; is it whole? fetch or convert it again"
            ) from error
        if len(inputs) != 1 or any(one["dtype"] != np.float32 and one["name"] != seam for one in [*inputs, *outputs]):
            raise ModelFileError(f"{name}: a graph has one input, and float32 at both ends")
        self._set, self._run, self._get = _calls(self._interpreter)
        self._input = inputs[0]["index"]
        self._outputs = {one["name"]: one["index"] for one in outputs}
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in inputs[0]["shape"])
        self.output_shapes: Mapping[str, tuple[int, ...]] = MappingProxyType(
            {one["name"]: tuple(int(n) for n in one["shape"]) for one in outputs}
        )

    def feed(self, value: NDArray[Any]) -> None:
        """Run the graph on ``value``, float32 of ``input_shape``."""
        self._set(self._input, value)
        self._run()

    def output(self, name: str) -> NDArray[Any]:
        """A copy of an output of the last run, flat float32."""
        found: NDArray[Any] = self._get(self._outputs[name])
        return found.reshape(-1)


class GraphInParts:
    """A graph of which ``feed`` runs what the output ``wanted`` needs; the rest runs when another output is asked for.
    Used like a `Graph`."""

    def __init__(self, parts: Parts, wanted: str, name: str = "model") -> None:
        """Raises ModelFileError."""
        self._parts, self._name, self._wanted = parts, name, wanted
        self._first = Graph(parts.first, name, parts.seam)
        self._second: Graph | None = None
        self._second_is_fed = False
        self.input_shape = self._first.input_shape
        self.output_shapes = MappingProxyType({wanted: self._first.output_shapes[wanted], **parts.shapes})

    def feed(self, value: NDArray[np.float32]) -> None:
        """Run the first part on ``value``, float32 of ``input_shape``."""
        self._second_is_fed = False
        self._first.feed(value)

    def output(self, name: str) -> NDArray[np.float32]:
        """A copy of an output for what was last fed, flat float32. Raises ModelFileError."""
        if name == self._wanted:
            return self._first.output(name)
        second = self.whole()
        if not self._second_is_fed:
            second.feed(self._first.output(self._parts.seam).reshape(second.input_shape))
            self._second_is_fed = True
        return second.output(name)

    def whole(self) -> Graph:
        """The second part, which takes some milliseconds and a MiB or two the first time. Raises ModelFileError."""
        if self._second is None:
            self._second = Graph(self._parts.second(), self._name, self._parts.seam)
        return self._second


def open_graph(graph: bytes, wanted: str, name: str = "model") -> Graph | GraphInParts:
    """``graph`` in parts, if it has others than what the output ``wanted`` needs. Raises ModelFileError."""
    parts = parts_of(graph, wanted)
    return GraphInParts(parts, wanted, name) if parts else Graph(graph, name)
