"""``ecosight-trainer release``: what maintainers do so that devices get new models, programs and overlays.

Facts go to standard output, what happens and what is wrong to standard error. Exit codes: 0 done, 1 not done,
3 waits for others' signatures, 4 done, but an offline role runs out soon, 130 interrupted.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.failing import fail, harmless, who
from trainer.release import maintainer_commands, online_commands, provision_commands
from trainer.release.options import (
    HERE,
    RUNS_OUT,
    ChannelName,
    Config,
    Fraction,
    Keys,
    PassphraseFile,
    RoleName,
    ToChannel,
    clear_errors,
    finish,
    say,
)

if TYPE_CHECKING:
    from trainer.release.chain import Kind

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Releases over the air, signed and staged.")
for command in (
    online_commands.widen,
    online_commands.pause,
    online_commands.resume,
    online_commands.withdraw,
    online_commands.status,
    online_commands.hint,
    provision_commands.wheelhouse,
    provision_commands.bundle,
    maintainer_commands.threshold,
):
    app.command()(command)
app.add_typer(maintainer_commands.app, name="maintainer")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="For release.yaml, the online keys, and the repository.")],
    maintainer: Annotated[list[str], typer.Option(help="NAME=FOLDER: who signs, and the medium for their keys.")],
    threshold: Annotated[int, typer.Option(min=1, help="How many of them it takes.")] = 1,
    repository: Annotated[str, typer.Option(help="A folder, or s3://bucket/prefix.")] = "repository",
    site: Annotated[
        list[str] | None, typer.Option(help="A site whose devices are told; several times for several.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """The key ceremony: makes all keys and the first metadata, and prints what to do with them."""
    from trainer.release import beginning

    with clear_errors("init"):
        typer.echo(beginning.begin(folder, maintainer, threshold, repository, site or [], passphrase_file))


@app.command()
def publish(
    model: Annotated[
        str | None, typer.Argument(help="Model file, models/<version>/, or a target that is signed.")
    ] = None,
    channel: ToChannel = "stable",
    fraction: Fraction = 0.1,
    program: Annotated[list[Path] | None, typer.Option(help="Wheelhouse: a folder of wheels for one machine.")] = None,
    overlay_file: Annotated[Path | None, typer.Option("--overlay", help="Overlay, in YAML.")] = None,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Release a model, a program or an overlay to a share of a channel. What is signed already wants no maintainer."""
    _publish(model, program or [], overlay_file, channel, fraction, key, config, passphrase_file)


@app.command()
def overlay(
    file: Annotated[Path, typer.Argument(help="Overlay, in YAML.")],
    channel: ToChannel = "stable",
    fraction: Fraction = 1.0,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Release a few settings of a site: `publish --overlay`, to all."""
    _publish(None, [], file, channel, fraction, key, config, passphrase_file)


@app.command()
def sign(
    key: Keys = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Drop the change instead.")] = False,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Add signatures to the change that waits, after showing what it is; it goes out once there are enough."""
    from trainer.release import change
    from trainer.release.session import keyring, session

    with clear_errors("sign"), session(config, "release sign") as opened:
        if discard:
            change.discard(opened.place)
            say("dropped")
            return
        waiting = change.waiting(opened.place)
        if waiting is None:
            say("nothing waits for signatures")
            return
        typer.echo(harmless(f"{waiting.what} (by {waiting.by}, {waiting.at:%Y-%m-%d %H:%M} UTC)"))
        for line in waiting.differences(opened.chain):
            typer.echo(harmless(line))
        if not yes and waiting.lacking(opened.chain) and not typer.confirm("sign this?", err=True):
            fail("release sign", "not signed")
        done = opened.sign(waiting, keyring(key or [], passphrase_file), say)
        finish(opened, waiting, done)


@app.command()
def resign(
    offline: Annotated[
        bool, typer.Option("--offline", help="Renew the maintainers' roles instead; wants --key.")
    ] = False,
    warn_days: Annotated[int, typer.Option(min=0, help="Say it when an offline role runs out within this.")] = 30,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign snapshot and timestamp anew, for a timer. Exit code 4 when a maintainers' role runs out soon."""
    from trainer.release.renewal import offline_change, resign_online
    from trainer.release.session import keyring, session

    with clear_errors("resign"), session(config, "release resign") as opened:
        if offline:
            opened.refuse_waiting()
            one = offline_change(opened.chain, opened.online, who(), opened.now)
            finish(opened, one, opened.sign(one, keyring(key or [], passphrase_file), say))
            return
        stamp = resign_online(opened.chain, opened.online).timestamp.signed
        typer.echo(f"timestamp {stamp.version} holds until {stamp.expires:%Y-%m-%d %H:%M} UTC")
        if soon := opened.expiring(warn_days):
            say(f"{'; '.join(soon)}: renew with `ecosight-trainer release resign --offline --key …`")
            raise typer.Exit(RUNS_OUT)


@app.command(name="rotate-key")
def rotate_key(
    role: Annotated[RoleName, typer.Argument(help="Whose key.")],
    key_of: Annotated[str | None, typer.Option("--key-of", help="Owner or id of the key that goes.")] = None,
    new: Annotated[str | None, typer.Option(help="NAME=FOLDER for the new key of a maintainer.")] = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="The old key is lost, not stolen, and cannot sign any more.")
    ] = False,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a new key in the place of an old one; signed by maintainers, a new root by the old root's keys too."""
    from trainer.release import beginning
    from trainer.release.session import keyring, session

    with clear_errors("rotate-key"), session(config, f"release rotate-key {role}") as opened:
        opened.refuse_waiting()
        one, ring = beginning.rotate(
            opened, role, key_of, new, lost, keyring(key or [], passphrase_file), passphrase_file
        )
        finish(opened, one, opened.sign(one, ring, say))


@app.command()
def floor(
    model: Annotated[int | None, typer.Option(min=1, help="Number of the oldest model that may still run.")] = None,
    program: Annotated[int | None, typer.Option(min=1, help="Of the oldest program.")] = None,
    overlay_number: Annotated[int | None, typer.Option("--overlay", min=1, help="Of the oldest overlay.")] = None,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Raise the floor: what is older never runs again, whoever has the online keys. It cannot be lowered."""
    from trainer.release.publishing import floor_raised
    from trainer.release.session import keyring, session

    asked: dict[Kind, int | None] = {"model": model, "program": program, "overlay": overlay_number}
    floors = {kind: number for kind, number in asked.items() if number is not None}
    with clear_errors("floor"), session(config, "release floor") as opened:
        if not floors:
            fail("release floor", "give --model, --program or --overlay with the number of the oldest that may run")
        opened.refuse_waiting()
        one = floor_raised(opened.chain, floors, who(), opened.now, opened.online)
        finish(opened, one, opened.sign(one, keyring(key or [], passphrase_file), say))


def _publish(
    model: str | None,
    program: list[Path],
    overlay_file: Path | None,
    channel: ChannelName,
    fraction: float,
    key: list[Path] | None,
    config: Path,
    passphrase_file: Path | None,
) -> None:
    from trainer.release import offering
    from trainer.release.publishing import Asked
    from trainer.release.session import hint as send
    from trainer.release.session import keyring, session

    with clear_errors("publish"), session(config, "release publish") as opened:
        if sum((model is not None, bool(program), overlay_file is not None)) != 1:
            fail("release publish", "give one of MODEL, --program or --overlay")
        opened.refuse_expired()
        asked = Asked(channel, fraction, who(), datetime.now(UTC))
        one = offering.change_for(opened, asked, model, program, overlay_file)
        if one is None:
            typer.echo(f"signed before, so no maintainer is needed: on {channel} for {fraction:.0%} now")
            send(opened.settings, [channel], say)
            return
        finish(opened, one, opened.sign(one, keyring(key or [], passphrase_file), say))
