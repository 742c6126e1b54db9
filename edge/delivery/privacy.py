"""The privacy gate: people's voices stay on the device. It fails closed.

The speech score is the highest over the *whole* clip, not over the windows that happened to be scored while
listening. A clip may leave only if that score exists and is under the limit; an error of any kind withholds it.

    verdict = judge(frames, sample_rate_hz, model, settings.privacy)
    verdict.allowed, verdict.reason, verdict.speech_score
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import FrontEnd, Window
from edge.audio.logmel import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from edge.settings import PrivacySettings

log = logging.getLogger(__name__)

WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
HOP_S = 0.24
"""A syllable falls well inside one of the four windows that hold it; at 0.96 it may fall between two."""
ACCEPTED = "i_accept_uploading_clips_that_may_hold_voices"


class Hearing(Protocol):
    """What the gate needs of a model (``edge.detection.model.Model``)."""

    @property
    def has_speech(self) -> bool: ...

    def score(self, window: Window) -> Any: ...

    def speech(self, scores: Any) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    reason: str
    """Why not, as a short code first (``speech: 0.81 at a limit of 0.30``); empty if allowed."""
    speech_score: float | None = None


def judge(frames: NDArray[np.float32], sample_rate_hz: int, model: Hearing, settings: PrivacySettings) -> Verdict:
    """Whether a clip (float32 [n], full scale ±1) may leave the device. Never raises: an error withholds."""
    try:
        return may_leave(highest_speech(frames, sample_rate_hz, model), settings)
    except Exception as error:
        log.exception("the privacy gate failed; the clip is withheld")
        return Verdict(False, f"error: {type(error).__name__}: {error}")


def highest_speech(frames: NDArray[np.float32], sample_rate_hz: int, model: Hearing) -> float | None:
    """The model's highest speech score over all of ``frames`` (float32 [n], n > 0, capture rate).

    Every sample lies in at least one window: the clip is followed by silence until its last sample is inside one.
    None if the model cannot hear speech. NaN if any window's score is.

    Raises:
        ValueError: no frames, or frames that are not finite numbers.
        RuntimeError: the front end gave too few windows to cover the clip.
    """
    if not model.has_speech:
        return None
    if frames.ndim != 1 or len(frames) == 0:
        raise ValueError(f"a clip is float32 [n] with n > 0, this one has shape {frames.shape}")
    if not np.isfinite(frames).all():
        raise ValueError("the clip holds samples that are not finite numbers")
    covered = 0
    highest = -math.inf
    for window in _windows(frames.astype(np.float32, copy=False), sample_rate_hz):
        if window.start >= len(frames):
            break
        if window.start > covered:
            raise RuntimeError(f"no window covers the clip from sample {covered} to {window.start}")
        covered = window.start + math.floor(WINDOW_S * sample_rate_hz)
        speech = model.speech(model.score(window))
        if speech is None:
            return None
        if math.isnan(speech):  # max() would drop it, and a NaN must never look like silence
            return math.nan
        highest = max(highest, float(speech))
    if covered < len(frames):
        raise RuntimeError(f"the windows cover {covered} of the clip's {len(frames)} samples")
    return highest


def _windows(frames: NDArray[np.float32], sample_rate_hz: int) -> Iterator[Window]:
    front_end = FrontEnd(sample_rate_hz, HOP_S)
    for start in range(0, len(frames), sample_rate_hz):  # a second at a time keeps the windows few in memory
        yield from front_end.push(start, frames[start : start + sample_rate_hz])
    # Two windows of silence: one to complete the last window, one for what the streaming resampler holds back.
    silence = np.zeros(math.ceil(2 * WINDOW_S * sample_rate_hz), dtype=np.float32)
    yield from front_end.push(len(frames), silence)


def may_leave(speech_score: float | None, settings: PrivacySettings) -> Verdict:
    """The policy for one highest speech score (None: the model cannot hear speech)."""
    if speech_score is None:
        if settings.without_speech_score == ACCEPTED:
            return Verdict(True, "")
        return Verdict(False, "no_speech_score: the model cannot hear speech, so no clip may leave")
    if not math.isfinite(speech_score):
        return Verdict(False, f"error: the speech score is {speech_score}", None)
    if speech_score < settings.speech_limit:
        return Verdict(True, "", speech_score)
    return Verdict(False, f"speech: {speech_score:.2f} at a limit of {settings.speech_limit:.2f}", speech_score)
