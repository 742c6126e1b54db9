"""Log-mel spectrogram, as YAMNet's network wants it: numpy, float32, outside the graph.

The same front end stands inside Google's waveform-in ``yamnet.tflite``; this one equals its tensor
``feature_patch`` to 1e-5. It is outside because a graph that is quantised with it inside drops to chance.

    patch = log_mel(waveform_16k)        # float32 [n, 64], 96 frames of 10 ms for 15600 samples

Source of every constant: AudioSet's ``mel_features.py`` and YAMNet's ``yamnet/params.py`` (both in tensorflow/models,
research/audioset), checked against the constants in the graph.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
FRAME_LENGTH = 400
FRAME_STEP = 160
FFT_LENGTH = 512
MEL_BANDS = 64
LOWER_EDGE_HZ = 125.0
UPPER_EDGE_HZ = 7_500.0
LOG_OFFSET = 0.001
PATCH_FRAMES = 96
WINDOW_SAMPLES = FRAME_LENGTH + (PATCH_FRAMES - 1) * FRAME_STEP
"""15600 samples, 0.975 s: what one patch of 96 frames spans."""

FRONT_END: Mapping[str, Any] = MappingProxyType(
    {
        "kind": "log_mel",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "frame_length": FRAME_LENGTH,
        "frame_step": FRAME_STEP,
        "window": "hann_periodic",
        "fft_length": FFT_LENGTH,
        "spectrum": "magnitude",
        "mel_bands": MEL_BANDS,
        "mel_scale": "htk",
        "mel_normalisation": "none",
        "lower_edge_hz": LOWER_EDGE_HZ,
        "upper_edge_hz": UPPER_EDGE_HZ,
        "log": "natural",
        "log_offset": LOG_OFFSET,
        "patch_frames": PATCH_FRAMES,
    }
)
"""The full description of this front end. A model file carries it, and is refused where it differs."""


_LOG_OFFSET = np.array(LOG_OFFSET, np.float32)


def front_end_hash(description: Mapping[str, Any] = FRONT_END) -> str:
    """SHA-256 (hex) of a front end's description: keys sorted, no blanks, UTF-8 JSON."""
    text = json.dumps(dict(description), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# TensorFlow computed the window with a vectorised float32 cosine of its own. Where that is not the rounded true value,
# this many units in the last place lie between. They matter: beside a strong offset or rumble, a window that is off
# by 2e-7 leaks enough into quiet bands to move their logarithm by 4e-4.
_HANN_ULPS = {
    26: -8, 27: -8, 29: 8, 34: 4, 37: 4, 38: -4, 40: 4, 44: 4, 45: 4, 46: -4, 50: 2, 53: 2, 59: 2, 62: 2, 75: -1,
    121: -1, 126: -1, 130: -1, 131: -1, 135: 1, 137: 1, 142: 1, 148: -1, 150: -1, 160: -1, 221: -1, 227: 1, 250: 1,
    321: 1, 325: 1, 326: 1, 327: 1, 329: 1, 335: 2, 348: 2, 350: -2, 353: -2, 362: -4, 366: 4, 371: 8,
}  # fmt: skip


def hann_window() -> NDArray[np.float32]:
    """Periodic Hann window, float32 [400], bit for bit that of ``tf.signal.hann_window`` in YAMNet's graph."""
    count = np.arange(FRAME_LENGTH, dtype=np.float32)
    phase = np.float32(2 * np.pi) * count / np.float32(FRAME_LENGTH)
    cosine = np.cos(phase.astype(np.float64)).astype(np.float32)
    window = np.float32(0.5) - np.float32(0.5) * cosine
    for index, ulps in _HANN_ULPS.items():
        window.view(np.int32)[index] += ulps
    return window


def mel_matrix() -> NDArray[np.float32]:
    """Triangular mel filters, float32 [257, 64]; HTK scale, mel = 1127 ln(1 + f / 700), slopes linear in mel
    (``spectrogram_to_mel_matrix`` in AudioSet's ``mel_features.py``)."""

    def mel_of(hertz: Any) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)

    bins = mel_of(np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_LENGTH // 2 + 1))[:, None]
    edges = np.linspace(mel_of(LOWER_EDGE_HZ), mel_of(UPPER_EDGE_HZ), MEL_BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _rfft_into(frames: NDArray[np.float64], spectrum: NDArray[np.complex128]) -> None:
    np.fft.rfft(frames, axis=1, out=spectrum)


try:
    # The ufunc behind np.fft.rfft: its wrapper takes 11 us for a hop of 24 frames, 2 % of a whole window.
    from numpy.fft._pocketfft_umath import rfft_n_even as _rfft_ufunc  # type: ignore[import-not-found]

    def _rfft_direct(frames: NDArray[np.float64], spectrum: NDArray[np.complex128]) -> None:
        _rfft_ufunc(frames, 1.0, out=(spectrum,))

    _probe = np.linspace(-1, 1, 2 * FFT_LENGTH).reshape(2, FFT_LENGTH)
    _found = np.empty((2, FFT_LENGTH // 2 + 1), np.complex128)
    _rfft_direct(_probe, _found)
    if np.allclose(_found, np.fft.rfft(_probe, axis=1)):
        _rfft_into = _rfft_direct
except (ImportError, TypeError):  # private to numpy: another version may not have it, or call it otherwise
    pass


class LogMel:
    """Log-mel of batches of a fixed number of frames, in scratch memory that is allocated once.

    Not thread-safe: each thread has its own.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._hann = hann_window()
        matrix = mel_matrix()
        used = np.flatnonzero(matrix.any(axis=1))
        self._first, self._stop = int(used[0]), int(used[-1]) + 1
        count = self._stop - self._first
        # The transform alone is in double precision, as in TFLite's own: beside an offset or rumble, the rounding of a
        # float32 transform is louder than the quiet bands (0.0006 in their logarithm; 5 us a hop is the price).
        self._padded = np.zeros((frames, FFT_LENGTH), np.float64)
        self._spectrum = np.empty((frames, FFT_LENGTH // 2 + 1), np.complex128)
        self._parts = np.empty((frames, 2 * count), np.float32)
        self._magnitude = np.empty((frames, count), np.float32)
        # The views of it that every call needs.
        # The triangles of the low bands touch few bins: two dense blocks are half the work of one.
        half = MEL_BANDS * 5 // 8
        self._blocks = [self._block(matrix, 0, half), self._block(matrix, half, MEL_BANDS)]
        self._head = self._padded[:, :FRAME_LENGTH]
        self._used = self._spectrum.view(np.float64)[:, 2 * self._first : 2 * self._stop]
        self._real, self._imaginary = self._parts[:, 0::2], self._parts[:, 1::2]

    def _block(
        self, matrix: NDArray[np.float32], first: int, stop: int
    ) -> tuple[NDArray[np.float32], slice, NDArray[np.float32]]:
        rows = np.flatnonzero(matrix[:, first:stop].any(axis=1))
        low, high = int(rows[0]), int(rows[-1]) + 1
        magnitude = self._magnitude[:, low - self._first : high - self._first]
        return magnitude, slice(first, stop), np.ascontiguousarray(matrix[low:high, first:stop])

    def __call__(self, waveform: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write the log-mel of ``waveform`` (float32 [400 + 160 (frames - 1)], contiguous, 16 kHz, full scale ±1)
        to ``out`` (float32 [frames, 64])."""
        item = waveform.itemsize
        framed = np.ndarray((self.frames, FRAME_LENGTH), np.float32, waveform, strides=(FRAME_STEP * item, item))
        np.multiply(framed, self._hann, out=self._head, dtype=np.float32)
        _rfft_into(self._padded, self._spectrum)
        # |z| from its parts: np.abs on complex64 is hypot(), several times slower where numpy has no AVX-512 for it.
        self._parts[...] = self._used
        np.multiply(self._parts, self._parts, out=self._parts)
        np.add(self._real, self._imaginary, out=self._magnitude)
        np.sqrt(self._magnitude, out=self._magnitude)
        for magnitude, bands, block in self._blocks:
            np.matmul(magnitude, block, out=out[:, bands])
        np.add(out, _LOG_OFFSET, out=out)
        np.log(out, out=out)


def frame_count(samples: int) -> int:
    """Whole frames in ``samples`` samples at 16 kHz; nothing is padded."""
    return 0 if samples < FRAME_LENGTH else 1 + (samples - FRAME_LENGTH) // FRAME_STEP


def log_mel(waveform_16k: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel spectrogram, float32 [n, 64], of a waveform at 16 kHz (float32 [samples], full scale ±1).

    Frames are 25 ms every 10 ms; n = 1 + (samples - 400) // 160, or 0 for less than one frame.
    """
    waveform = np.ascontiguousarray(waveform_16k, np.float32)
    frames = frame_count(len(waveform))
    out = np.empty((frames, MEL_BANDS), np.float32)
    if frames == 0:
        return out
    batch = min(frames, PATCH_FRAMES)
    extract = LogMel(batch)
    for first in range(0, frames, batch):
        if first + batch > frames:
            extract = LogMel(frames - first)
        start = first * FRAME_STEP
        stop = start + FRAME_LENGTH + (extract.frames - 1) * FRAME_STEP
        extract(waveform[start:stop], out[first : first + extract.frames])
    return out
