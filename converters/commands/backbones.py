"""``ecosight-convert yamnet``, ``backbone`` and ``head``: networks and heads, together and apart."""

from pathlib import Path
from typing import Annotated

import typer

from converters.commands.telling import ClipsOption, clips_of, report, told

head_app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Put a head on a backbone, or take it off."
)


def yamnet(
    file: Annotated[Path, typer.Argument(help="Google's quantised waveform-in yamnet.tflite, or a backbone.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("gun_shot.tflite"),
    head: Annotated[Path | None, typer.Option(help="Trained head; without it, the one that comes along.")] = None,
    clips: ClipsOption = None,
) -> None:
    """Make a model file for ecosight-edge. YAMNet is cut at its log-mel patch, and a head appended."""
    _model_file(file, head, out, clips)


def backbone(
    file: Annotated[Path, typer.Argument(help="Google's quantised waveform-in yamnet.tflite, or a model file.")],
    out: Annotated[Path, typer.Option(help="The backbone to write.")] = Path("backbone.tflite"),
    clips: ClipsOption = None,
) -> None:
    """Take the network alone: log-mel patch in, embedding and the scores of all its classes out."""
    from converters.backbone_file import open_backbone, pack_backbone
    from converters.expected import expected
    from converters.parity import SAME_NETWORK, compare
    from converters.running import run_tflite
    from edge.detection.model_file import read_bytes

    with told(file, out):
        found = open_backbone(read_bytes(file), str(file))
        network = found.cut(found.classes)
        content = pack_backbone(network, found.classes, found.sha256, found.heard, found.licence)
        out.write_bytes(content)
        sound = clips_of(clips)
        typer.echo(
            f"{out}: a network of {found.cut().width} values and {len(found.classes)} classes, "
            f"{len(content) / 1024:.0f} KiB, cut out of {found.sha256[:12]}…"
        )
        report(compare(expected(found, found.classes), run_tflite(content), sound, SAME_NETWORK), sound, out)


@head_app.command()
def append(
    file: Annotated[Path, typer.Argument(help="A backbone, or Google's yamnet.tflite.")],
    head: Annotated[Path, typer.Argument(help="The head (.npz) that was trained on it.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.tflite"),
    clips: ClipsOption = None,
) -> None:
    """Make a model file of a backbone and a head."""
    _model_file(file, head, out, clips)


@head_app.command()
def detach(
    file: Annotated[Path, typer.Argument(help="A model file.")],
    out: Annotated[Path, typer.Option(help="The head to write.")] = Path("head.npz"),
    backbone: Annotated[Path | None, typer.Option(help="Write the backbone, too.")] = None,
    clips: ClipsOption = None,
) -> None:
    """Take a model file apart: its head, and its backbone with the classes that the model passed on."""
    from converters.backbone_file import open_backbone
    from converters.build import head_from, taken_apart
    from converters.expected import expected
    from converters.head_file import save
    from converters.parity import EXACT, compare
    from converters.running import run_tflite
    from edge.detection.model_file import parse, read_bytes

    with told(file, out):
        content = read_bytes(file)
        network, about, weights = taken_apart(content, str(file))
        save(out, about, weights)
        if backbone is not None:
            backbone.write_bytes(network)
        sound = clips_of(clips)
        typer.echo(f"{out}: the head of {about.name} {about.version}, {len(about.labels)} labels")
        opened = open_backbone(network, str(backbone or file))
        again = expected(opened, opened.classes, head_from(about, weights, opened))
        report(compare(again, run_tflite(parse(content).graph), sound, EXACT), sound, out)


def _model_file(file: Path, head: Path | None, out: Path, clips: Path | None) -> None:
    from converters.backbone_file import open_backbone
    from converters.build import head_from, model_from_yamnet
    from converters.expected import expected
    from converters.head_file import GUN_SHOT, load
    from converters.parity import SAME_NETWORK, compare
    from converters.running import run_tflite
    from edge.detection.model_file import read, read_bytes

    with told(file, out, head or GUN_SHOT):
        sound = clips_of(clips)
        about = model_from_yamnet(file, out, head)
        decision = about.decisions[about.ensemble_label]
        typer.echo(
            f"{out}: {about.name} {about.version}, {out.stat().st_size / 1024:.0f} KiB, alerts on "
            f"{', '.join(about.decisions)} from a score of {decision.threshold:g}"
        )
        whole = read(out)
        opened = open_backbone(read_bytes(file), str(file))
        _, weights = load(head or GUN_SHOT)
        wanted = expected(opened, whole.manifest.context_labels, head_from(about, weights, opened))
        labels = {"scores": about.labels}
        report(compare(wanted, run_tflite(whole.graph), sound, SAME_NETWORK, labels), sound, out)
