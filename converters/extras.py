"""Libraries that only some conversions need: asked for where they are used, and missed in one clear line."""

import importlib
import os
from typing import Any


class MissingExtraError(ImportError):
    """A library of an extra is not installed. The text is for a person."""


def needed(module: str, extra: str = "deep") -> Any:
    """The module. Raises MissingExtraError that says how to get it."""
    if module.partition(".")[0] == "keras":
        # Keras asks for TensorFlow where nothing is said, and reads this once, when it is imported.
        os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"this needs {missing}, which is not installed: pip install 'ecosight[{extra}]'"
        ) from error
