"""Sound from a pipe: raw PCM on standard input, and whatever ffmpeg can fetch (RTSP cameras, HTTP streams, files)."""

import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.source import BLOCK_S, Sink, SourceError, SourceLost
from edge.redaction import without_passwords
from edge.settings import AudioSettings

LOG = logging.getLogger(__name__)

STALLED_S = 8.0
"""A network stream that gives nothing for this long is dead: connect again."""
LOOK_S = 0.5
"""How often a silent pipe looks whether it should stop."""
BYTES_OF = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_INTEGERS: dict[str, tuple[np.dtype[Any], NDArray[np.float32]]] = {
    "s16le": (np.dtype("<i2"), np.array(2**-15, np.float32)),
    "s32le": (np.dtype("<i4"), np.array(2**-31, np.float32)),
}


def decode(data: bytes | memoryview, sample_format: str) -> NDArray[np.float32]:
    """Whole little-endian samples as float32 ``[n]``, full scale ±1; what is no number becomes silence."""
    if sample_format == "f32le":
        samples = np.frombuffer(data, "<f4")
        return np.where(np.isfinite(samples), samples, np.float32(0)).astype(np.float32, copy=False)
    if sample_format == "s24le":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (padded.view("<i4")[:, 0] / np.float32(2**31)).astype(np.float32, copy=False)
    kind, step = _INTEGERS[sample_format]
    steps = np.frombuffer(data, kind)
    return _scale(steps, step, np.empty(len(steps), np.float32))


def _scale(steps: NDArray[Any], step: NDArray[np.float32], into: NDArray[np.float32]) -> NDArray[np.float32]:
    # Two plain loops: one over mixed types goes piece by piece through numpy's buffers. A ``step`` without dimensions,
    # since a scalar is made one of those first.
    into[...] = steps
    into *= step
    return into


class _Pipe:
    """Reads interleaved PCM from a file descriptor, block by block, and hands one channel of it to a sink."""

    def __init__(
        self, descriptor: int, sample_format: str, channels: int, channel: int, sample_rate_hz: int, block_s: float
    ) -> None:
        self._descriptor = descriptor
        self._format = sample_format
        self._frame_bytes = BYTES_OF[sample_format] * channels
        self._channels = channels
        self._channel = channel
        self._block = memoryview(bytearray(max(1, round(block_s * sample_rate_hz)) * self._frame_bytes))
        self._samples = np.empty(len(self._block) // BYTES_OF[sample_format], np.float32)
        """Room for the samples of a block."""
        self._integers: tuple[NDArray[Any], NDArray[np.float32]] | None = None
        """A whole block as integers, and their step."""
        if sample_format in _INTEGERS:
            kind, step = _INTEGERS[sample_format]
            self._integers = np.frombuffer(self._block, kind), step
        self._filled = 0
        """Bytes of the block that are there."""
        self._wanted = len(self._block)
        """Bytes that complete it: fewer where its beginning was passed on, so that later blocks end where they would
        have. The detector has placed its windows by that."""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.read_at_s = time.monotonic()

    def pump(self, sink: Sink, wait_s: float) -> bool:
        """Wait up to ``wait_s`` for bytes and pass a whole block on; False at the end of the pipe."""
        if not self._poll.poll(1e3 * wait_s):
            self._pass_on(sink)
            return True
        count = os.readv(self._descriptor, [self._block[self._filled : self._wanted]])
        if not count:
            self._pass_on(sink)
            return False
        self.read_at_s = time.monotonic()
        self._filled += count
        if self._filled == self._wanted:
            self._pass_on(sink)
        return True

    def _pass_on(self, sink: Sink) -> None:
        """The whole frames that are there; of a broken one the beginning is kept."""
        whole = self._filled // self._frame_bytes * self._frame_bytes
        if not whole:
            return
        if self._integers is not None and whole == len(self._block):
            samples = _scale(*self._integers, self._samples)
        else:
            samples = decode(self._block[:whole], self._format)
        if self._channels > 1:
            samples = np.ascontiguousarray(samples.reshape(-1, self._channels)[:, self._channel - 1])
        self._filled -= whole
        self._wanted = (self._wanted - whole) or len(self._block)
        if self._filled:
            self._block[: self._filled] = self._block[whole : whole + self._filled]
        sink.write(samples)


class StdinStream:
    """Raw PCM on standard input at the configured rate. Its end is the end; a silent writer is waited for."""

    live = False
    latency_s = 0.0

    def __init__(self, settings: AudioSettings, stream: IO[bytes] | None = None, block_s: float = BLOCK_S) -> None:
        if settings.channel > settings.stdin_channels:
            raise SourceError(
                f"audio.channel is {settings.channel}, but audio.stdin_channels is only {settings.stdin_channels}"
            )
        self._settings = settings
        self._block_s = block_s
        self._stream = stream
        self.sample_rate_hz = settings.sample_rate_hz
        self.description = (
            f"standard input ({settings.stdin_format}, {settings.stdin_channels} channel(s), {self.sample_rate_hz} Hz)"
        )

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Pass sound on until the pipe ends."""
        stream = self._stream if self._stream is not None else sys.stdin.buffer
        settings = self._settings
        pipe = _Pipe(
            stream.fileno(),
            settings.stdin_format,
            settings.stdin_channels,
            settings.channel,
            self.sample_rate_hz,
            self._block_s,
        )
        while not stop.is_set() and pipe.pump(sink, LOOK_S):
            pass


class FfmpegStream:
    """Any URL or file that ffmpeg reads, at the configured rate.

    A URL is live: its end or silence is a loss, and it is connected anew. A plain path is a recording.
    """

    def __init__(self, settings: AudioSettings, block_s: float = BLOCK_S) -> None:
        self._settings = settings
        self._block_s = block_s
        self.live = "://" in settings.location and not settings.location.startswith("file://")
        self.latency_s = 0.0
        self.sample_rate_hz = settings.sample_rate_hz
        self.description = without_passwords(settings.location)

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Raises SourceLost at the end of a live stream; SourceError without ffmpeg, or for a file it cannot read."""
        try:
            process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except FileNotFoundError as error:
            raise SourceError(
                "source: url needs the program ffmpeg; install the package ffmpeg", "no_ffmpeg"
            ) from error
        said = _Said(process)
        try:
            self._pump(process, sink, stop)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            said.join()
        if stop.is_set():
            return
        why = without_passwords(said.last_line())
        if self.live:
            raise SourceLost("stream_ended", why)
        if process.returncode:
            raise SourceError(f"ffmpeg cannot read {self.description}: {why}", "bad_recording")

    def _pump(self, process: "subprocess.Popen[bytes]", sink: Sink, stop: threading.Event) -> None:
        assert process.stdout is not None
        pipe = _Pipe(process.stdout.fileno(), "f32le", 1, 1, self.sample_rate_hz, self._block_s)
        with process.stdout:
            while not stop.is_set():
                if not pipe.pump(sink, LOOK_S):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(2.0)
                    return
                if self.live and time.monotonic() - pipe.read_at_s > STALLED_S:
                    raise SourceLost("stalled", f"nothing from {self.description} for {STALLED_S:.0f} s")

    def _command(self) -> list[str]:
        settings = self._settings
        transport = ["-rtsp_transport", "tcp"] if settings.location.startswith("rtsp") else []
        # Without these ffmpeg looks at five seconds of a stream before it gives the first.
        at_once = ["-fflags", "nobuffer", "-probesize", "32768", "-analyzeduration", "500000"] if self.live else []
        pace = ["-re"] if not self.live and settings.pace == "real_time" else []
        return [
            *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error"),
            *transport,
            *pace,
            *at_once,
            *("-i", settings.location, "-vn", "-map", "0:a:0", "-af", f"pan=mono|c0=c{settings.channel - 1}"),
            *("-ar", str(self.sample_rate_hz), "-f", "f32le", "-flush_packets", "1", "pipe:1"),
        ]


class _Said:
    """Drains a process's standard error, so that it cannot block, and remembers its last line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None
        self._stream = process.stderr
        self._last = ""
        self._thread = threading.Thread(target=self._drain, name="ffmpeg-errors", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with self._stream:
            for line in self._stream:
                self._last = line.decode(errors="replace").strip() or self._last

    def join(self) -> None:
        self._thread.join(2.0)

    def last_line(self) -> str:
        return self._last
