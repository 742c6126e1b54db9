"""The commands that change who signs: `release maintainer add|remove`, `release threshold`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.failing import who
from trainer.release.options import HERE, Config, Keys, PassphraseFile, clear_errors, finish, say

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who signs; wants as many maintainers as before.")

Threshold = Annotated[int | None, typer.Option(min=1, help="How many it takes from now on; as before if not given.")]


@app.command()
def add(
    newcomer: Annotated[str, typer.Argument(metavar="NAME=FOLDER", help="Who comes, and the medium for their keys.")],
    threshold: Threshold = None,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Somebody more signs: makes their keys, and gives them a place in each role."""
    _change("maintainer add", newcomer, None, threshold, key, config, passphrase_file)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Whose keys sign nothing any more, whoever has them.")],
    threshold: Threshold = None,
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Somebody signs no more: they left, or their stick is lost and nobody takes their place."""
    _change("maintainer remove", None, name, threshold, key, config, passphrase_file)


def threshold(
    count: Annotated[int, typer.Argument(min=1, help="How many maintainers it takes from now on.")],
    key: Keys = None,
    config: Config = HERE,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Change how many maintainers must sign."""
    _change("threshold", None, None, count, key, config, passphrase_file)


def _change(
    command: str,
    newcomer: str | None,
    leaves: str | None,
    count: int | None,
    key: list[Path] | None,
    config: Path,
    passphrase_file: Path | None,
) -> None:
    from trainer.release import ReleaseError, maintainers
    from trainer.release.beginning import maintainer
    from trainer.release.ceremony import ONLINE_OWNER
    from trainer.release.chain import OFFLINE
    from trainer.release.change import Change
    from trainer.release.keys import make, write_encrypted
    from trainer.release.session import asking, keyring, session

    with clear_errors(command), session(config, f"release {command}") as opened:
        opened.refuse_waiting()
        ring, come, done = keyring(key or [], passphrase_file), None, []
        if newcomer is not None:
            one = maintainer(newcomer)
            if one.name in (*maintainers.names(opened.chain), ONLINE_OWNER):
                raise ReleaseError(f"{one.name} signs already; give the newcomer another name")
            come = {role: make(one.name) for role in OFFLINE}
            done.append(f"{one.name} signs too")
        if leaves is not None:
            done.append(f"{leaves} signs no more")
        if count is not None:
            done.append(f"it takes {count}")
        metadata = maintainers.staffed(opened.chain, opened.online, come, leaves, count)
        if come is not None:
            passphrase = asking(passphrase_file, twice=True)(one.medium)
            files = tuple(write_encrypted(one.medium, role, signer, passphrase) for role, signer in come.items())
            ring = replace(ring, places=(*ring.places, *files), _asked=dict.fromkeys(files, passphrase))
        change = Change(", ".join(done), who(), opened.now, metadata)
        finish(opened, change, opened.sign(change, ring, say))
