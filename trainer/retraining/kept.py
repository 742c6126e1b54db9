"""Results of steps, kept by what they were made from: a step that was done is known by its content, not by a flag.

    kept = Kept(folder)
    found = kept.arrays("fitted", key, fit)       # fits, or reads what was fitted for this key

A key names everything that a result depends on beside the program, whose own source is added here. What is kept can
always be made again: a damaged file is, and only the newest few of a kind stay.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.head_file import pack_arrays
from edge.durable import commit_bytes

NEWEST = 24
"""Of each kind."""
Arrays = dict[str, NDArray[np.generic]]


class Kept:
    """A folder of results. It need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrays(self, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
        """What ``make`` gives, or gave. Raises OSError: no space; and whatever ``make`` raises."""
        path = self._path(kind, key, "npz")
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass
        made = make()
        self._keep(kind, path, pack_arrays(**made))
        return made

    def text(self, kind: str, key: str, make: Callable[[], str]) -> str:
        """Likewise of a text."""
        path = self._path(kind, key, "txt")
        try:
            digest, _, text = path.read_text(encoding="utf-8").partition("\n")
            if digest == _digest(text):
                return text
        except (OSError, UnicodeDecodeError):
            pass
        made = make()
        self._keep(kind, path, f"{_digest(made)}\n{made}".encode())
        return made

    def _path(self, kind: str, key: str, ending: str) -> Path:
        return self._folder / f"{kind}-{_digest(f'{program()} {key}')[:24]}.{ending}"

    def _keep(self, kind: str, path: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        commit_bytes(path, content)
        there = sorted(self._folder.glob(f"{kind}-*"), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in there[NEWEST:]:
            old.unlink()


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 (hex) of lines, whose order counts."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


@cache
def program() -> str:
    """SHA-256 (hex) of the source of everything that a result may depend on."""
    home = Path(__file__).resolve().parents[2]
    files = sorted(path for package in ("edge", "converters", "trainer") for path in (home / package).rglob("*.py"))
    return digest_of(f"{path.relative_to(home)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
