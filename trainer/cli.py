"""``ecosight-trainer``: from recordings to a model."""

from pathlib import Path
from typing import Annotated

import typer

from converters.head_file import GUN_SHOT

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="From recordings to a model.")


@app.callback()
def main() -> None:
    """From recordings to a model."""


@app.command()
def head(
    data: Annotated[Path, typer.Option(help="Folder of recordings with MANIFEST.csv.")],
    yamnet: Annotated[Path, typer.Option(help="Google's quantised waveform-in yamnet.tflite.")],
    out: Annotated[Path, typer.Option(help="The head to write.")] = GUN_SHOT,
    cache: Annotated[Path, typer.Option(help="Folder for embeddings.")] = Path(".cache"),
    version: Annotated[str, typer.Option(help="Version that the model will carry.")] = "0.1.0",
) -> None:
    """Train the gunshot head on the embeddings of the int8 backbone (minutes)."""
    from converters.flatbuffer import GraphError
    from trainer.head import train

    try:
        about = train(data, yamnet, cache, out, version, lambda text: typer.echo(text, err=True))
    except (GraphError, OSError, KeyError) as error:
        typer.echo(f"ecosight-trainer head: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(about.card)
