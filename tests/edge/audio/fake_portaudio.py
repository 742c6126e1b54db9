"""PortAudio as ``sounddevice`` shows it, with devices that can be refused, unplugged and overrun.

As strict as the real one: a rate or channel count that the device does not have raises ``PortAudioError``, in the
check and in the opening alike, and a stream that was not opened or was closed cannot be started.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PortAudioError(Exception):
    pass


@dataclass
class Device:
    name: str
    rates_hz: tuple[int, ...] = (48_000,)
    channels: int = 1
    play: Callable[[int], NDArray[np.float32]] = lambda frames: np.zeros(frames, np.float32)
    """Gives the next frames of channel 1; channel c sounds as ``c *`` these."""
    overflow_at: frozenset[int] = frozenset()
    """Blocks that come with the overflow flag, after this long a pause:"""
    overflow_pause_s: float = 0.0
    dies_after: int = 10**9
    """Blocks until the stream ends as if unplugged."""
    stalls_after: int = 10**9
    """Blocks until the callback is not called any more, while the stream says that it is active."""


@dataclass
class FakePortAudio:
    devices: list[Device]
    views: list[str] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    PortAudioError = PortAudioError

    def fresh(self, view: str) -> "FakePortAudio":
        self.views.append(view)
        return self

    @property
    def default(self) -> Any:
        return SimpleNamespace(device=(0 if self.devices else -1, -1))

    def query_devices(self, index: int | None = None) -> Any:
        described = [
            {"name": d.name, "max_input_channels": d.channels, "default_samplerate": float(d.rates_hz[0])}
            for d in self.devices
        ]
        return described if index is None else described[index]

    def check_input_settings(self, device: int, channels: int, dtype: str, samplerate: float) -> None:
        chosen = self.devices[device]
        if channels > chosen.channels:
            raise PortAudioError("Invalid number of channels [PaErrorCode -9998]")
        if samplerate not in chosen.rates_hz:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def InputStream(self, **how: Any) -> "Stream":  # noqa: N802
        self.check_input_settings(how["device"], how["channels"], how["dtype"], how["samplerate"])
        self.opened.append(how)
        return Stream(self.devices[how["device"]], how)


class Stream:
    def __init__(self, device: Device, how: dict[str, Any]) -> None:
        self.active = False
        self._device = device
        self._how = how
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if self._closed.is_set():
            raise PortAudioError("Invalid stream pointer [PaErrorCode -9988]")
        self.active = True
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.active = False

    def _run(self) -> None:
        frames, rate_hz = self._how["blocksize"], self._how["samplerate"]
        due_s = time.monotonic()
        for number in range(min(self._device.dies_after, self._device.stalls_after)):
            due_s += frames / rate_hz
            overflow = number in self._device.overflow_at
            if overflow:
                due_s += self._device.overflow_pause_s
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            block = np.outer(self._device.play(frames), np.arange(1, self._how["channels"] + 1)).astype(np.float32)
            self._how["callback"](block, frames, None, Status(overflow))
            block[:] = np.nan  # PortAudio reuses its buffer: who keeps it instead of copying hears this
        if self._device.stalls_after < self._device.dies_after:
            self._closed.wait()
        self.active = False
        self._how["finished_callback"]()


class Status:
    def __init__(self, input_overflow: bool) -> None:
        self.input_overflow = input_overflow

    def __bool__(self) -> bool:
        return self.input_overflow
