"""Recordings through the device's own pipeline, as fast as possible: ``ecosight-edge replay``.

JSON lines on standard output, one per event when it has ended, or one per window:

    {"onset_s": 5.0012, "label": "gun_shot", "score": 0.84, "duration_s": 0.21, "shots": 1}
    {"t": 0.24, "scores": {"gun_shot": 0.02, …}}

``t`` is the start of the window in seconds. With several recordings each line also names its ``file``. Progress
and complaints go to standard error. Sound is streamed, so a day takes no more memory than a minute.

A recording ends as if a window of its own silence followed it (see `Detector.finish`), and one that is shorter than a
window is padded to one. Storms are not collapsed: this prints what was heard, not what a ranger is sent.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from edge.audio.recordings import SUFFIXES, open_recording
from edge.audio.ring import Ring
from edge.audio.source import SourceError
from edge.detection.detector import Detector
from edge.detection.event import Event
from edge.detection.model import Model, Scores
from edge.settings import DetectionSettings

BLOCK_S = 1.0
RING_S = 8.0
"""What the onset search may look back on."""
PROGRESS_S = 0.5
NO_STORM = 1_000_000


def replay_files(
    paths: Sequence[Path],
    model: Model,
    settings: DetectionSettings,
    emit: str = "events",
    out: TextIO | None = None,
    progress: TextIO | None = None,
) -> int:
    """Replay recordings and folders of them. Returns the exit code: 1 if any could not be read to its end."""
    out = out or sys.stdout
    progress = progress or sys.stderr
    named = len(paths) > 1 or any(path.is_dir() for path in paths)
    code = 0
    for path in paths:
        files = _recordings(path)
        if not files:
            print(f"{path} holds no recording ({', '.join(sorted(SUFFIXES))})", file=progress)
            code = 1
        for file in files:
            lines = replay(file, model, settings, emit, _Progress(file, progress))
            try:
                for line in lines:
                    out.write(json.dumps({"file": str(file), **line} if named else line) + "\n")
            except SourceError as error:
                print(error, file=progress)
                code = 1
            out.flush()
    return code


def replay(
    path: Path, model: Model, settings: DetectionSettings, emit: str = "events", progress: "_Progress | None" = None
) -> Iterator[dict[str, Any]]:
    """The lines of one recording, as they come.

    Raises:
        SourceError: it cannot be read, or is damaged. What was heard before the damage has been yielded.
    """
    uncollapsed = settings.model_copy(update={"storm_alerts": NO_STORM})
    with open_recording(path) as recording:
        rate = recording.sample_rate_hz
        ring = Ring(rate, RING_S)
        detector = Detector(model, ring, uncollapsed)
        lines: list[dict[str, Any]] = []
        if emit == "windows":
            labels = model.manifest.labels

            def show(start: int, scores: Scores) -> None:
                rounded = {name: round(s, 6) for name, s in zip(labels, scores.labels.tolist(), strict=True)}
                lines.append({"t": round(start / rate, 6), "scores": rounded})

            detector.on_window = show

        def taken(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
            if emit == "windows":
                yield from lines
                lines.clear()
            else:
                for event in events:
                    if event.phase == "end":
                        yield _line(event, rate)

        damage: SourceError | None = None
        blocks = recording.blocks(BLOCK_S)
        while True:
            try:
                block = next(blocks, None)
            except SourceError as error:
                damage, block = error, None
            if block is None:
                break
            ring.write(block)
            yield from taken(detector.advance(0.0))
            if progress is not None:
                progress.show(ring.end / rate, recording.duration_s)
        ring.close()
        yield from taken(detector.finish())
        if progress is not None:
            progress.done(ring.end / rate, detector.windows)
        if damage is not None:
            raise damage


def _line(event: Event, rate: int) -> dict[str, Any]:
    return {
        "onset_s": round(event.first_onset / rate, 4),
        "label": event.label,
        "score": round(event.score, 6),
        "duration_s": round((event.end - event.first_onset) / rate, 4),
        "shots": event.shots,
    }


def _recordings(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)


class _Progress:
    """One line per recording; on a terminal it counts while it runs."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path = path
        self._stream = stream
        self._began_s = self._shown_s = time.monotonic()
        self._live = stream.isatty()

    def show(self, heard_s: float, of_s: float) -> None:
        now_s = time.monotonic()
        if self._live and now_s - self._shown_s >= PROGRESS_S:
            self._shown_s = now_s
            self._stream.write(f"\r{self._path}: {heard_s:.0f} of {of_s:.0f} s")
            self._stream.flush()

    def done(self, heard_s: float, windows: int) -> None:
        took_s = max(time.monotonic() - self._began_s, 1e-9)
        start = "\r" if self._live else ""
        speed = f"{heard_s / took_s:.0f} times as fast as it sounded"
        counted = "1 window" if windows == 1 else f"{windows} windows"
        self._stream.write(f"{start}{self._path}: {heard_s:.1f} s, {counted}, {speed}\n")
