"""What stands in a made sound: every event, when, how strong, how far, as JSON and as CSV beside it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from trainer.data.licences import OWN
from trainer.synthesis.sound_file import safely


@dataclass(frozen=True)
class Event:
    """One event. Shots of a burst are one event with several onsets."""

    label: str
    """As the trainer calls it: ``gun_shot``, ``rain``, ``clapping``, …"""
    sound: str
    """What made it: ``rifle``, ``rain_on_tin``, …"""
    shot: bool
    onset_s: float
    """Arrival of its first wavefront."""
    end_s: float
    """When it has fallen 40 dB under its peak."""
    snr_db: float
    """Its loudest 0.2 s over the ambience around it, between 300 and 6000 Hz; infinite where there is none."""
    distance_m: float
    """0 for a sound alone, which has no place."""
    onsets_s: tuple[float, ...]
    """Of each shot of a burst; else of the event alone."""


def write_annotations(
    sound: Path, events: Sequence[Event], rate_hz: int, seconds: float, seed: int
) -> tuple[Path, Path]:
    """Write ``events`` beside the file ``sound``, as ``.json`` and as ``.csv``; gives both paths.

    The JSON also says what a catalogue wants to know of a recording. Raises OSError; nothing half-written is left.
    """
    rows = [{**asdict(event), "snr_db": _finite(event.snr_db)} for event in events]
    document = {
        "recording": f"{sound.stem}-{seed}",
        "licence": OWN,
        "seed": seed,
        "sample_rate_hz": rate_hz,
        "seconds": round(seconds, 6),
        "events": rows,
    }
    as_json, as_csv = sound.with_suffix(".json"), sound.with_suffix(".csv")
    with safely(as_json) as partial:
        partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    with safely(as_csv) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Event)])
        writer.writeheader()
        writer.writerows({**row, "onsets_s": ";".join(str(onset) for onset in row["onsets_s"])} for row in rows)
    return as_json, as_csv


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
