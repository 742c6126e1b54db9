"""A small file of state: read whole or not at all, written durably before the step that it tells of."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge.durable import commit_bytes, make_folder

LARGEST_BYTES = 1 << 20
"""Far more than any of them has; a damaged one must not fill the memory."""

State = TypeVar("State", bound=BaseModel)


def read(kind: type[State], path: Path) -> State:
    """What stands in ``path``; a fresh ``kind()`` where there is no such file.

    Raises:
        ValueError: the file is there and damaged.
        OSError: it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES)
    except FileNotFoundError:
        return kind()
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{path} is damaged: {error.errors()[0]['msg']}") from error


def write(path: Path, state: BaseModel) -> None:
    """Raises OSError; the file is as it was then."""
    make_folder(path.parent)
    commit_bytes(path, state.model_dump_json(indent=1).encode())
