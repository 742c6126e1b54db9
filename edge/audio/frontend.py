"""From captured samples to windows for the model: resample → log-mel of the new frames → patches.

    front_end = FrontEnd(sample_rate_hz=48_000, hop_s=0.24)
    for window in front_end.push(start, frames):
        model.score(window)

Samples are the clock: a window's ``start`` is the index, at the *capture* rate, of its first sample. libsoxr's
filters are linear-phase and it drops their delay, so output sample k stands exactly at input sample
k * rate / 16000; what it holds back (12 to 80 ms, it works in blocks) only makes windows come later.
"""

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from edge.audio.logmel import (
    FRAME_LENGTH,
    FRAME_STEP,
    MEL_BANDS,
    PATCH_FRAMES,
    SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    LogMel,
)

# Windows are views into these rows, so a row is written once and never again; when an arena is full the
# newest part moves to a fresh one, and the old lives on only while somebody holds one of its windows.
# Under the 128 KiB at which `edge.heap` lets the system map and clear fresh memory each time.
_ARENA_SAMPLES = 30_000
_ARENA_FRAMES = 300
_WAIT_STEP_S = 0.004


class Window(NamedTuple):
    """0.975 s of sound. The arrays are read-only views that stay as they are for as long as they are held."""

    start: int
    """Index of its first sample, at the capture rate."""
    patch: NDArray[np.float32]
    """Log-mel, float32 [96, 64]."""
    waveform: NDArray[np.float32]
    """The samples at 16 kHz, float32 [15600], full scale ±1."""
    new: int
    """How many samples at its end no earlier window held: the newest hop, or all."""

    @property
    def peak(self) -> float:
        """Largest magnitude among the new samples."""
        new = self.waveform[-self.new :]
        return max(float(new.max()), -float(new.min()))


class FrontEnd:
    """Streaming front end. Windows do not depend on how the sound was cut into blocks. Not thread-safe."""

    def __init__(self, sample_rate_hz: int, hop_s: float) -> None:
        """Raises ValueError where ``hop_s`` is not a multiple of 0.01 s between 0.01 and 0.96."""
        hop_frames = round(hop_s * SAMPLE_RATE_HZ / FRAME_STEP)
        if abs(hop_s * SAMPLE_RATE_HZ / FRAME_STEP - hop_frames) > 1e-6 or not 1 <= hop_frames <= PATCH_FRAMES:
            raise ValueError(f"hop_s {hop_s} is not a multiple of 0.01 s between 0.01 and 0.96")
        self.sample_rate_hz = sample_rate_hz
        self.hop_s = hop_s
        self._hop_frames = hop_frames
        self._hop_samples = hop_frames * FRAME_STEP
        self._whole = LogMel(PATCH_FRAMES)
        self._newest = LogMel(hop_frames)
        self._newest_span = FRAME_LENGTH + (hop_frames - 1) * FRAME_STEP
        self._lag_frames = 0
        self._resampler: soxr.ResampleStream | None = None
        if sample_rate_hz != SAMPLE_RATE_HZ:
            self._resampler = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        self.wanted = 0
        """Frames after the last pushed one that the next window probably needs (capture rate, at least 1).

        It learns how much the resampler holds back, so a reader that waits for this many makes one push a window.
        """
        self._begin(None)

    def _begin(self, start: int | None) -> None:
        self._base = start  # capture index of sample 0 at 16 kHz
        self._expected = start
        self._samples, self._samples_shown = _arena(_ARENA_SAMPLES)
        self._filled = 0  # samples in the arena
        self._dropped = 0  # samples that earlier arenas held before this one's first
        self._rows, self._rows_shown = _arena(_ARENA_FRAMES, MEL_BANDS)
        self._row = 0  # row of the next window's patch; rows before _row + overlap are computed
        self._next_stop = WINDOW_SAMPLES  # samples at 16 kHz, since the start, that the next window needs
        self._look_ahead()

    def reset(self) -> None:
        """Forget what was heard: the next window needs 15600 new samples. For gaps."""
        self._begin(None)
        if self._resampler is not None:
            self._resampler.clear()

    def longest_lag(self) -> int:
        """Frames at the capture rate that the resampler holds back at most, found by trying a second of silence."""
        if self._resampler is None:
            return 0
        trial = soxr.ResampleStream(self.sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        step = self.sample_rate_hz // 200
        silence = np.zeros(step, np.float32)
        lag, out = 0, 0
        for fed in range(step, self.sample_rate_hz, step):
            out += len(trial.resample_chunk(silence))
            lag = max(lag, fed - out * self.sample_rate_hz // SAMPLE_RATE_HZ)
        return lag

    def _look_ahead(self) -> None:
        if self._base is None or self._expected is None:
            self.wanted = -(-WINDOW_SAMPLES * self.sample_rate_hz // SAMPLE_RATE_HZ) + self._lag_frames
            return
        due = self._base - (-self._next_stop * self.sample_rate_hz // SAMPLE_RATE_HZ)
        missing = due + self._lag_frames - self._expected
        self.wanted = missing if missing > 0 else max(1, round(_WAIT_STEP_S * self.sample_rate_hz))

    def push(self, start: int, frames: NDArray[np.float32]) -> list[Window]:
        """Take ``frames`` (float32 [n], mono, full scale ±1, capture rate) whose first has index ``start``.

        Returns the windows that are now complete, oldest first. An unexpected ``start`` is a gap: it resets.
        """
        if self._expected is not None and start != self._expected:
            self.reset()
        if self._base is None:
            self._begin(start)
        self._expected = start + len(frames)
        if len(frames) == 0:
            self._look_ahead()
            return []
        if self._resampler is not None:
            # As a column: soxr would make one of it, and undo that at length.
            frames = self._resampler.resample_chunk(frames[:, np.newaxis])[:, 0]
        windows = self._take(frames)
        if windows:
            self._learn_lag()
        self._look_ahead()
        return windows

    def finish(self) -> list[Window]:
        """At the end of a recording: the windows that the resampler still held back. The next push starts anew."""
        if self._base is None or self._resampler is None:
            self.reset()
            return []
        windows = self._take(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))
        self.reset()
        return windows

    def _learn_lag(self) -> None:
        # How far the sound had to run ahead of the end of the last window. Blocks much longer than the wait say
        # nothing about the resampler: at most 0.1 s is believed.
        assert self._base is not None and self._expected is not None
        stop = self._next_stop - self._hop_samples
        due = self._base - (-stop * self.sample_rate_hz // SAMPLE_RATE_HZ)
        lag = self._expected - due
        if self._lag_frames < lag <= self.sample_rate_hz // 10:
            self._lag_frames = lag

    def _take(self, samples: NDArray[np.float32]) -> list[Window]:
        windows: list[Window] = []
        while True:
            filled, count = self._filled, len(samples)
            if count <= (room := _ARENA_SAMPLES - filled):
                self._samples[filled : filled + count] = samples
                self._filled = filled + count
                self._complete(windows)
                return windows
            self._samples[filled:] = samples[:room]
            self._filled = _ARENA_SAMPLES
            self._complete(windows)
            self._turn_samples()
            samples = samples[room:]

    def _complete(self, windows: list[Window]) -> None:
        while self._dropped + self._filled >= self._next_stop:
            windows.append(self._window())

    def _turn_samples(self) -> None:
        keep = self._next_stop - WINDOW_SAMPLES - self._dropped  # first sample of the next window
        old, filled = self._samples, self._filled
        self._samples, self._samples_shown = _arena(_ARENA_SAMPLES)
        self._samples[: filled - keep] = old[keep:filled]
        self._filled, self._dropped = filled - keep, self._dropped + keep

    def _turn_rows(self) -> None:
        overlap = PATCH_FRAMES - self._hop_frames
        old, row = self._rows, self._row
        self._rows, self._rows_shown = _arena(_ARENA_FRAMES, MEL_BANDS)
        self._rows[:overlap] = old[row : row + overlap]
        self._row = 0

    def _window(self) -> Window:
        stop = self._next_stop - self._dropped
        if self._row + PATCH_FRAMES > _ARENA_FRAMES:
            self._turn_rows()
        row = self._row
        end = row + PATCH_FRAMES
        if self._next_stop == WINDOW_SAMPLES:
            new = WINDOW_SAMPLES
            self._whole(self._samples[stop - WINDOW_SAMPLES : stop], self._rows[row:end])
        else:
            # Always the same number of frames at once: a batch of another size may round otherwise.
            new = self._hop_samples
            self._newest(self._samples[stop - self._newest_span : stop], self._rows[end - self._hop_frames : end])
        offset = self._next_stop - WINDOW_SAMPLES
        assert self._base is not None
        start = self._base + (2 * offset * self.sample_rate_hz + SAMPLE_RATE_HZ) // (2 * SAMPLE_RATE_HZ)
        self._next_stop += self._hop_samples
        self._row = row + self._hop_frames
        return Window(start, self._rows_shown[row:end], self._samples_shown[stop - WINDOW_SAMPLES : stop], new)


def _arena(*shape: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Room to write in, and the same memory to be read only."""
    arena = np.empty(shape, np.float32)
    shown = arena.view()
    shown.setflags(write=False)
    return arena, shown


assert FRAME_LENGTH + (PATCH_FRAMES - 1) * FRAME_STEP == WINDOW_SAMPLES
