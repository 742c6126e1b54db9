"""Writing sound: a file is there whole or not at all."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = (".wav", ".flac")
_BLOCK = 1 << 20
SUBTYPES = {16: "PCM_16", 24: "PCM_24"}


def write_sound(path: Path, samples: NDArray[np.floating[Any]], rate_hz: int, bits: int = 24) -> None:
    """Write ``samples`` [n] or [n, channels], full scale ±1, cut there; the ending says which format.

    Raises:
        ValueError: an ending that is none of `FORMATS`.
        OSError: it cannot be written; what was there before is left as it was.
    """
    import soundfile

    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name}: sound is written as {' or '.join(FORMATS)}; give the file such an ending")
    # Through memory: libsndfile does not tell of a full disk.
    encoded = io.BytesIO()
    kind = {"format": path.suffix[1:].upper(), "subtype": SUBTYPES[bits]}
    with soundfile.SoundFile(encoded, "w", rate_hz, 1 if samples.ndim == 1 else samples.shape[1], **kind) as file:
        for start in range(0, len(samples), _BLOCK):
            file.write(np.clip(samples[start : start + _BLOCK], -1, 1))
    with safely(path) as partial:
        partial.write_bytes(encoded.getbuffer())


@contextlib.contextmanager
def safely(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to, which takes its place when all went well; errors name ``path``."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.filename in (None, str(partial)):
            error.filename = str(path)
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
