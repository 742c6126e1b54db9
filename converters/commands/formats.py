"""``ecosight-convert keras`` and ``to-model``: out of Keras in every format, and from elsewhere onto the device."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from converters.commands.telling import ClipsOption, clips_of, report, told


class Format(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


class Size(StrEnum):
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def keras(
    file: Annotated[Path, typer.Argument(help="A model in Keras's own format (.keras).")],
    to: Annotated[Format, typer.Option(help="Three sizes of TFLite, ONNX, or TorchScript.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; by default beside FILE.")] = None,
    clips: ClipsOption = None,
) -> None:
    """Export a Keras model. Needs the extra `deep`; no TensorFlow."""
    from converters.clips import Sound
    from converters.keras_export import ENDINGS, export, read_keras
    from converters.parity import BOUNDS, compare
    from converters.running import input_of, run_keras, run_onnx, run_tflite, run_torchscript

    target = out or file.with_name(f"{file.stem}_{to.value}{ENDINGS[to.value]}")
    with told(file, target):
        model = read_keras(file)
        calibrate_on, judge_on = clips_of(clips).halves()
        shape = model.inputs[0].shape

        def sample(sound: Sound) -> object:
            return input_of(sound, shape, str(file))

        export(model, to.value, target, [sample(sound) for sound in calibrate_on.sounds])  # type: ignore[misc]
        typer.echo(f"{target}: {to.value}, {target.stat().st_size / 1024:.0f} KiB")
        if to is Format.ONNX:
            run = run_onnx(target)
        elif to is Format.TORCHSCRIPT:
            run = run_torchscript(target, shape)
        else:
            run = run_tflite(target.read_bytes(), str(target))
        report(compare(run_keras(model), run, judge_on, BOUNDS[to.value]), judge_on, target)


def to_model(
    file: Annotated[Path, typer.Argument(help="A network that takes the log-mel patch: .keras, .onnx or .tflite.")],
    description: Annotated[Path, typer.Option(help="YAML or JSON: its name, labels, roles and decisions.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.tflite"),
    to: Annotated[Size, typer.Option(help="How its numbers are stored; a .tflite stays as it is.")] = Size.FLOAT32,
    clips: ClipsOption = None,
) -> None:
    """Make a model file for ecosight-edge of a network from elsewhere. Keras and ONNX need the extra `deep`."""
    from converters.build import write_verified
    from converters.description import read_description
    from converters.flatbuffer import GraphError
    from converters.foreign import described_run, model_file_of, original
    from converters.parity import BOUNDS, compare
    from converters.running import run_tflite
    from edge.detection.model_file import read

    with told(file, out):
        described = read_description(description)
        calibrate_on, judge_on = clips_of(clips).halves()
        content, run = original(file)
        if to is not Size.FLOAT32 and file.suffix.lower() == ".tflite":
            raise GraphError("a .tflite stays as it is; leave --to out, or start from the Keras or ONNX model")
        write_verified(out, model_file_of(content, described, to.value, calibrate_on))
        whole = read(out)
        typer.echo(
            f"{out}: {described.name} {described.version}, {out.stat().st_size / 1024:.0f} KiB, alerts on "
            f"{', '.join(whole.manifest.alert_labels)}"
        )
        labels = {"scores": described.labels}
        found = compare(described_run(run, described), run_tflite(whole.graph), judge_on, BOUNDS[to.value], labels)
        report(found, judge_on, out)
