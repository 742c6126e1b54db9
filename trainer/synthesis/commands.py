"""``ecosight-trainer synth``: shots and soundscapes from physics and a seed, with every event annotated.

The file is written, and beside it what stands in it, as ``.json`` and ``.csv``. The same options and the same seed
give the same sound. Exit codes: 0 done, 1 something to correct.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.failing import fail, said

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.synthesis.annotation import Event

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Shots and soundscapes from physics and a seed.")

Out = Annotated[Path, typer.Argument(help="File to write: .wav or .flac; its annotations stand beside it.")]
Seed = Annotated[int, typer.Option(min=0, help="Another seed is another sound.")]
Rate = Annotated[int, typer.Option(min=8000, max=192_000, help="Samples per second.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files if they exist.")]
LONGEST_S = 3600.0
FARTHEST_M = 5000.0


@app.command()
def shot(
    out: Out,
    kind: Annotated[str, typer.Option(help="pistol, rifle or shotgun.")] = "rifle",
    distance_m: Annotated[float, typer.Option(min=1.0, max=FARTHEST_M, help="From the gun to the microphone.")] = 100.0,
    shots: Annotated[int, typer.Option(min=1, max=100, help="Of the same gun.")] = 1,
    interval_s: Annotated[float, typer.Option(min=0.05, max=60.0, help="Between them.")] = 0.5,
    before_s: Annotated[float, typer.Option(min=0.0, max=60.0, help="Silence before the first.")] = 1.0,
    peak_dbfs: Annotated[float, typer.Option(min=-90.0, max=0.0, help="Level of the loudest sample.")] = -3.0,
    rate_hz: Rate = 48_000,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Write the shots of one gun, with what forest, ground and air make of them."""
    import numpy as np

    from trainer.data.labels import SHOT
    from trainer.synthesis.annotation import Event
    from trainer.synthesis.guns import KINDS, drawn_shot

    _check("shot", out, overwrite)
    if kind not in KINDS:
        fail("synth shot", f"--kind {kind}: there are {', '.join(KINDS)}")
    one = drawn_shot(kind, distance_m, rate_hz, np.random.default_rng(seed))
    onsets = [round((before_s + index * interval_s) * rate_hz) for index in range(shots)]
    samples = np.zeros(onsets[-1] + len(one), dtype=np.float32)
    for onset in onsets:
        samples[onset : onset + len(one)] += one
    samples *= np.float32(10 ** (peak_dbfs / 20) / np.abs(samples).max())
    heard = onsets[-1] + int(np.flatnonzero(np.abs(one) > 0.01)[-1]) + 1
    onsets_s = tuple(round(onset / rate_hz, 6) for onset in onsets)
    event = Event(SHOT, kind, True, onsets_s[0], round(heard / rate_hz, 6), float("inf"), distance_m, onsets_s)
    _write("shot", out, samples, [event], rate_hz, seed)


@app.command()
def soundscape(
    out: Out,
    seconds: Annotated[float, typer.Option(min=1.0, max=LONGEST_S, help="How long.")] = 60.0,
    shots_per_min: Annotated[float, typer.Option(min=0.0, max=60.0, help="Shots, or bursts of them.")] = 2.0,
    others_per_min: Annotated[float, typer.Option(min=0.0, max=60.0, help="Things that are mistaken for shots.")] = 6.0,
    snr_db: Annotated[tuple[float, float], typer.Option(help="Lowest and highest, in the band 300-6000 Hz.")] = (0, 30),
    distance_m: Annotated[tuple[float, float], typer.Option(help="Nearest and farthest.")] = (30, 800),
    kind: Annotated[list[str] | None, typer.Option(help="Kinds of guns; all if not given.")] = None,
    other: Annotated[list[str] | None, typer.Option(help="Which other sounds (`synth sounds` lists them).")] = None,
    ambience: Annotated[Path | None, typer.Option(help="A recording instead of made wind, insects and birds.")] = None,
    level_dbfs: Annotated[float, typer.Option(min=-100.0, max=-10.0, help="RMS of made ambience.")] = -50.0,
    rate_hz: Rate = 48_000,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Write a forest with shots in it, and with other sounds, at chosen signal-to-noise ratios."""
    import numpy as np

    from trainer.synthesis.guns import KINDS
    from trainer.synthesis.soundscape import OTHERS, DoNotFitError
    from trainer.synthesis.soundscape import soundscape as make

    _check("soundscape", out, overwrite)
    _in_order("soundscape", "--snr-db", snr_db, -60, 90)
    _in_order("soundscape", "--distance-m", distance_m, 1, FARTHEST_M)
    kinds = _known("soundscape", "--kind", kind, list(KINDS)) or list(KINDS)
    others = _known("soundscape", "--other", other, _names()) or list(OTHERS)
    bed = _ambience(ambience, rate_hz) if ambience else None
    try:
        samples, events = make(
            seconds, rate_hz, np.random.default_rng(seed), shots_per_min, others_per_min,
            snr_db=snr_db, distance_m=distance_m, kinds=kinds, others=others, level_dbfs=level_dbfs, ambience=bed,
        )  # fmt: skip
    except DoNotFitError as error:
        fail("synth soundscape", str(error))
    _write("soundscape", out, samples, events, rate_hz, seed)


@app.command()
def sound(
    out: Annotated[Path, typer.Argument(help="File to write: .wav or .flac.")],
    name: Annotated[str, typer.Argument(help="Which (`synth sounds` lists them).")],
    seconds: Annotated[float, typer.Option(min=0.2, max=600.0, help="How long.")] = 5.0,
    rate_hz: Rate = 48_000,
    seed: Seed = 1,
    overwrite: Overwrite = False,
) -> None:
    """Write one sound that is no shot, alone: rain on tin, a chainsaw, a clap."""
    import numpy as np

    from trainer.synthesis.annotation import Event
    from trainer.synthesis.sounds import SOUNDS

    _check("sound", out, overwrite)
    _known("sound", "NAME", [name], _names())
    samples = (0.7 * SOUNDS[name].make(seconds, rate_hz, np.random.default_rng(seed))).astype(np.float32)
    whole = Event(SOUNDS[name].label, name, False, 0.0, seconds, float("inf"), 0.0, (0.0,))
    _write("sound", out, samples, [whole], rate_hz, seed)


@app.command()
def sounds() -> None:
    """List the sounds that are no shots, with the labels that they carry."""
    from trainer.synthesis.sounds import SOUNDS

    for name, one in SOUNDS.items():
        typer.echo(f"{name:20} {one.label:18} {'impulsive' if one.impulsive else ''}".rstrip())


def _ambience(path: Path, rate_hz: int) -> "NDArray[np.float32]":
    import numpy as np
    import soxr

    from edge.audio.recordings import open_recording
    from edge.audio.source import SourceError

    try:
        with open_recording(path) as recording:
            found = np.concatenate([np.empty(0, np.float32), *recording.blocks(10.0)])
            rate = recording.sample_rate_hz
    except SourceError as error:
        fail("synth soundscape", f"--ambience {str(error).split(';')[0]}")
    if len(found) < rate:
        fail(
            "synth soundscape",
            f"--ambience {path}: {len(found) / rate:.2f} s are too little, at least a second is needed",
        )
    resampled: NDArray[np.float32] = soxr.resample(found, rate, rate_hz, quality="HQ") if rate != rate_hz else found
    return resampled


def _write(
    command: str, out: Path, samples: "NDArray[np.float32]", events: "list[Event]", rate_hz: int, seed: int
) -> None:
    from trainer.synthesis.annotation import write_annotations
    from trainer.synthesis.sound_file import write_sound

    with _clear_errors(command):
        write_sound(out, samples, rate_hz)
        as_json, as_csv = write_annotations(out, events, rate_hz, len(samples) / rate_hz, seed)
    count = sum(len(event.onsets_s) for event in events if event.shot)
    others = sum(not event.shot for event in events)
    typer.echo(
        f"{out}: {len(samples) / rate_hz:.1f} s at {rate_hz} Hz, {count} shot{'s' if count != 1 else ''}, "
        f"{others} other sound{'s' if others != 1 else ''}; annotated in {as_json.name} and {as_csv.name}"
    )


def _check(command: str, out: Path, overwrite: bool) -> None:
    """Before anything is computed: would it be written?"""
    from trainer.synthesis.sound_file import FORMATS

    if out.suffix.lower() not in FORMATS:
        fail(f"synth {command}", f"{out}: sound is written as {' or '.join(FORMATS)}; give the file such an ending")
    if not out.parent.is_dir():
        fail(f"synth {command}", f"{out}: there is no folder {out.parent}; make it first")
    for path in (out, out.with_suffix(".json"), out.with_suffix(".csv")):
        if path.exists() and not overwrite:
            fail(f"synth {command}", f"{path} exists already; choose another name or add --overwrite")


def _names() -> list[str]:
    from trainer.synthesis.sounds import SOUNDS

    return list(SOUNDS)


def _known(command: str, option: str, given: list[str] | None, known: list[str]) -> list[str]:
    for name in given or ():
        if name not in known:
            fail(f"synth {command}", f"{option} {name}: there are {', '.join(known)}")
    return given or []


def _in_order(command: str, option: str, given: tuple[float, float], lowest: float, highest: float) -> None:
    low, high = given
    if not lowest <= low <= high <= highest:
        fail(f"synth {command}", f"{option} {low:g} {high:g}: two numbers in order, from {lowest:g} to {highest:g}")


@contextlib.contextmanager
def _clear_errors(command: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fail(f"synth {command}", said(error))
