"""A labelled recording from the field, for the trainer: one FLAC and the JSON beside it that says what it is.

The sound comes the same way as the detector's (same source, channel, rate), so a model is trained on what the
device hears. A file is there whole or not at all, and its name is its identity: what is cut from it later
belongs to one recording and never stands on both sides of a split.
"""

import contextlib
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.audio.capture import Capture
from edge.audio.clock import Clock
from edge.audio.ring import Overwritten, Ring
from edge.audio.source import SourceError, open_source
from edge.digest import sha256_of
from edge.durable import make_folder, place, stage
from edge.redaction import without_passwords
from edge.settings import AudioSettings, EdgeSettings
from edge.upkeep.liveness import Liveness

SCHEMA_VERSION = 1
RING_S = 30.0
BLOCK_S = 0.5
SETTLE_S = 0.25
"""The first sound of an opened microphone is its switching on."""
FIRST_SOUND_S = 15.0
FULL_SCALE = 1 << 23
CLIPPED = 1.0 - 2.0**-15


@dataclass(slots=True)
class Tally:
    """What is measured while it is recorded."""

    frames: int = 0
    peak: float = 0.0
    energy: float = 0.0
    clipped: int = 0
    gaps: list[dict[str, float]] = field(default_factory=list)

    def add(self, frames: NDArray[np.float32]) -> None:
        magnitude = np.abs(frames)
        self.frames += len(frames)
        self.peak = max(self.peak, float(magnitude.max(initial=0.0)))
        self.clipped += int((magnitude >= CLIPPED).sum())
        self.energy += float(np.dot(frames, frames))

    @property
    def level_dbfs(self) -> float:
        """RMS level."""
        return _dbfs(math.sqrt(self.energy / max(1, self.frames)))

    def lost(self, start_s: float, duration_s: float) -> None:
        """A stretch of lost sound; one that goes on from block to block is one."""
        if self.gaps and abs(self.gaps[-1]["start_s"] + self.gaps[-1]["duration_s"] - start_s) < 1e-6:
            self.gaps[-1]["duration_s"] += duration_s
        else:
            self.gaps.append({"start_s": start_s, "duration_s": duration_s})


def record_field(
    settings: EdgeSettings,
    label: str,
    seconds: float,
    folder: Path,
    note: str = "",
    on_block: Callable[[float, float], None] | None = None,
) -> Path:
    """Record ``seconds`` of the configured source into ``folder``; returns the FLAC's path (``.json`` beside it).

    Ctrl-C ends it early and keeps what there is.

    Args:
        label: what is heard, in the form of a model's labels (``gun_shot``).
        on_block: called with the seconds so far and the newest block's peak in dBFS.

    Raises:
        SourceError: a label that is none, no sound, a recording that cannot be read.
        OSError: the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,62}", label):
        raise SourceError(f"label {label!r} is not of the form gun_shot (small letters, digits and underscores)")
    if not 0 < seconds <= 24 * 3600:
        raise SourceError(f"{seconds} seconds cannot be recorded; choose more than 0 and at most a day")
    source = open_source(settings.audio)
    rate_hz = source.sample_rate_hz
    ring, clock = Ring(rate_hz, RING_S), Clock(rate_hz)
    ring.reader_position = 0
    said: list[str] = []
    capture = Capture(
        settings.audio,
        ring,
        clock,
        Liveness(settings.audio.no_audio_after_s),
        lambda problem: said.append(problem or ""),
        open_source=lambda _: source,
    )
    make_folder(folder)
    capture.start()
    try:
        start = round(SETTLE_S * rate_hz) if source.live else 0
        _wait_for_sound(capture, ring, start + 1, settings.audio)
        clock.poll()
        began = clock.moment(start)
        path = folder / f"{label}_{began.utc:%Y%m%dT%H%M%SZ}_{settings.site}_{settings.device}.flac"
        tally = Tally()
        staged = stage(path, lambda part: _write(part, ring, start, round(seconds * rate_hz), tally, on_block))
        clock.poll()
        began = clock.correct(began)
    finally:
        capture.stop(5.0)
    metadata = _metadata(
        settings, label, note, source.description, rate_hz, tally, [problem for problem in said if problem]
    )
    metadata["started"] = began.model_dump(mode="json")
    metadata["sha256"] = sha256_of(staged)
    description = path.with_suffix(".json")
    text = json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"
    stage(description, lambda part: _write_text(part, text))
    place(path, description)
    return path


def _wait_for_sound(capture: Capture, ring: Ring, index: int, settings: AudioSettings) -> None:
    deadline_s = time.monotonic() + FIRST_SOUND_S
    while not ring.wait(index, 0.5) and not ring.closed:
        if time.monotonic() > deadline_s or (capture.detail and capture.problem):
            break
    if ring.end < index:
        raise SourceError(
            f"no sound from {settings.source} {without_passwords(settings.location or settings.device)}: "
            f"{capture.detail or capture.problem or 'it gives no samples'}"
        )


def _write(
    part: Path, ring: Ring, start: int, count: int, tally: Tally, on_block: Callable[[float, float], None] | None
) -> None:
    import soundfile

    rate_hz = ring.sample_rate_hz
    at = start
    with (
        soundfile.SoundFile(part, "w", rate_hz, 1, "PCM_24", format="FLAC") as file,
        contextlib.suppress(KeyboardInterrupt),
    ):
        heard_at_s = time.monotonic()
        while at < start + count:
            stop = min(start + count, at + round(BLOCK_S * rate_hz))
            if not ring.wait(stop, 2.0):
                stop = min(stop, ring.end) if ring.closed else at
                if ring.closed and stop == at:
                    break
                # A source that is lost comes back with a gap; for that, a while is waited.
                if stop == at and time.monotonic() - heard_at_s > FIRST_SOUND_S:
                    break
                if stop == at:
                    continue
            heard_at_s = time.monotonic()
            frames = _read(ring, at, stop)
            # As integers: libsndfile scales floats by one step less than full scale. It takes an int32's upper bits.
            whole = np.clip(np.rint(frames.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
            file.write(whole.astype(np.int32) << 8)
            tally.add(frames)
            for lost_from, lost_to in ring.gaps(at, stop):
                first, last = max(at, lost_from), min(stop, lost_to)
                tally.lost((first - start) / rate_hz, (last - first) / rate_hz)
            at = ring.reader_position = stop
            if on_block is not None:
                on_block((at - start) / rate_hz, _dbfs(float(np.abs(frames).max(initial=0.0))))


def _read(ring: Ring, at: int, stop: int) -> NDArray[np.float32]:
    """What left the ring during a loss longer than it was silence."""
    try:
        return ring.read(at, stop)
    except Overwritten:
        return np.zeros(stop - at, np.float32)


def _metadata(
    settings: EdgeSettings, label: str, note: str, source: str, rate_hz: int, tally: Tally, problems: list[str]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "label": label,
        "note": note,
        "site": settings.site,
        "device": settings.device,
        "place": settings.place.model_dump() if settings.place else None,
        "source": source,
        "channel": settings.audio.channel,
        "sample_rate_hz": rate_hz,
        "frames": tally.frames,
        "duration_s": tally.frames / rate_hz,
        "peak_dbfs": round(_dbfs(tally.peak), 1),
        "level_dbfs": round(tally.level_dbfs, 1),
        "clipped_samples": tally.clipped,
        "gaps": tally.gaps,
        "problems": problems,
        "software": f"ecosight {__version__}",
    }


def _dbfs(amplitude: float) -> float:
    return 20 * math.log10(max(amplitude, 1e-6))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
