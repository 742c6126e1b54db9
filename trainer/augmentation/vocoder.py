"""Longer, shorter, higher, lower: a phase vocoder that leaves blows alone.

Frames are taken from the sound at one pace and laid down at another. Between peaks of the spectrum phases keep what
they had to their peak (identity phase locking: Laroche and Dolson, "Improved phase vocoder time-scale modification of
audio", IEEE Trans. Speech Audio Process., 1999), and what is struck is neither stretched nor smeared: around an onset
time goes on as it was, with the phases of the recording (after Röbel, "A new approach to transient processing in the
phase vocoder", DAFx 2003); the rest is stretched a little more instead.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.augmentation.response import Waveform

FRAME_S = 0.04
"""About: a power of two of samples. Long enough for a hum, short enough for a chirp."""
OVERLAP = 4
_AT_ONCE = 256
"""Frames: more take more memory, and no less time."""
MOST_LEFT_ALONE = 0.4
"""Share of a sound that may be onsets: a rattle is stretched like everything else."""


def stretched(waveform: Waveform, speed: float, rate_hz: int) -> Waveform:
    """``waveform`` [n] ``speed`` times as fast at the same pitch, float32 [round(n / speed)]; speeds of 0.5 to 2."""
    length = round(len(waveform) / speed)
    frame = 1 << round(np.log2(FRAME_S * rate_hz))
    hop = frame // OVERLAP
    if speed == 1 or not length:
        return waveform[:length].copy()
    places, kept = _places(len(waveform), length, _onsets(waveform, rate_hz, frame, length), frame, hop)
    # Every frame, and the one a hop before it, lies within the sound and the silence around it.
    around = 2 * frame
    places = np.clip(places, -frame - hop, len(waveform) + hop) + around
    padded = np.pad(waveform, (around, around))
    window = np.hanning(frame + 1)[:frame]
    sound, weight = np.zeros((2, len(places) * hop + frame))
    last = np.zeros(frame // 2 + 1, dtype=np.complex128)
    for some in range(0, len(places), _AT_ONCE):
        at = places[some : some + _AT_ONCE, None] + np.arange(frame)
        here, before = (np.fft.rfft(padded[where] * window) for where in (at, at - hop))
        laid = _locked(here, before, kept[some : some + _AT_ONCE], last)
        last = laid[-1]
        for number, piece in enumerate(np.fft.irfft(laid, frame), some):
            sound[number * hop : number * hop + frame] += piece * window
            weight[number * hop : number * hop + frame] += np.square(window)
    return np.asarray(sound[frame : frame + length] / weight[frame : frame + length], dtype=np.float32)


def shifted(waveform: Waveform, semitones: float, rate_hz: int) -> Waveform:
    """``waveform`` [n], ``semitones`` higher, or lower if negative, float32 [n]: stretched, then resampled."""
    import soxr

    ratio = 2 ** (semitones / 12)
    longer = stretched(waveform, 1 / ratio, rate_hz)
    if not len(longer):
        return waveform.copy()
    back: Waveform = soxr.resample(longer, ratio, 1.0, quality="HQ")[: len(waveform)]
    return np.pad(back, (0, len(waveform) - len(back)))


def _onsets(waveform: Waveform, rate_hz: int, frame: int, length: int) -> list[int]:
    """Samples at which something is struck, in order: the treble is suddenly four times as strong, and strong."""
    step = max(1, rate_hz // 400)
    blocks = len(waveform) // step
    if blocks < 4:
        return []
    treble = np.abs(np.diff(waveform, prepend=waveform[:1]))[: blocks * step].reshape(blocks, step).max(axis=1)
    before = np.lib.stride_tricks.sliding_window_view(np.pad(treble, (12, 0)), 12)[:blocks].mean(axis=1)
    # Of those close together the first; the strongest of all, as long as they are few.
    found: list[int] = []
    for block in np.flatnonzero((treble > 4 * before) & (treble > 0.05 * treble.max())).tolist():
        if not found or (block - found[-1]) * step > frame:
            found.append(block)
    room = int(MOST_LEFT_ALONE * min(len(waveform), length) / (1.25 * frame))
    strongest = sorted(found, key=lambda block: -float(treble[block : block + 4].max()))[:room]
    return [block * step for block in sorted(strongest)]


def _places(
    samples: int, length: int, onsets: list[int], frame: int, hop: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each frame, the sample of the recording at which it begins, and whether it is laid down as it was.

    The first begins at ``-frame`` of the new sound, the others a hop after each other. The middles of frames go
    through the recording evenly, but as fast as it was itself while an onset is in them.
    """
    alone: list[tuple[int, int]] = []
    for onset in onsets:
        start = max(onset - frame // 2 - hop, alone[-1][1] if alone else 0)
        if (end := min(onset + frame // 2, samples)) > start:
            alone.append((start, end))
    as_it_was = sum(end - start for start, end in alone)
    pace = (length - as_it_was) / max(samples - as_it_was, 1)
    old, new = [0.0], [0.0]
    for start, end in alone:
        new += [new[-1] + (start - old[-1]) * pace, new[-1] + (start - old[-1]) * pace + end - start]
        old += [start, end]
    # Before and after, in silence, time is as it was.
    old, new = [-2.0 * frame, *old, samples, samples + 2.0 * frame], [-2.0 * frame, *new, length, length + 2.0 * frame]
    begins = np.arange((length + frame) // hop + 2) * hop - frame
    places = np.rint(np.interp(begins + frame // 2, new, old)).astype(np.int64) - frame // 2
    kept = np.zeros(len(begins), dtype=bool)
    for first, last in zip(new[2:-2:2], new[3:-2:2], strict=True):
        inside = np.flatnonzero((begins + frame // 2 >= first) & (begins + frame // 2 <= last))
        # To the sample, or the recording's phases would not fit each other.
        places[inside] = places[inside[:1]] + (inside - inside[:1]) * hop
        kept[inside] = True
    return places, kept


def _locked(
    spectra: NDArray[np.complex128],
    before: NDArray[np.complex128],
    kept: NDArray[np.bool_],
    last: NDArray[np.complex128],
) -> NDArray[np.complex128]:
    """``spectra`` [frames, bins] with the phases that they have where they are laid down, behind ``last`` [bins].

    ``before`` is what stood a hop before each in the recording: what a peak's phase advances from there to here it
    advances in the new place too, and the bins around the peak turn with it.
    """
    laid = spectra.copy()
    bins = np.arange(spectra.shape[1])
    for number in range(len(spectra)):
        size = np.abs(spectra[number])
        here = size[2:-2]
        peaks = 2 + np.flatnonzero((here > size[1:-3]) & (here >= size[3:-1]) & (here > size[:-4]) & (here >= size[4:]))
        if not kept[number] and len(peaks):
            turn = last[peaks] * np.conj(before[number, peaks])
            # Out of silence a sound comes as it is.
            turn = np.where(np.abs(turn) > 1e-30, turn / np.maximum(np.abs(turn), 1e-30), 1.0)
            laid[number] *= turn[np.searchsorted((peaks[1:] + peaks[:-1]) / 2, bins)]
        last = laid[number]
    return laid
