"""``ecosight-trainer augment``: variants of recordings, to listen to.

Facts go to standard output, progress and what is wrong to standard error. Exit codes: 0 done, 1 something to correct
(the rest is done all the same), 130 interrupted (what was written is whole, and listed).
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from trainer.failing import fail, said
from trainer.progress import bars

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
BESIDE = 10
"""All variants beside the original."""
SHOWN = 20
INTERRUPTED = 130


@app.command()
def augment(
    folder: Annotated[Path, typer.Argument(help="With MANIFEST.csv, or extracted_audio/<class>/*.wav, .mp3, …")],
    out: Annotated[Path, typer.Option(help="Where <class>/<name>_<variant>.wav are written.")] = Path(
        "augmented_audio"
    ),
    variants: Annotated[int, typer.Option(min=0, max=BESIDE, help="Of each recording, beside the original.")] = 5,
    every: Annotated[bool, typer.Option("--all", help="All ten, beside the original.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Another seed chooses and draws others.")] = 1,
    processes: Annotated[int | None, typer.Option(min=1, help="One per core if not given.")] = None,
) -> None:
    """Write variants of recordings, for people to listen to: higher, lower, faster, slower, noisier, louder, softer.

    Training makes its own variants on the fly and does not need these.
    """
    from trainer.augmentation.augmenting import augment as make
    from trainer.data.decoding import one_line

    with _clear_errors(), bars() as progress:
        done = make(folder, out, seed, BESIDE if every else variants, processes, progress)
    typer.echo(
        f"{one_line(out)}: {done.variants} files of {done.recordings} recording{'s' if done.recordings != 1 else ''}"
    )
    if done.refused:
        typer.echo(f"left out: {len(done.refused)}", err=True)
        for one in done.refused[:SHOWN]:
            typer.echo(f"  {one_line(one.path)}: {one.reason}", err=True)
        if len(done.refused) > SHOWN:
            typer.echo(f"  … and {len(done.refused) - SHOWN} more", err=True)
        raise typer.Exit(1)


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from trainer.data.sources import FolderError
    from trainer.lock import AlreadyRunningError

    try:
        yield
    except (FolderError, AlreadyRunningError) as error:
        fail("augment", str(error))
    except KeyboardInterrupt:
        typer.echo("ecosight-trainer augment: interrupted; run it again for the rest", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        fail("augment", said(error))
