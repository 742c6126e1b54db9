"""``ecosight-convert``: one model in, another format out."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="One model in, another format out."
)


@app.callback()
def main() -> None:
    """One model in, another format out."""


def _fail(message: str) -> NoReturn:
    typer.echo(f"ecosight-convert: {message}", err=True)
    raise typer.Exit(1)


@app.command()
def yamnet(
    file: Annotated[Path, typer.Argument(help="Google's quantised waveform-in yamnet.tflite.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("gun_shot.tflite"),
    head: Annotated[Path | None, typer.Option(help="Trained head; without it, the one that comes along.")] = None,
) -> None:
    """Make a model file for ecosight-edge. YAMNet is cut at its log-mel patch, and a head appended."""
    from converters.build import model_from_yamnet
    from converters.flatbuffer import GraphError
    from edge.detection.model_file import ModelFileError

    try:
        about = model_from_yamnet(file, out, head)
    except ModelFileError as error:
        _fail(str(error))
    except GraphError as error:
        _fail(f"{file}: {error}")
    except OSError as error:
        is_ours = Path(error.filename or out).name.startswith(f".{out.name}.")
        _fail(f"{out if is_ours else error.filename}: {error.strerror or error}")
    decision = about.decisions[about.ensemble_label]
    size_kib = out.stat().st_size / 1024
    typer.echo(
        f"{out}: {about.name} {about.version}, {size_kib:.0f} KiB, alerts on {', '.join(about.decisions)} "
        f"from a score of {decision.threshold:g}"
    )
