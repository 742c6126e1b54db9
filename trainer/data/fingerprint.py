"""A fingerprint of sound, by which copies are found that were resampled, re-encoded, made louder or cut.

Anchors are the moments at which the loudness between 300 and 3800 Hz is highest within 60 ms on either side: about
six a second, at the same places in every copy, wherever it was cut. At each anchor 64 bits say whether the energy
falls or rises from band to band and from moment to moment: the sign of a difference of differences (after Haitsma and
Kalker, "A highly robust audio fingerprinting system", ISMIR 2002), which no gain and no filter of gentle slope turns
over. A copy keeps four of five bits even after an MP3 of 16 kbit/s; strangers share half.

Sound that was stretched or shifted in pitch is not found.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.audio.logmel import SAMPLE_RATE_HZ

BAND_HZ = (300.0, 3800.0)
"""What a telephone line, 8 kHz files and low bitrates keep."""
STEP_SAMPLES = SAMPLE_RATE_HZ // 1000
"""Loudness is looked at, and anchors are counted, in milliseconds."""
SMOOTHING_MS = 40
APART_MS = 60
QUIETEST = 1e-8
"""Mean square in the band, of full scale ±1, under which there is no anchor: -80 dBFS."""
WINDOW = 1024
BANDS = 17
MOMENTS_MS = (-96, -32, 32, 96, 160)
"""Centres of the windows of 64 ms that are looked at, from the anchor. (BANDS - 1) * (moments - 1) = 64 bits."""
CONTEXT_MS = 320
"""Sound on either side that an anchor and its bits depend on."""
BLOCK_MS = 30_000


@dataclass(frozen=True)
class Fingerprint:
    """Of one file: as many rows as it has anchors."""

    at_ms: NDArray[np.uint32]
    """Where the anchors are, uint32 [n], rising."""
    codes: NDArray[np.uint64]
    """Their bits, uint64 [n]."""

    def to_bytes(self) -> bytes:
        return self.at_ms.astype("<u4").tobytes() + self.codes.astype("<u8").tobytes()

    @classmethod
    def of_bytes(cls, content: bytes) -> "Fingerprint":
        count = len(content) // 12
        return cls(
            np.frombuffer(content, "<u4", count).astype(np.uint32),
            np.frombuffer(content, "<u8", count, 4 * count).astype(np.uint64),
        )


class Fingerprinter:
    """Takes sound in blocks of any size and needs memory for half a minute of it."""

    def __init__(self) -> None:
        self._hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        smooth = np.hanning(SMOOTHING_MS + 2)[1:-1]
        self._smooth = (smooth / smooth.sum()).astype(np.float32)
        self._bands = _bands()
        # As if silence stood before the sound: anchors at its very beginning have their context too.
        self._held = [np.zeros(CONTEXT_MS * STEP_SAMPLES, np.float32)]
        self._held_samples = CONTEXT_MS * STEP_SAMPLES
        self._start_ms = 0
        self._at: list[NDArray[np.uint32]] = []
        self._codes: list[NDArray[np.uint64]] = []

    def push(self, waveform: NDArray[np.float32]) -> None:
        """Take float32 [n] at 16 kHz, full scale ±1."""
        self._held.append(waveform)
        self._held_samples += len(waveform)
        while self._held_samples >= (BLOCK_MS + 2 * CONTEXT_MS) * STEP_SAMPLES:
            self._take(BLOCK_MS)

    def finish(self) -> Fingerprint:
        """The sound ends here."""
        rest_ms = self._held_samples // STEP_SAMPLES - CONTEXT_MS
        self._held.append(np.zeros((CONTEXT_MS + 1) * STEP_SAMPLES, np.float32))
        self._take(rest_ms)
        none: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        return Fingerprint(np.concatenate(none + self._at), np.concatenate([np.empty(0, np.uint64), *self._codes]))

    def _take(self, length_ms: int) -> None:
        """The next ``length_ms`` of what is held, with context on both sides."""
        held = np.concatenate(self._held)
        some = held[: (length_ms + 2 * CONTEXT_MS) * STEP_SAMPLES]
        at = _loudest_moments(some, self._smooth)
        at = at[(at >= CONTEXT_MS) & (at < CONTEXT_MS + length_ms)]
        self._at.append((at - CONTEXT_MS + self._start_ms).astype(np.uint32))
        self._codes.append(self._bits(some, at))
        rest = held[length_ms * STEP_SAMPLES :]
        self._held, self._held_samples = [rest], len(rest)
        self._start_ms += length_ms

    def _bits(self, sound: NDArray[np.float32], at_ms: NDArray[np.intp]) -> NDArray[np.uint64]:
        from scipy import fft

        if len(at_ms) == 0:
            return np.empty(0, np.uint64)
        first = (at_ms[:, np.newaxis] + np.array(MOMENTS_MS)) * STEP_SAMPLES - WINDOW // 2
        windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[first] * self._hann
        spectrum = fft.rfft(windows, axis=-1)
        energy = np.log((spectrum.real**2 + spectrum.imag**2) @ self._bands + np.float32(1e-7))
        slope = energy[..., :-1] - energy[..., 1:]
        bits = (slope[:, 1:] > slope[:, :-1]).reshape(len(at_ms), 64)
        packed: NDArray[np.uint64] = np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)
        return packed


def in_band(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """``sound`` (16 kHz) without what is outside of `BAND_HZ`, float32 [n]."""
    from scipy import fft

    size = fft.next_fast_len(len(sound), real=True)
    spectrum = fft.rfft(sound, size)
    hertz = fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    # Slopes of 100 Hz: an edge like a wall would ring for as long as the context lasts.
    low, high = BAND_HZ
    spectrum *= (np.clip((hertz - low) / 100, 0, 1) * np.clip((high - hertz) / 100, 0, 1)).astype(np.float32)
    banded: NDArray[np.float32] = fft.irfft(spectrum, size)[: len(sound)]
    return banded


def _loudest_moments(sound: NDArray[np.float32], smooth: NDArray[np.float32]) -> NDArray[np.intp]:
    from scipy.ndimage import maximum_filter1d

    banded = in_band(sound)
    steps = len(banded) // STEP_SAMPLES
    energy = (banded[: steps * STEP_SAMPLES].reshape(steps, STEP_SAMPLES) ** 2).mean(axis=1)
    energy = np.convolve(energy, smooth, "same")
    highest = maximum_filter1d(energy, 2 * APART_MS + 1, mode="constant")
    return np.flatnonzero((energy == highest) & (energy > QUIETEST))


def _bands() -> NDArray[np.float32]:
    """Which bins of the spectrum belong to which band, float32 [513, 17]; bands of equal ratio."""
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ)[:, np.newaxis]
    edges = np.geomspace(*BAND_HZ, BANDS + 1)
    return ((hertz >= edges[:-1]) & (hertz < edges[1:])).astype(np.float32)
