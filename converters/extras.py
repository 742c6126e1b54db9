"""Libraries that only some conversions need: asked for where they are used, and missed in one clear line."""

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any


class MissingExtraError(ImportError):
    """A library of an extra is not installed. The text is for a person."""


def needed(module: str, extra: str = "deep") -> Any:
    """The module. Raises MissingExtraError that says how to get it."""
    if module.partition(".")[0] == "keras":
        # Keras asks for TensorFlow where nothing is said, and reads this once, when it is imported.
        os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        with quietly():
            return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"this needs {missing}, which is not installed: pip install 'ecosight[{extra}]'"
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the warnings, logs and progress bars of libraries: what they end in is checked anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        said = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
