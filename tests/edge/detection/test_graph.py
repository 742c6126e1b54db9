"""The interpreter, kept from standard error, where nobody can do anything about what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.detection.graph import Graph
from edge.detection.model_file import ModelFileError

LOADING = """
import os, sys
from pathlib import Path
from edge.detection import graph
from edge.detection.model import load

inner = graph._interpreter
def interpreter(content):
    os.write(2, b"said meanwhile\\n")
    return inner(content)
graph._interpreter = interpreter
print("before", file=sys.stderr)
load(Path(sys.argv[1]), verify=False)
print("after", file=sys.stderr)
"""


@pytest.mark.data
def test_loading_a_model_leaves_standard_error_to_others(model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADING, model], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "before\nsaid meanwhile\nafter\n")


def test_a_file_of_another_kind_is_called_so() -> None:
    with pytest.raises(ModelFileError, match=r"^notes\.txt is no \.tflite file$"):
        Graph(b"no graph at all", "notes.txt")
