"""How commands tell a person what went wrong: one line on standard error, and an exit code."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="ECOSIGHT_CONFIG", help="Configuration file (YAML); see configs/edge.yaml."),
]
"""The option of every command that needs settings."""
USAGE = 2
"""Exit code for what a person must correct; 1 says that the work itself failed."""


def fail(message: object, code: int = USAGE) -> NoReturn:
    """End the command with a message."""
    typer.echo(f"ecosight-edge: {message}", err=True)
    raise typer.Exit(code)


def said(error: OSError) -> str:
    """What the system said, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Every error that a person can mend is one message, never a traceback."""
    from edge.audio.source import SourceError, SourceLost
    from edge.detection.choice import NoModelError
    from edge.detection.model_file import ModelFileError
    from edge.settings_file import SettingsError

    try:
        yield
    except (SettingsError, NoModelError, ModelFileError, SourceError, SourceLost) as error:
        fail(error)
    except BrokenPipeError:
        # The reader of a pipe has left (`… | head`): nothing is wrong, and nothing more can be said.
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        fail(said(error), 1)
