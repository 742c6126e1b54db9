"""The interpreter, kept from standard error, where nobody can do anything about what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.detection.graph import Graph
from edge.detection.model_file import ModelFileError

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
