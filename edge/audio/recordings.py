"""Recordings as a source: one file, or a folder of them, at the speed of sound or as fast as possible.

Anything that libsndfile reads (WAV, FLAC, Ogg, MP3, AIFF; 8 to 32 bit, float; any channels) is read block by
block, so a file of a day takes no more memory than one of a second. What cannot be read is a `SourceError`
that names the file and what is wrong with it.

    with open_recording(path) as recording:
        for block in recording.blocks(block_s=1.0):   # float32 [n], mono
            …
"""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edge.audio.resampled import Resampled
from edge.audio.source import BETWEEN_RECORDINGS, BLOCK_S, Sink, SourceError
from edge.settings import AudioSettings

LOG = logging.getLogger(__name__)

LOWEST_RATE_HZ = 1_000
HIGHEST_RATE_HZ = 768_000
"""Rates that a header may claim. Below and above stands damage, not sound."""
FAST_BLOCK_S = 1.0
BETWEEN_S = 1.0
"""Two files of a folder are set apart by this gap, so that no window straddles them."""
SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".w64", ".rf64", ".caf", ".au"}
)
"""What counts as a recording in a folder."""


class Recording:
    """One open sound file, heard through one of its channels. Use it as a context manager."""

    def __init__(self, path: Path, file: Any, channel: int) -> None:
        self.path = path
        self.sample_rate_hz: int = file.samplerate
        self.frames: int = file.frames
        """As the header says; a truncated file has fewer."""
        self.channels: int = file.channels
        self.encoding: str = f"{file.format}/{file.subtype}"
        self.replaced = 0
        """Samples that were no numbers (NaN, infinite) and were read as silence."""
        self._file = file
        self._channel = channel

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz

    def blocks(self, block_s: float = FAST_BLOCK_S) -> Iterator[NDArray[np.float32]]:
        """The sound from here to the end, mono float32 ``[n]``, full scale ±1; only the last block is shorter.

        Raises:
            SourceError: damage in the middle. What stands before it has been yielded.
        """
        count = max(1, round(block_s * self.sample_rate_hz))
        done = 0
        while True:
            try:
                block = self._file.read(count, dtype="float32", always_2d=True)
            except (RuntimeError, OSError) as error:
                raise SourceError(
                    f"{self.path}: damaged after {done / self.sample_rate_hz:.1f} s ({error})", "bad_recording"
                ) from error
            if not len(block):
                return
            done += len(block)
            yield self._mono(block)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        mono = np.ascontiguousarray(block[:, self._channel - 1])
        # One sum is NaN or infinite if any sample is; only then each is looked at.
        with np.errstate(invalid="ignore", over="ignore"):
            total = mono.sum()
        if not np.isfinite(total):
            bad = ~np.isfinite(mono)
            if bad.any() and not self.replaced:
                LOG.warning("%s holds samples that are no numbers; they are read as silence", self.path)
            self.replaced += int(bad.sum())
            mono[bad] = 0.0
        return mono


def open_recording(path: Path, channel: int = 1) -> Recording:
    """Open a sound file to hear ``channel`` (from 1) of it.

    Raises:
        SourceError: no such file, empty, not sound, without that channel, a rate that no device has.
    """
    import soundfile

    try:
        if path.is_dir():
            raise SourceError(f"{path} is a folder, not a recording", "bad_recording")
        if path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes)", "bad_recording")
        file = soundfile.SoundFile(path)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}", "bad_recording") from error
    except (RuntimeError, TypeError) as error:  # LibsndfileError is a RuntimeError; raw formats a TypeError
        text = str(getattr(error, "error_string", error)).rstrip(".")
        raise SourceError(
            f"{path} is not a sound file that can be read here ({text}); "
            "ffmpeg reads more formats: source: url, location: the file's path",
            "bad_recording",
        ) from error
    problem = ""
    if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
        problem = f"{path} claims a sample rate of {file.samplerate} Hz; its header is damaged"
    elif channel > file.channels:
        problem = f"{path} has {file.channels} channel(s), but audio.channel is {channel}"
    elif file.frames == 0:
        problem = f"{path} has a header but no sound (0 frames)"
    if problem:
        file.close()
        raise SourceError(problem, "bad_recording")
    return Recording(path, file, channel)


class FileSource:
    """One file at its own rate."""

    live = False
    latency_s = 0.0

    def __init__(self, settings: AudioSettings, block_s: float = BLOCK_S) -> None:
        self._path = Path(settings.location)
        self._settings = settings
        self._block_s = block_s
        with open_recording(self._path, settings.channel) as recording:
            self.sample_rate_hz = recording.sample_rate_hz
            self.description = f"{self._path} ({recording.duration_s:.1f} s, {recording.sample_rate_hz} Hz)"

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Play the file once. Raises SourceError where it is damaged."""
        with open_recording(self._path, self._settings.channel) as recording:
            _play(recording, sink, stop, self._block_s, self._settings.pace == "real_time")


class FolderSource:
    """All recordings of a folder and its subfolders in the order of their names, at the configured rate.

    A bad file is logged and skipped.
    """

    live = False
    latency_s = 0.0

    def __init__(self, settings: AudioSettings, block_s: float = BLOCK_S) -> None:
        folder = Path(settings.location)
        self._block_s = block_s
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder", "bad_recording")
        self._paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self._paths:
            raise SourceError(f"{folder} holds no recording ({', '.join(sorted(SUFFIXES))})", "bad_recording")
        self._settings = settings
        self.sample_rate_hz = settings.sample_rate_hz
        self.description = f"{folder} ({len(self._paths)} recordings)"

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Play every file once. Raises SourceError if none could be read to its end."""
        played = 0
        for path in self._paths:
            if stop.is_set():
                return
            try:
                self._play_one(path, sink, stop)
                played += 1
            except SourceError as error:
                LOG.error("skipped: %s", error)
            sink.gap(round(BETWEEN_S * self.sample_rate_hz), BETWEEN_RECORDINGS)
        if not played:
            raise SourceError(f"none of the {len(self._paths)} recordings could be read to its end", "bad_recording")

    def _play_one(self, path: Path, sink: Sink, stop: threading.Event) -> None:
        with open_recording(path, self._settings.channel) as recording:
            LOG.info("playing %s (%.1f s, %d Hz)", path, recording.duration_s, recording.sample_rate_hz)
            real_time = self._settings.pace == "real_time"
            if recording.sample_rate_hz == self.sample_rate_hz:
                _play(recording, sink, stop, self._block_s, real_time)
                return
            resampled = Resampled(sink, recording.sample_rate_hz, self.sample_rate_hz)
            _play(recording, resampled, stop, self._block_s, real_time)
            resampled.flush()


def _play(recording: Recording, sink: Sink, stop: threading.Event, block_s: float, real_time: bool) -> None:
    started_s = time.monotonic()
    played = 0
    for block in recording.blocks(block_s if real_time else FAST_BLOCK_S):
        played += len(block)
        if real_time:
            # A block is there when its last frame would have sounded, as with a microphone.
            due_s = started_s + played / recording.sample_rate_hz
            if stop.wait(max(0.0, due_s - time.monotonic())):
                return
        elif stop.is_set():
            return
        sink.write(block)
    if played < recording.frames:
        LOG.warning(
            "%s ends after %d of the %d frames that its header promises", recording.path, played, recording.frames
        )
