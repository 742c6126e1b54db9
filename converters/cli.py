"""``ecosight-convert``: one model in, another format out."""

import os
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
    from converters.build import with_yamnet
    from converters.flatbuffer import GraphError
    from converters.head_file import GUN_SHOT, load
    from edge.detection.model_file import ModelFileError, read_bytes
    from edge.detection.verify import verify

    try:
        about, weights, biases = load(head or GUN_SHOT)
        data = with_yamnet(read_bytes(file), about, weights, biases)
        temporary = out.with_name(f".{out.name}.{os.getpid()}")
        temporary.write_bytes(data)
        try:
            verify(temporary)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    except (GraphError, ModelFileError, OSError) as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(1) from error
    decision = about.decisions[about.ensemble_label]
    typer.echo(
        f"{out}: {about.name} {about.version}, {len(data) / 1024:.0f} KiB, alerts on {', '.join(about.decisions)} "
        f"from a score of {decision.threshold:g}"
    )
