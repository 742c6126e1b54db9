"""``ecosight-trainer benchmark make|score``: held-out recordings to steer by, and how a model does on them.

Exit codes: 0 done, 1 not done, 130 interrupted (what was rendered is kept).
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer.failing import fail, said

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="A benchmark of one's own.")

CATALOGUE = Path("catalogue")
MODELS = Path("models")
INTERRUPTED = 130


@app.command()
def make(
    data: Annotated[Path, typer.Argument(help="Folder of recordings: with MANIFEST.csv, or a folder per class.")],
    folder: Annotated[Path, typer.Argument(help="The benchmark to make. What is made stays as it is.")],
    part: Annotated[
        Literal["test", "train", "all"],
        typer.Option(help="test: never learned from; train: learned from (training, validation); all."),
    ] = "test",
    catalogue: Annotated[Path, typer.Option(help="Folder of the catalogue, which knows what is a copy.")] = CATALOGUE,
    seed: Annotated[int, typer.Option(help="Of the beds, where in them, and the levels.")] = 1,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core if not given.")] = None,
) -> None:
    """Render recordings of one part over ambience of that part: shots at 20, 10, 5 and 0 dB, other sounds at 15 dB."""
    from trainer.data.adding import add
    from trainer.data.catalogue import Catalogue
    from trainer.data.labels import SHOT
    from trainer.judging.benchmark import in_part, specs_of, write_sounds
    from trainer.progress import bars

    with _clear_errors("make"), bars() as progress:
        with Catalogue(catalogue, begin=True) as opened:
            added = add(opened, data, processes=processes, progress=progress)
            root = data.resolve()
            clips = [clip for clip in opened.clips() if clip.path.is_relative_to(root)]
        if added.refused:
            typer.echo(f"{len(added.refused)} files cannot be used; `ecosight-trainer data check` names them", err=True)
        some = in_part(clips, part)
        if clips and not any(clip.label == SHOT for clip in some):
            fail(
                "benchmark make",
                f"no recording labelled {SHOT} belongs to the part {part!r}; see `ecosight-trainer data list`",
            )
        specs = specs_of(some, seed)
        sounds = write_sounds(specs, folder, f"benchmark of {root.name} ({part})", processes, progress)
    typer.echo(f"{folder}: {sounds.name} {sounds.version}, {len(sounds.sounds)} sounds")


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="Model file, or a version in --models.")],
    folder: Annotated[Path, typer.Argument(help="A benchmark (sounds.json).")],
    models: Annotated[Path, typer.Option(help="Folder of models.")] = MODELS,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")] = False,
) -> None:
    """Shots found by ratio, and events per hour in every kind of sound, at 10, 3 and 1 false alarms per hour."""
    from trainer.judging.evaluate import JudgedFile, evaluate
    from trainer.judging.hearing import seconds_of
    from trainer.judging.scoring import score as scored
    from trainer.judging.scoring import score_document, score_rows
    from trainer.judging.sounds import read_sounds
    from trainer.models.package import model_file_of
    from trainer.progress import bars

    with _clear_errors("score"):
        path = model_file_of(model, models)
        file, sounds = JudgedFile.read(path), read_sounds(folder)
        total_s = round(sum(map(seconds_of, sounds)))
        with bars() as progress:
            evaluation = evaluate(
                file, sounds, processes=processes, progress=lambda heard_s: progress("listening", int(heard_s), total_s)
            )
        found = scored(evaluation)
    typer.echo(json.dumps(score_document(found), indent=1) if as_json else score_rows(found))


@contextlib.contextmanager
def _clear_errors(command: str) -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from edge.audio.source import SourceError
    from edge.detection.model_file import ModelFileError
    from trainer.data.catalogue import CatalogueError
    from trainer.data.sources import FolderError
    from trainer.judging.sounds import SoundError
    from trainer.lock import AlreadyRunningError
    from trainer.models.store import StoreError

    known = (SoundError, CatalogueError, FolderError, AlreadyRunningError, ModelFileError, SourceError, StoreError)
    try:
        yield
    except known as error:
        fail(f"benchmark {command}", str(error))
    except KeyboardInterrupt:
        fail(f"benchmark {command}", "interrupted; run it again to go on", INTERRUPTED)
    except OSError as error:
        fail(f"benchmark {command}", said(error))
