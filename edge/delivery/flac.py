"""Clips as FLAC: lossless, at the capture rate, with as many bits as the sound really has.

soundfile is imported when the first clip is written; it takes about 4 MiB.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FULL_SCALE_16 = 1 << 15
FULL_SCALE_24 = 1 << 23


def bits_of(frames: NDArray[np.float32]) -> int:
    """16 if every sample (float32 [n], full scale ±1) is a multiple of 2⁻¹⁵, as 16-bit sources give; else 24.

    float32 holds 24 bits exactly, so neither choice loses anything of an integer source.
    """
    for block in _blocks(frames):
        scaled = block * np.float32(FULL_SCALE_16)
        if not np.array_equal(scaled, np.rint(scaled)):
            return 24
    return 16


def write_flac(path: Path, frames: NDArray[np.float32], sample_rate_hz: int) -> int:
    """Write float32 [n], full scale ±1 (beyond it is clipped); returns the bits per sample. Not fsynced.

    Raises:
        OSError: the disk refuses, or libsndfile does.
    """
    import soundfile

    bits = bits_of(frames)
    scale = FULL_SCALE_16 if bits == 16 else FULL_SCALE_24
    try:
        with soundfile.SoundFile(path, "w", sample_rate_hz, 1, f"PCM_{bits}", format="FLAC") as file:
            for block in _blocks(frames):
                # Integers, because libsndfile scales floats by 32767, and a clip must hold the very samples.
                whole = np.clip(np.rint(block.astype(np.float64) * scale), -scale, scale - 1).astype(np.int32)
                # libsndfile takes the upper bits of an int32.
                file.write(whole << (32 - bits))
    except soundfile.LibsndfileError as error:
        # It hides errno: a full disk shows only as "internal psf_fseek() failed" or the like.
        raise OSError(f"{path.name}: libsndfile: {error}") from error
    _check_end(path, len(frames))
    return bits


def _check_end(path: Path, frames: int) -> None:
    """A short write of the last block is not reported when a file is closed, so the end is read back."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as written:
            tail = min(frames, 1024)
            written.seek(frames - tail)
            there = written.frames == frames and len(written.read(tail)) == tail
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path.name}: cannot be read back: {error}") from error
    if not there:
        raise OSError(f"{path.name}: its end was not written (disk full?)")


def _blocks(frames: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    step = 1 << 16
    return [frames[start : start + step] for start in range(0, len(frames), step)]
