"""``ecosight-edge model show|verify``: what a model file holds, and whether it is whole."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edge.failing import Config, clear_errors, fail

app = typer.Typer(help="Show, verify and choose the model.", no_args_is_help=True, rich_markup_mode=None)

ModelPath = Annotated[Path | None, typer.Argument(help="Model file; else the one that the daemon would run.")]


@app.command("show")
def show(model: ModelPath = None, config: Config = None) -> None:
    """Print its manifest: labels, thresholds, sources."""
    from edge.detection.choice import choose
    from edge.settings import load

    with clear_errors():
        settings = load(config)
        choice = choose(model or settings.detection.model, settings.state_dir, only=model is not None)
        shown = {
            "file": str(choice.path),
            "sha256": choice.model.sha256,
            **choice.model.manifest.model_dump(mode="json"),
            "backbone_heard": f"{len(choice.model.manifest.backbone_heard)} clips",
        }
    typer.echo(json.dumps(shown, indent=2))


@app.command("verify")
def verify(model: ModelPath = None, config: Config = None) -> None:
    """Check that it is whole and scores as it should. In a child process with a deadline and a memory limit."""
    from edge.detection.choice import candidates
    from edge.detection.verify import verify as verify_file
    from edge.settings import load

    with clear_errors():
        if model is None:
            settings = load(config)
            model = next((p for p in candidates(settings.detection.model, settings.state_dir) if p.exists()), None)
        if model is None:
            fail("there is no model to verify; name one")
        verify_file(model)
    typer.echo(f"{model}: good")
