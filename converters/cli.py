"""``ecosight-convert``: one model in, another format out."""

import typer

from converters.commands import backbones, formats, waveforms

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="One model in, another format out."
)


@app.callback()
def main() -> None:
    """One model in, another format out. Each conversion is compared with its original on sound; exit code 3 where it
    is not the same."""


app.command()(backbones.yamnet)
app.command()(backbones.backbone)
app.add_typer(backbones.head_app, name="head")
app.command()(formats.keras)
app.command("to-model")(formats.to_model)
app.command()(waveforms.waveform)
