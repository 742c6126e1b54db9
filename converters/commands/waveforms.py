"""``ecosight-convert waveform``: a model for those who have sound, not log-mel patches."""

from pathlib import Path
from typing import Annotated

import typer

from converters.commands.telling import ClipsOption, clips_of, report, told


def waveform(
    file: Annotated[Path, typer.Argument(help="A model file.")],
    yamnet: Annotated[Path, typer.Option(help="Google's waveform-in yamnet.tflite, for its front end.")],
    out: Annotated[Path, typer.Option(help="The .tflite to write.")] = Path("waveform.tflite"),
    clips: ClipsOption = None,
) -> None:
    """Make the waveform-in variant, with TFLite Metadata for MediaPipe's audio classifier. The device needs none."""
    from converters.parity import SAME_NETWORK, compare
    from converters.running import run_tflite
    from converters.waveform import waveform_variant
    from edge.detection.model_file import parse, read_bytes

    with told(file, out, yamnet):
        content = read_bytes(file)
        made = waveform_variant(read_bytes(yamnet), content, str(file), str(yamnet))
        out.write_bytes(made)
        sound = clips_of(clips)
        whole = parse(content, str(file))
        typer.echo(f"{out}: {whole.manifest.name} {whole.manifest.version}, {len(made) / 1024:.0f} KiB, waveform in")
        after = run_tflite(made, str(out))
        before = run_tflite(whole.graph)
        wanted = [name for name in ("scores", "context") if name != "context" or whole.manifest.context_labels]
        labels = {"scores": whole.manifest.labels}
        found = compare(
            lambda one: {k: v for k, v in before(one).items() if k in wanted}, after, sound, SAME_NETWORK, labels
        )
        report(found, sound, out)
