"""What the commands of ``ecosight-trainer release`` share: their options, and how they tell what went wrong."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainer.failing import fail, said

if TYPE_CHECKING:
    from trainer.release.change import Change
    from trainer.release.session import Session

WAITS, RUNS_OUT, INTERRUPTED = 3, 4, 130
ChannelName = Literal["stable", "beta", "canary"]
KindName = Literal["model", "program", "overlay"]
RoleName = Literal["root", "targets", "models", "rollout", "snapshot", "timestamp"]

Config = Annotated[Path, typer.Option("--config", help="release.yaml, or the folder that it is in.")]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="A maintainer's medium or key file; once for each who is here.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Instead of typing it (or ECOSIGHT_RELEASE_PASSPHRASE).")
]
ToChannel = Annotated[ChannelName, typer.Option("--channel", help="Which devices: how early they try what is new.")]
OfKind = Annotated[KindName, typer.Option("--kind", help="Of what.")]
Fraction = Annotated[float, typer.Option("--fraction", min=0, max=1, help="Share of the channel's devices, 0 to 1.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
HERE = Path("release.yaml")


@contextlib.contextmanager
def clear_errors(command: str) -> Iterator[None]:
    """What a person can mend is one message, never a traceback."""
    from trainer.release import ReleaseError

    try:
        yield
    except ReleaseError as error:
        fail(f"release {command}", str(error))
    except KeyboardInterrupt:
        fail(f"release {command}", "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has left (`… | head`).
        sys.stderr.close()
        raise typer.Exit(0) from None
    except OSError as error:
        fail(f"release {command}", said(error))


def say(message: str) -> None:
    typer.echo(message, err=True)


def finish(opened: "Session", one: "Change", done: bool) -> None:
    """After a change was signed: it is out, and devices are told; or it waits for others."""
    from trainer.release.session import channels_of
    from trainer.release.session import hint as send

    if not done:
        raise typer.Exit(WAITS)
    typer.echo(f"out: {one.what}")
    if channels := channels_of(one):
        send(opened.settings, channels, say)
