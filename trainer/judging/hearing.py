"""What the device would make of a sound: its events, and the score of every window.

This is `edge.replay` with the scores kept: the same ring, the same detector, the same silence after the end. Events
and scores come from one run, so that a sweep of thresholds (`trainer.judging.sweep`) tells of the same windows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge.audio.frontend import Window
from edge.audio.recordings import open_recording
from edge.audio.ring import Ring
from edge.detection.detector import Detector
from edge.detection.event import Event
from edge.detection.model import Model, Scores, load_bytes
from edge.replay import BLOCK_S, NO_STORM, RING_S
from edge.settings import DetectionSettings
from trainer.judging.sounds import Sound
from trainer.processes import Failure, over_processes


@dataclass(frozen=True)
class Happened:
    """An event that has ended."""

    onset_s: float
    score: float
    shots: int


@dataclass(frozen=True)
class Listened:
    """One sound as the device heard it."""

    sound: Sound
    seconds: float
    rate_hz: int
    events: tuple[Happened, ...]
    """Of the target, at the model's own thresholds."""
    starts: NDArray[np.int64]
    """First sample of each window, [n] at ``rate_hz``. The last ones may reach beyond the end, into silence."""
    scores: NDArray[np.float32]
    """Of every label of the model, [n, K]."""
    rms: NDArray[np.float32]
    """Of each window, [n]."""

    @property
    def starts_s(self) -> NDArray[np.float64]:
        return self.starts / self.rate_hz


class _Noted:
    """A scorer that keeps what the model said."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.starts: list[int] = []
        self.scores: list[NDArray[np.float32]] = []
        self.rms: list[float] = []

    def score(self, window: Window) -> Scores:
        return self.listen(window)

    def listen(self, window: Window) -> Scores:
        scores = self._model.listen(window)
        self.starts.append(window.start)
        self.scores.append(np.array(scores.labels, np.float32))
        self.rms.append(float(np.sqrt(np.mean(np.square(window.waveform)))))
        return scores


def listen(model: Model, sound: Sound, settings: DetectionSettings, target: str) -> Listened:
    """Play ``sound`` to the device's detector.

    Raises:
        SourceError: the file cannot be read to its end.
    """
    noted = _Noted(model)
    events: list[Event] = []
    # A storm would fold events into one: what is judged is what was heard.
    uncollapsed = settings.model_copy(update={"storm_alerts": NO_STORM})
    rate, blocks = _blocks(sound)
    ring = Ring(rate, RING_S)
    detector = Detector(Model(model.manifest, model.sha256, noted), ring, uncollapsed)
    for block in blocks:
        ring.write(block)
        events += detector.advance(0.0)
    ring.close()
    events += detector.finish()
    ended = (event for event in events if event.phase == "end" and event.label == target)
    return Listened(
        sound,
        ring.end / rate,
        rate,
        tuple(Happened(event.first_onset / rate, event.score, event.shots) for event in ended),
        np.array(noted.starts, np.int64),
        np.array(noted.scores, np.float32).reshape(-1, len(model.manifest.labels)),
        np.array(noted.rms, np.float32),
    )


def listen_to_all(
    model: Model,
    data: bytes,
    sounds: Sequence[Sound],
    settings: DetectionSettings,
    target: str,
    progress: Callable[[float], None] | None = None,
    processes: int | None = 1,
) -> Iterator[Listened]:
    """Each in turn; with more than one of ``processes`` (None: one per core) by workers that load ``data``, the bytes
    of the model. ``progress`` is called with the seconds of sound heard so far.

    Raises:
        SourceError: a file cannot be read to its end.
        WorkerDied: the process that listened to one died.
    """
    heard_s = 0.0
    for listened in _listened(model, data, sounds, settings, target, processes):
        heard_s += listened.seconds
        if progress is not None:
            progress(heard_s)
        yield listened


def _listened(
    model: Model, data: bytes, sounds: Sequence[Sound], settings: DetectionSettings, target: str, processes: int | None
) -> Iterator[Listened]:
    if processes == 1:
        yield from (listen(model, sound, settings, target) for sound in sounds)
        return
    work = partial(_listen_here, settings=settings, target=target)
    for sound, outcome in over_processes(work, sounds, processes, partial(_load_here, data)):
        if isinstance(outcome, Failure):
            raise outcome.error
        # The sound itself need not come back from the worker.
        yield replace(outcome, sound=sound)


_here: list[Model] = []
"""In a worker, its model."""


def _load_here(data: bytes) -> None:
    _here[:] = [load_bytes(data)]


def _listen_here(sound: Sound, settings: DetectionSettings, target: str) -> Listened:
    nothing = Sound(sound.recording, sound.label, samples=np.empty(0, np.float32))
    return replace(listen(_here[0], sound, settings, target), sound=nothing)


def seconds_of(sound: Sound) -> float:
    """How long it is. Raises SourceError."""
    if sound.samples is not None:
        return sound.lead_s + len(sound.samples) / sound.sample_rate_hz
    assert sound.path is not None
    with open_recording(sound.path) as recording:
        return sound.lead_s + recording.duration_s


def excerpt(
    sound: Sound, onset_s: float, before_s: float = 1.5, after_s: float = 2.5
) -> tuple[NDArray[np.float32], int]:
    """The samples around a moment (float32 [n], mono), as far as the sound reaches, and their rate.

    Raises SourceError.
    """
    rate, blocks = _blocks(sound)
    first, last = max(0, round((onset_s - before_s) * rate)), round((onset_s + after_s) * rate)
    kept, at = [np.empty(0, np.float32)], 0
    for block in blocks:
        kept.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    return np.concatenate(kept), rate


def _blocks(sound: Sound) -> tuple[int, Iterator[NDArray[np.float32]]]:
    """The rate, and blocks of a second at most."""
    if sound.samples is not None:
        rate, samples = sound.sample_rate_hz, np.ascontiguousarray(sound.samples, np.float32)
        return rate, _led(sound.lead_s, rate, _cut(samples, round(BLOCK_S * rate)))
    assert sound.path is not None
    with open_recording(sound.path) as recording:
        rate = recording.sample_rate_hz
    return rate, _led(sound.lead_s, rate, _streamed(sound))


def _streamed(sound: Sound) -> Iterator[NDArray[np.float32]]:
    assert sound.path is not None
    with open_recording(sound.path) as recording:
        yield from recording.blocks(BLOCK_S)


def _cut(samples: NDArray[np.float32], length: int) -> Iterator[NDArray[np.float32]]:
    for at in range(0, len(samples), length):
        yield samples[at : at + length]


def _led(lead_s: float, rate: int, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Before the sound, noise as loud as the quietest 10 ms of its first second: digital silence would be a cut."""
    if lead_s > 0:
        first = next(blocks, np.empty(0, np.float32))
        length = rate // 100
        parts = first[: len(first) // length * length].reshape(-1, length)
        level = float(np.sqrt(np.square(parts).mean(axis=1).min())) if len(parts) else 0.0
        noise = np.random.default_rng(0).standard_normal(round(lead_s * rate), dtype=np.float32)
        yield from _cut(np.float32(level) * noise, round(BLOCK_S * rate))
        yield first
    yield from blocks
