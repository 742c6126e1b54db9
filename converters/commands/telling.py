"""How commands speak: errors in one line, and the parity report that every conversion ends with."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from converters.clips import Clips, ClipsError, read_clips
from converters.description import DescriptionError
from converters.extras import MissingExtraError
from converters.flatbuffer import GraphError
from converters.parity import Parity
from edge.detection.model_file import ModelFileError

ClipsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of recordings to compare on (and to calibrate with); without it, sound that is made."),
]


def fail(message: str) -> NoReturn:
    typer.echo(f"ecosight-convert: {message}", err=True)
    raise typer.Exit(1)


@contextlib.contextmanager
def told(file: Path, out: Path, *others: Path) -> Iterator[None]:
    """Errors as one line with the file that they are about: ``file``, unless they name it or one of the ``others``."""
    try:
        yield
    except (ModelFileError, ClipsError, DescriptionError, MissingExtraError) as error:
        fail(str(error))
    except GraphError as error:
        named = any(str(one) in str(error) for one in (file, *others))
        fail(str(error) if named else f"{file}: {error}")
    except OSError as error:
        is_ours = Path(error.filename or out).name.startswith(f".{out.name}.")
        fail(f"{out if is_ours else error.filename}: {error.strerror or error}")


def clips_of(folder: Path | None) -> Clips:
    """The clips, with a word on those that cannot be read. Raises ClipsError."""
    clips = read_clips(folder)
    if clips.unreadable:
        typer.echo(
            f"ecosight-convert: cannot read {len(clips.unreadable)}: {', '.join(clips.unreadable[:3])}", err=True
        )
    return clips


def report(found: Sequence[Parity], clips: Clips, out: Path) -> None:
    """Print the figures; leave with exit code 3 where one is beyond its bound."""
    typer.echo(f"compared on {len(clips.sounds)} windows of {'recordings' if clips.is_real else 'made sound'}:")
    for one in found:
        typer.echo(f"  {one}")
    if not all(one.holds for one in found):
        typer.echo(f"ecosight-convert: {out} is not what it was made from; it was written, but do not use it", err=True)
        raise typer.Exit(3)
