"""Files to sound: whatever libsndfile reads becomes 16 kHz mono float32, block by block.

The first channel is heard, as on the device. What the file holds decides, never its name. A file of hours takes no
more memory than one of a second. What cannot be learned from is a ``DecodingError`` that names the file and says why.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ
from edge.audio.recordings import Recording, open_recording
from edge.audio.source import SourceError
from trainer.data.fingerprint import Fingerprint, Fingerprinter

BLOCK_S = 10.0
LARGEST = 16.0
"""Samples beyond are no sound of full scale ±1 that was a little too loud, but integers written as floats."""
SILENT = 2.0**-15
"""A file whose samples differ by no more than one step of 16 bits is silent."""
MOST_REPLACED = 0.01
"""Share of samples that may be no numbers."""
_ADVICE_OF_THE_DEVICE = "ffmpeg reads more formats: source: url, location: the file's path"


class DecodingError(ValueError):
    """A file that cannot be learned from. The text is for people."""


@dataclass
class _Tally:
    """What is noticed while a file is read."""

    samples: int = 0
    lowest: float = float("inf")
    highest: float = -float("inf")
    clipped: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Inspection:
    """What one file holds."""

    sha256: str
    """Of the file (hex)."""
    samples_sha256: str
    """Of its rate and its samples in steps of 24 bits (hex): the same for a WAV and a FLAC made of it."""
    seconds: float
    sample_rate_hz: int
    channels: int
    encoding: str
    """As libsndfile names it: ``WAV/PCM_16``."""
    peak: float
    notes: tuple[str, ...]
    """What is unusual and no reason to refuse it."""
    fingerprint: Fingerprint


def blocks(path: Path, block_s: float = BLOCK_S) -> Iterator[NDArray[np.float32]]:
    """The sound of a file at 16 kHz, float32 [n] each, full scale ±1; resampled as the device does.

    Raises:
        DecodingError: no sound, damaged (what stands before the damage was given), not scaled to ±1.
    """
    with _open(path) as recording:
        yield from _resampled(_native(recording, block_s, _Tally()), recording.sample_rate_hz)


def read(path: Path) -> NDArray[np.float32]:
    """The whole of it at once, float32 [n]: 3.7 MiB a minute. Raises as ``blocks``."""
    return np.concatenate(list(blocks(path)))


def read_part(path: Path, start_s: float, stop_s: float) -> NDArray[np.float32]:
    """From ``start_s`` to ``stop_s``, as much of it as there is, float32 [n] at 16 kHz; for parts of seconds.

    Raises:
        DecodingError: it cannot be read there.
    """
    import soundfile

    with _open(path):
        pass  # for its messages
    try:
        with soundfile.SoundFile(path) as file:
            first = min(file.frames, max(0, round(start_s * file.samplerate)))
            file.seek(first)
            count = max(0, round(stop_s * file.samplerate) - first)
            frames, rate = file.read(count, dtype="float32", always_2d=True), file.samplerate
    except (RuntimeError, OSError) as error:
        raise DecodingError(f"{one_line(path)} cannot be read at {start_s:.1f} s: {error}") from error
    sound = np.nan_to_num(frames[:, 0], posinf=0.0, neginf=0.0)
    return np.concatenate([np.empty(0, np.float32), *_resampled(iter([sound]), rate)])


def inspect(path: Path) -> Inspection:
    """Read a file once, from end to end, and say what it holds.

    Raises:
        DecodingError: as ``blocks``; or silent, or with many samples that are no numbers.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DecodingError(f"{one_line(path)} cannot be read: {error.strerror or error}") from error
    tally, printer = _Tally(), Fingerprinter()
    with _open(path) as recording:
        rate = recording.sample_rate_hz
        digest = hashlib.sha256(f"{rate}\n".encode())

        def digested() -> Iterator[NDArray[np.float32]]:
            for block in _native(recording, BLOCK_S, tally):
                digest.update(np.rint(block.astype(np.float64) * 2**23).astype("<i4").tobytes())
                yield block

        for block in _resampled(digested(), rate):
            printer.push(block)
        _judge(path, recording, tally)
        return Inspection(
            sha256=sha256,
            samples_sha256=digest.hexdigest(),
            seconds=tally.samples / rate,
            sample_rate_hz=rate,
            channels=recording.channels,
            encoding=recording.encoding,
            peak=max(abs(tally.lowest), abs(tally.highest)),
            notes=tuple(tally.notes),
            fingerprint=printer.finish(),
        )


def _judge(path: Path, recording: Recording, tally: _Tally) -> None:
    if tally.samples == 0:
        raise DecodingError(f"{one_line(path)} holds no sound")
    if recording.replaced > MOST_REPLACED * tally.samples:
        share = 100 * recording.replaced / tally.samples
        raise DecodingError(f"{one_line(path)}: {share:.0f} % of its samples are no numbers (NaN or infinite)")
    if tally.highest - tally.lowest <= SILENT:
        which = "its first channel" if recording.channels > 1 else "it"
        raise DecodingError(f"{one_line(path)} is silent: all samples of {which} are {tally.lowest:.6g}")
    if recording.replaced:
        tally.notes.append(f"{recording.replaced} samples are no numbers and were read as silence")
    if tally.samples < recording.frames:
        tally.notes.append(
            f"ends after {tally.samples / recording.sample_rate_hz:.2f} s of the {recording.duration_s:.2f} s "
            "that its header promises"
        )
    if recording.sample_rate_hz < SAMPLE_RATE_HZ:
        tally.notes.append(f"nothing above {recording.sample_rate_hz / 2000:g} kHz: its rate is that low")


def _open(path: Path) -> Recording:
    try:
        return open_recording(path)
    except SourceError as error:
        text = str(error).replace(str(path), one_line(path), 1)
        raise DecodingError(text.replace(_ADVICE_OF_THE_DEVICE, "convert it to WAV or FLAC")) from error


def _native(recording: Recording, block_s: float, tally: _Tally) -> Iterator[NDArray[np.float32]]:
    """The file's own samples, float32 [n] at its own rate, without what is no number."""
    found = recording.blocks(block_s)
    while True:
        try:
            block = next(found)
        except StopIteration:
            return
        except SourceError as error:
            raise DecodingError(str(error).replace(str(recording.path), one_line(recording.path), 1)) from error
        tally.samples += len(block)
        tally.lowest = min(tally.lowest, float(block.min()))
        tally.highest = max(tally.highest, float(block.max()))
        if max(-tally.lowest, tally.highest) > LARGEST:
            raise DecodingError(
                f"{one_line(recording.path)}: its samples reach {max(-tally.lowest, tally.highest):.6g}, full scale "
                "is 1; write it again as integers or divided by its full scale"
            )
        yield block


def _resampled(sound: Iterator[NDArray[np.float32]], rate_hz: int) -> Iterator[NDArray[np.float32]]:
    if rate_hz == SAMPLE_RATE_HZ:
        yield from sound
        return
    import soxr

    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
    for block in sound:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def one_line(path: Path | str) -> str:
    """The path in one line, whatever stands in its name."""
    text = str(path)
    return text if text.isprintable() else repr(text)
