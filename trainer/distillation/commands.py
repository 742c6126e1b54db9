"""``ecosight-trainer distill`` and ``backbone fetch``: networks to put heads on."""

from pathlib import Path
from typing import Annotated

import typer

from trainer.failing import fail

backbone = typer.Typer(no_args_is_help=True, help="Networks to put heads on.")
FETCHED = Path(".cache/yamnet.tflite")


@backbone.command()
def fetch(
    out: Annotated[Path, typer.Option(help="Where to put it.")] = FETCHED,
) -> None:
    """Download Google's YAMNet from its official address, and check its SHA-256."""
    from converters.backbone import BackboneError, find_yamnet

    try:
        found = find_yamnet(out.parent)
        if found != out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(found.read_bytes())
    except (BackboneError, OSError) as error:
        fail("backbone fetch", str(error))
    typer.echo(out)


def distill(
    data: Annotated[Path, typer.Option(help="Folder of recordings with MANIFEST.csv, or a folder per class.")],
    yamnet: Annotated[Path, typer.Option(help="The teacher: Google's yamnet.tflite.")] = FETCHED,
    out: Annotated[Path, typer.Option(help="The backbone to write.")] = Path("narrow.tflite"),
    work: Annotated[Path, typer.Option(help="Folder for the bank of sounds and the checkpoints.")] = Path(
        ".cache/distillation"
    ),
    width: Annotated[float, typer.Option(min=0.1, max=1.0, help="Channels, as a share of YAMNet's.")] = 0.5,
    hours: Annotated[float, typer.Option(min=0.01, help="Of mixes to hear.")] = 360.0,
    minutes: Annotated[float, typer.Option(min=1.0, help="At most so long.")] = 600.0,
    threads: Annotated[int, typer.Option(min=1, help="Of the learner; mixing and teaching take a core beside it.")] = 1,
    onward: Annotated[
        Path | None, typer.Option(help="A checkpoint.npz of a student taught on other sounds: it is taught on.")
    ] = None,
) -> None:
    """Teach a narrow network what YAMNet knows, on mixes of recordings that may ship and of made sounds (hours).

    Ended and started again, it goes on. `ecosight-trainer retrain --backbone OUT --licence shippable` makes a model
    of it.
    """
    from converters.extras import MissingExtraError, needed
    from converters.flatbuffer import GraphError

    try:
        needed("torch")
        from trainer.distillation.distilling import Request, distil

        wanted = Request(data, yamnet, out, work, width, hours, minutes, threads, onward)
        told = distil(wanted, lambda text: typer.echo(text, err=True))
    except (MissingExtraError, GraphError, OSError, ValueError, RuntimeError) as error:
        fail("distill", str(error))
    typer.echo(told)
