"""The commands that want no maintainer: widen, pause, resume, withdraw, status, hint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.release.options import HERE, ChannelName, Config, Fraction, Json, OfKind, ToChannel, clear_errors, say

if TYPE_CHECKING:
    from edge.updates.release import Rollout


def widen(
    channel: ToChannel = "stable", fraction: Fraction = 1.0, kind: OfKind = "model", config: Config = HERE
) -> None:
    """Give the release to a larger share."""
    from trainer.release.stages import widened

    _stage("widen", channel, config, lambda rollout: widened(rollout, kind, fraction))


def pause(channel: ToChannel = "stable", kind: OfKind = "model", config: Config = HERE) -> None:
    """Nobody changes anything until `resume`: who has it keeps it."""
    from trainer.release.stages import paused

    _stage("pause", channel, config, lambda rollout: paused(rollout, kind, True))


def resume(channel: ToChannel = "stable", kind: OfKind = "model", config: Config = HERE) -> None:
    """Go on after `pause`."""
    from trainer.release.stages import paused

    _stage("resume", channel, config, lambda rollout: paused(rollout, kind, False))


def withdraw(
    channel: ToChannel = "stable",
    kind: OfKind = "model",
    to: Annotated[str | None, typer.Option(help="Target, version or number to go back to.")] = None,
    config: Config = HERE,
) -> None:
    """All devices go back to the release before."""
    from trainer.release.session import hint, session
    from trainer.release.stages import withdrawn

    with clear_errors("withdraw"), session(config, "release withdraw") as opened:
        opened.refuse_expired()
        rollout, older = withdrawn(opened.chain.rollout_of(channel), kind, opened.chain, to)
        opened.put_rollout(rollout)
        typer.echo(f"all devices on {channel} go back to {older.target} (number {older.number})")
        hint(opened.settings, [channel], say)


def status(
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long to listen to devices.")] = 3.0,
    check: Annotated[bool, typer.Option("--check", help="Also look whether every signed file is there.")] = False,
    as_json: Json = False,
    config: Config = HERE,
) -> None:
    """What is released, who runs what (live, over MQTT), what waits, and when signatures run out."""
    from trainer.release import change, looking
    from trainer.release.session import reading

    with clear_errors("status"):
        opened = reading(config)
        devices = looking.heard(opened, seconds, say)
        waiting = change.waiting(opened.place)
        lacking = {waiting.what: [str(one) for one in waiting.lacking(opened.chain)]} if waiting is not None else {}
        damage = list(opened.chain.missing_files()) if check else []
        if as_json:
            typer.echo(json.dumps({**looking.document(opened, devices, lacking), "damage": damage}, indent=1))
        else:
            looking.show(opened, devices, lacking)
        for line in damage:
            say(f"damaged: {opened.place.name}/{line}")
        if damage:
            raise typer.Exit(1)


def hint(
    channel: Annotated[ChannelName | None, typer.Option(help="All channels if not given.")] = None,
    config: Config = HERE,
) -> None:
    """Tell devices once more to look."""
    from trainer.release.chain import CHANNELS
    from trainer.release.session import hint as send
    from trainer.release.settings import load

    with clear_errors("hint"):
        if not send(load(config), [channel] if channel else CHANNELS, say):
            raise typer.Exit(1)


def _stage(command: str, channel: ChannelName, config: Path, step: "Callable[[Rollout], Rollout]") -> None:
    """A step that the online key alone takes."""
    from trainer.release.looking import in_words
    from trainer.release.session import hint as send
    from trainer.release.session import session

    with clear_errors(command), session(config, f"release {command}") as opened:
        opened.refuse_expired()
        rollout = step(opened.chain.rollout_of(channel))
        opened.put_rollout(rollout)
        typer.echo(in_words(rollout))
        send(opened.settings, [channel], say)
