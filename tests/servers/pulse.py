"""A real PulseAudio server whose only microphone is a pipe, so that a capture needs no sound card.

The samples that `PulseServer.say` queues come out of PortAudio bit for bit (16 bit, 48 kHz, mono); in between
there is silence. A feeder writes at the speed of sound: an unfed pipe source spins a core.
"""

import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.servers import missing

RATE_HZ = 48_000
CHUNK_S = 0.02


class PulseServer:
    """Starts, feeds and kills one private server. ``environment`` is what a client needs to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fifo = folder / "mic.fifo"
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PULSE_SERVER": f"unix:{folder / 'native.socket'}",
            "PULSE_COOKIE": str(folder / "cookie"),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._script = folder / "capture.pa"
        self._sound: queue.SimpleQueue[NDArray[np.int16]] = queue.SimpleQueue()
        self._feeding = threading.Event()
        self._feeder: threading.Thread | None = None
        self.background: NDArray[np.int16] = np.zeros(0, np.int16)
        """Repeated while nothing is said; digital silence if empty."""
        self.given: list[tuple[int, float]] = []
        """How many of the frames that were said the server has had, and since when (Unix time)."""
        self.muted = threading.Event()
        """Set: the microphone gives no samples at all."""
        (folder / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        self._script.write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={folder / 'native.socket'}\n"
            f"load-module module-pipe-source source_name=mic file={self.fifo} format=s16le rate={RATE_HZ} channels=1\n"
            "set-default-source mic\n"
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *("pulseaudio", "-n", "-F", str(self._script), "--daemonize=no"),
                *("--exit-idle-time=-1", "--use-pid-file=no", "--log-level=error"),
            ],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 10
        while not ((self.folder / "native.socket").exists() and self.fifo.exists()):
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError("pulseaudio did not start")
            time.sleep(0.01)
        self._feeding.set()
        self._feeder = threading.Thread(target=self._feed, name="pulse-feeder", daemon=True)
        self._feeder.start()

    def say(self, samples: NDArray[np.int16]) -> None:
        """Queue mono samples at 48 kHz; they follow what is already queued without a break."""
        self._sound.put(samples)

    def given_at_s(self, frame: int) -> float:
        """Unix time at which a frame of what was said sounded: a real microphone would have needed it then.

        Frames reach the server in chunks, as they do from a sound card: the last of a chunk just when it is given.
        """
        had, at_s = next(given for given in self.given if given[0] > frame)
        return at_s - (had - frame) / RATE_HZ

    def kill(self) -> None:
        """``kill -9``: what a crashed sound server looks like to its clients."""
        self._feeding.clear()
        if self._feeder is not None:
            self._feeder.join(5)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        (self.folder / "native.socket").unlink(missing_ok=True)
        self.fifo.unlink(missing_ok=True)

    def _feed(self) -> None:
        chunk = round(RATE_HZ * CHUNK_S)
        pending = np.zeros(0, np.int16)
        played = said = 0
        descriptor = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        due_s = time.monotonic()
        try:
            while self._feeding.is_set():
                while len(pending) < chunk and not self._sound.empty():
                    pending = np.concatenate([pending, self._sound.get()])
                piece, pending = pending[:chunk], pending[chunk:]
                said += len(piece)
                is_said = len(piece) > 0
                if len(piece) < chunk:
                    rest = np.zeros(chunk - len(piece), np.int16)
                    if len(self.background):
                        rest = np.take(self.background, np.arange(played, played + len(rest)), mode="wrap")
                        played += len(rest)
                    piece = np.concatenate([piece, rest])
                if not self.muted.is_set():
                    self._write(descriptor, piece.tobytes())
                    if is_said:
                        self.given.append((said, time.time()))
                due_s += CHUNK_S
                time.sleep(max(0.0, due_s - time.monotonic()))
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, data: bytes) -> None:
        while data and self._feeding.is_set():
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # nobody records: the pipe is full
                time.sleep(CHUNK_S / 4)


@pytest.fixture
def pulse(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """A running server; this process's environment points to it."""
    if shutil.which("pulseaudio") is None:
        missing("pulseaudio")
    # Unix socket paths are short: not below a test's long name.
    server = PulseServer(tmp_path_factory.mktemp("pa"))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.kill()
