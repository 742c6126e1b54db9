"""``ecosight-convert``: one model in, another format out."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="One model in, another format out.")


@app.callback()
def main() -> None:
    """One model in, another format out."""


@app.command()
def yamnet(
    file: Annotated[Path, typer.Argument(help="Google's quantised waveform-in yamnet.tflite.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("gun_shot.tflite"),
    head: Annotated[Path | None, typer.Option(help="Trained head; without it, the one that comes along.")] = None,
) -> None:
    """Cut YAMNet at its log-mel patch, append a head, and write a model file for ecosight-edge."""
    from converters.build import model_from_yamnet
    from converters.flatbuffer import GraphError
    from edge.detection.model_file import ModelFileError

    try:
        about = model_from_yamnet(file, out, head)
    except (GraphError, ModelFileError, OSError) as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(1) from error
    decision = about.decisions[about.ensemble_label]
    size_kib = out.stat().st_size / 1024
    typer.echo(
        f"{out}: {about.name} {about.version}, {size_kib:.0f} KiB, alerts on {', '.join(about.decisions)} "
        f"from a score of {decision.threshold:g}"
    )
