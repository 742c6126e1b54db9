"""``ecosight-edge model history|rollback|pin|unpin|update`` and ``updates check``: what came over the air, and a
person's word on it."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.detection.commands import app as model_app
from edge.failing import Config, clear_errors, fail

if TYPE_CHECKING:
    from edge.updates.model.person import Action

app = typer.Typer(help="Look at the release repository.", no_args_is_help=True, rich_markup_mode=None)


@model_app.command("history")
def history(config: Config = None) -> None:
    """Print what came over the air, what became of it, and what runs."""
    from edge.settings import load
    from edge.updates.model import telling

    with clear_errors():
        settings = load(config)
        try:
            lines = list(telling.history(settings.state_dir, settings.detection.model))
        except ValueError as error:
            fail(error, 1)
    typer.echo("\n".join(lines))


@model_app.command("rollback")
def rollback(config: Config = None) -> None:
    """Go back to the model before. The running daemon does it at once; that update is not tried again by itself."""
    _wish(config, "rollback")


@model_app.command("pin")
def pin(config: Config = None) -> None:
    """Keep the model as it is: no more updates of it. One that is still on trial or probation is taken back."""
    _wish(config, "pin")


@model_app.command("unpin")
def unpin(config: Config = None) -> None:
    """Let updates of the model go on."""
    _wish(config, "unpin")


@model_app.command("update")
def update(config: Config = None) -> None:
    """Look for updates now, and try again what failed here."""
    _wish(config, "update")


def _wish(config: Path | None, action: "Action") -> None:
    from edge.settings import load
    from edge.updates.model.telling import NotDone, wish

    with clear_errors():
        try:
            typer.echo(wish(load(config), action))
        except NotDone as error:
            fail(error, 1)


@app.command("check")
def check(config: Config = None) -> None:
    """Print what the release repository wants this device to run. Downloads nothing."""
    from edge.updates.fetching.looking import LookFailed, look, to_table

    with clear_errors():
        try:
            typer.echo(to_table(look(config)), nl=False)
        except LookFailed as error:
            fail(error, 1)
