"""A microphone through PortAudio, chosen by what it is, never by its index.

`run` looks for the device, opens it, and lets the callback copy frames into the sink until the stream ends by
itself (unplugged, sound server gone) or it is told to stop. It never retries: that is `Capture`'s part.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio import portaudio, pulse
from edge.audio.identity import Card, list_cards, select
from edge.audio.resampled import Resampled
from edge.audio.source import BLOCK_S, Sink, SourceError, SourceLost
from edge.settings import AudioSettings

LOG = logging.getLogger(__name__)

LATENCY_BLOCKS = 2
"""Asked of the driver: room for so many blocks."""
LOOK_S = 0.5
SILENT_STREAM_S = 4.0
"""A stream whose callback is not called for this long is dead, though it says that it is active."""
ACCOUNT_EVERY = 8
"""Callbacks between two looks at the clock."""
FORGET_PPM = 300
"""More than any sound card's clock drifts."""
OTHER_RATES_HZ = (48_000, 44_100, 96_000, 32_000, 16_000, 192_000, 88_200, 22_050, 8_000)
"""What is tried when the device refuses the configured rate and its own default."""


class Microphone:
    """One channel of one microphone at the configured rate.

    Args:
        settings: which one.
        block_s: how much sound each call of the callback brings.
        root, environment, fresh: the machine; for tests.
    """

    live = True

    def __init__(
        self,
        settings: AudioSettings,
        block_s: float = BLOCK_S,
        root: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
        fresh: Callable[[portaudio.View], Any] = portaudio.fresh,
    ) -> None:
        self.sample_rate_hz = settings.sample_rate_hz
        self.description = f"microphone {settings.device}"
        self.latency_s = 0.0
        self.overflows = 0
        self._settings = settings
        self._block_s = block_s
        self._root = root
        self._environment = os.environ if environment is None else environment
        self._fresh = fresh

    @property
    def backend(self) -> str:
        """``alsa``, ``pulse`` or ``system``: a service has no session with a sound server and opens ALSA itself."""
        if self._settings.backend != "auto":
            return self._settings.backend
        named = self._settings.device != "default"
        return "alsa" if named or "INVOCATION_ID" in self._environment else "system"

    def run(self, sink: Sink, stop: threading.Event) -> None:
        """Listen until ``stop``.

        Raises:
            SourceLost: not plugged in, held by another program, unplugged, sound server gone.
            SourceError: an identity that fits several microphones or none could ever fit; PortAudio missing.
        """
        self.latency_s = 0.0
        view, wanted, card = self._locate()
        try:
            sd = self._fresh(view)
        except OSError as error:
            raise SourceError(
                "the PortAudio library is missing; install the package libportaudio2", "no_portaudio"
            ) from error
        except Exception as error:
            raise SourceLost("portaudio", str(error)) from error
        try:
            device = _find(sd, wanted, card)
            rate_hz = self._rate(sd, device)
            self._listen(sd, device, rate_hz, sink, stop)
        except sd.PortAudioError as error:
            raise SourceLost("not_opened", f"{self._settings.device}: {error}") from error

    def _locate(self) -> tuple[portaudio.View, str | None, Card | None]:
        """What PortAudio should see, a part of the device's name there (None: its default), and the card."""
        device, backend = self._settings.device, self.backend
        cards = list_cards(self._root)
        if backend == "pulse":
            # The plugin asks the server for the source that this variable names.
            if device == "default":
                os.environ.pop("PULSE_SOURCE", None)
                return "pulse", "pulse", None
            card = select(device, cards)
            os.environ["PULSE_SOURCE"] = pulse.source_of(card.number)
            return "pulse", "pulse", card
        if device != "default":
            card = select(device, cards)
            return "hardware", f"(hw:{card.number},", card
        if backend == "alsa" and not (self._root / "etc/asound.conf").exists():
            if not cards:
                raise SourceLost("not_found", "no sound card that records is plugged in")
            return "hardware", f"(hw:{cards[0].number},", cards[0]
        return "system", "default" if backend == "alsa" else None, None

    def _rate(self, sd: Any, device: int) -> int:
        """The configured rate, or one that the device has."""
        described = sd.query_devices(device)
        own_hz, channels = round(described["default_samplerate"]), int(described["max_input_channels"])
        if self._settings.channel > channels:
            raise SourceError(
                f"{described['name']} has {channels} channel(s), but audio.channel is {self._settings.channel}"
            )
        refused: Exception | None = None
        rate_hz: int
        for rate_hz in dict.fromkeys((self.sample_rate_hz, own_hz, *OTHER_RATES_HZ)):
            try:
                sd.check_input_settings(device, self._settings.channel, "float32", samplerate=rate_hz)
            except sd.PortAudioError as error:
                refused = refused or error
                continue
            if rate_hz != self.sample_rate_hz:
                LOG.warning(
                    "%s refuses %d Hz; it is opened at %d Hz and resampled",
                    self._settings.device,
                    self.sample_rate_hz,
                    rate_hz,
                )
            return rate_hz
        raise SourceLost("not_opened", f"{self._settings.device} opens at no rate: {refused}")

    def _listen(self, sd: Any, device: int, rate_hz: int, sink: Sink, stop: threading.Event) -> None:
        resampled = Resampled(sink, rate_hz, self.sample_rate_hz) if rate_hz != self.sample_rate_hz else None
        callback = _Callback(self, resampled or sink, resampled, rate_hz, self._settings.channel - 1)
        ended = threading.Event()
        stream = sd.InputStream(
            device=device,
            channels=self._settings.channel,
            samplerate=rate_hz,
            dtype="float32",
            blocksize=round(self._block_s * rate_hz),
            latency=LATENCY_BLOCKS * self._block_s,
            callback=callback,
            finished_callback=ended.set,
        )
        name = sd.query_devices(device)["name"]
        LOG.info("opened %s at %d Hz, channel %d", name, rate_hz, self._settings.channel)
        try:
            stream.start()
            callback.called_at_s = time.monotonic()
            while not stop.wait(LOOK_S):
                if callback.failed is not None:
                    raise callback.failed
                if ended.is_set() or not stream.active:
                    raise SourceLost(self._why_ended(), f"{name} stopped")
                if time.monotonic() - callback.called_at_s > SILENT_STREAM_S:
                    raise SourceLost("stalled", f"{name} gives nothing")
        finally:
            # After the sound server was killed this can hang; `Capture` watches over it.
            stream.close(ignore_errors=True)

    def _why_ended(self) -> str:
        """``unplugged`` when the card is gone from the machine, ``server_lost`` for a sound server."""
        if self.backend != "alsa":
            return "server_lost"
        try:
            select(self._settings.device, list_cards(self._root))
        except (SourceLost, SourceError):
            return "unplugged"
        return "stream_ended"


class _Callback:
    """Copies a block from PortAudio into the sink; what was lost before it becomes a gap."""

    def __init__(
        self, microphone: Microphone, sink: Sink, resampled: Resampled | None, rate_hz: int, column: int
    ) -> None:
        self.called_at_s = time.monotonic()
        self.failed: Exception | None = None
        self._microphone = microphone
        self._sink = sink
        self._resampled = resampled
        self._rate_hz = rate_hz
        self._column = column
        self._began_s: float | None = None
        self._frames = 0
        self._accounted = 0
        self._calls = 0

    def __call__(self, data: NDArray[np.float32], frames: int, _time: Any, status: Any) -> None:
        try:
            self.called_at_s = now_s = time.monotonic()
            if status and status.input_overflow:
                self._overflowed(now_s, frames)
            self._sink.write(data[:, self._column])
            self._frames += frames
            self._calls += 1
            if self._calls % ACCOUNT_EVERY == 1:
                self._account(now_s)
            if self._resampled is not None:
                self._microphone.latency_s = self._resampled.held_back_s
        except Exception as error:  # nobody above PortAudio's thread could catch it
            self.failed = error

    def _overflowed(self, now_s: float, frames: int) -> None:
        """The driver dropped something. By the clock, this many frames are missing; what this misjudges,
        the slow comparison of samples and clock in `Capture` finds."""
        self._microphone.overflows += 1
        if self._began_s is not None:
            missing = round((now_s - self._began_s) * self._rate_hz) - self._frames - frames
            if missing > 0:
                self._sink.gap(missing, "overflow")
                self._frames += missing

    def _account(self, now_s: float) -> None:
        # The earliest arrival defines when the sound began: later ones were only delayed. It is forgotten slowly,
        # or the drift of the sound card would pass for lost sound.
        began_s = now_s - self._frames / self._rate_hz
        if self._began_s is not None:
            forgotten_s = FORGET_PPM * 1e-6 * (self._frames - self._accounted) / self._rate_hz
            began_s = min(began_s, self._began_s + forgotten_s)
        self._began_s = began_s
        self._accounted = self._frames


def _find(sd: Any, wanted: str | None, card: Card | None) -> int:
    """PortAudio's index of the device at this moment."""
    devices = list(sd.query_devices())
    if wanted is None:
        index = sd.default.device[0]
        if index < 0:
            raise SourceLost("not_found", "no microphone is plugged in")
        return int(index)
    for index, device in enumerate(devices):
        name = device["name"]
        if (name == wanted or (wanted.startswith("(hw:") and wanted in name)) and device["max_input_channels"] > 0:
            return index
    if card is not None and wanted.startswith("(hw:"):
        raise SourceLost(
            "busy",
            f"{card.product_name or card.name} is held by another program (a sound server? audio.backend: pulse)",
        )
    raise SourceLost("server_lost" if wanted == "pulse" else "not_found", f"PortAudio knows no device {wanted!r}")
