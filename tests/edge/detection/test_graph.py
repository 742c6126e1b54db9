"""The interpreter: kept from standard error, where nobody can do anything about what it says, and called directly."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.detection import graph as module
from edge.detection.choice import default_model
from edge.detection.graph import Graph
from edge.detection.model_file import ModelFileError, read

LOADING = """
import os, sys, threading
from pathlib import Path
from edge.detection import graph
from edge.detection.model import load

inner = graph._interpreter
others = threading.Event()
if sys.argv[2] == "threads":
    threading.Thread(target=others.wait).start()
before = os.fstat(2)
def interpreter(content):
    if sys.argv[2] == "threads":
        assert os.fstat(2).st_ino == before.st_ino, "standard error is another"
    os.write(2, b"said meanwhile\\n")
    return inner(content)
graph._interpreter = interpreter
print("before", file=sys.stderr)
load(Path(sys.argv[1]), verify=False)
print("after", file=sys.stderr)
others.set()
"""


def stderr_of_loading(model: Path, company: str) -> str:
    done = subprocess.run([sys.executable, "-c", LOADING, model, company], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.data
def test_loading_a_model_leaves_standard_error_to_others(model: Path) -> None:
    assert stderr_of_loading(model, "alone") == "before\nsaid meanwhile\nafter\n"


@pytest.mark.data
def test_with_other_threads_standard_error_is_left_alone(model: Path) -> None:
    said = stderr_of_loading(model, "threads").splitlines()
    assert [line for line in said if not line.startswith("INFO")] == ["before", "said meanwhile", "after"]


def test_a_file_of_another_kind_is_called_so() -> None:
    with pytest.raises(ModelFileError, match=r"^notes\.txt is no \.tflite file$"):
        Graph(b"no graph at all", "notes.txt")


class Public:
    """An interpreter that gives what is documented, and nothing of what is inside."""

    def __init__(self, content: bytes) -> None:
        self._inside = module._interpreter(content)
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked.add(name)
        return getattr(self._inside, name)


def test_an_interpreter_without_the_inner_functions_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content = read(default_model()).graph
    direct, public = Graph(content), Public(content)
    monkeypatch.setattr(module, "_interpreter", lambda graph: public)
    plain = Graph(content)
    assert {"set_tensor", "invoke", "get_tensor"} <= public.asked
    patch = np.random.default_rng(2).normal(-3, 2, (1, 96, 64)).astype(np.float32)
    for graph in (direct, plain):
        graph.feed(patch)
    for name in direct.output_shapes:
        assert np.array_equal(plain.output(name), direct.output(name))
