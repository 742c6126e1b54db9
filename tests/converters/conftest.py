"""What tests of conversions share: the libraries of the ``deep`` extra, whose absence is a loud skip."""

import os
from typing import Any

import pytest


def extra(module: str) -> Any:
    """A library of the extra, or the test is skipped and listed under NOT TESTED HERE."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip(
        module, reason=f"MISSING EXTRA: no {module.partition('.')[0]} (pip install 'ecosight[deep]')"
    )


@pytest.fixture(scope="session")
def keras() -> Any:
    return extra("keras")


@pytest.fixture(scope="session")
def h5py() -> Any:
    return extra("h5py")


@pytest.fixture(scope="session")
def litert_torch(keras: Any) -> Any:
    return extra("litert_torch")


@pytest.fixture(scope="session")
def onnx() -> Any:
    extra("onnxscript")
    return extra("onnx")
