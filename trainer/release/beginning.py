"""`release init` and `release rotate-key`, from what was typed to what is signed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from edge.durable import commit_bytes, make_folder
from edge.settings_file import PLAIN_NAME
from trainer.failing import who
from trainer.release import ReleaseError, ceremony, settings
from trainer.release.ceremony import ONLINE_OWNER, Maintainer
from trainer.release.ceremony_page import page
from trainer.release.chain import OFFLINE, SNAPSHOT, TARGETS_ROLE, TIMESTAMP
from trainer.release.change import Change
from trainer.release.keys import Keyring, make, owner_of, write_encrypted, write_online
from trainer.release.places import place_of
from trainer.release.rotation import Rotation, old_key, rotated
from trainer.release.session import Session, asking

_YAML = """# Where releases are kept, and who is told. Paths are beside this file.
repository: {repository}
online_keys: online
trusted_root: root.json
sites: [{sites}]
# Hints to devices, and `release status`. Without it devices look by themselves, every `updates.check_every_h`.
# broker:
#   host: broker.example.org
#   port: 8883
#   tls: true
#   username: maintainer
#   password_file: mqtt-password
"""


def begin(
    folder: Path,
    maintainers: Sequence[str],
    threshold: int,
    repository: str,
    sites: Sequence[str],
    passphrase_file: Path | None,
) -> str:
    """Hold the ceremony; returns the page to print. Raises ReleaseError, OSError."""
    named = [maintainer(one) for one in maintainers]
    file = folder / settings.NAME
    if file.exists():
        found = settings.load(file)
    else:
        try:
            bare = settings.ReleaseSettings(repository=repository, sites=list(sites))
        except ValidationError as error:
            first = error.errors()[0]
            raise ReleaseError(f"{first['loc'][0]}: {first['input']!r}: {first['msg']}") from error
        found = settings.beside(bare, folder)
    place = place_of(found)
    ask = asking(passphrase_file, twice=True)
    with place.only_one("release init"):
        passphrases = {one: ask(one.medium) for one in named}
        held = ceremony.hold(found, place, passphrases, threshold, datetime.now(UTC))
    if not file.exists():
        make_folder(folder)
        text = _YAML.format(repository=repository, sites=", ".join(sites))
        commit_bytes(file, text.encode())
    return page(held, found)


def rotate(
    opened: Session,
    role: str,
    key_of: str | None,
    new: str | None,
    lost: bool,
    keyring: Keyring,
    passphrase_file: Path | None,
) -> tuple[Change, Keyring]:
    """The change in which a new key stands, and the keys at hand with the new one among them. Raises ReleaseError."""
    old = old_key(opened.chain, role, key_of)
    if role in OFFLINE:
        if new is None:
            raise ReleaseError(f"a new key of {role} is a maintainer's: give --new NAME=FOLDER for it")
        owner = maintainer(new)
        signer = make(owner.name)
        path = write_encrypted(owner.medium, role, signer, asking(passphrase_file, twice=True)(owner.medium))
        keyring = replace(keyring, places=(*keyring.places, path))
    else:
        signer = make(ONLINE_OWNER)
        path = write_online(opened.settings.online_keys, role, signer)
    keep = lost and role in (TARGETS_ROLE, SNAPSHOT, TIMESTAMP)
    metadata = rotated(opened.chain, Rotation(role, old, keep), signer, opened.online)
    ordered = {name: metadata[name] for name in OFFLINE if name in metadata}
    what = f"{role}: the key {owner_of(signer.public_key)} ({path.name}) for {owner_of(old)}"
    return Change(what, who(), opened.now, ordered), keyring


def maintainer(text: str) -> Maintainer:
    """``NAME=FOLDER``. Raises ReleaseError."""
    import re

    name, _, medium = text.partition("=")
    if not re.fullmatch(PLAIN_NAME, name) or not medium:
        raise ReleaseError(f"{text!r}: expected NAME=FOLDER, a maintainer and the medium for their keys")
    return Maintainer(name, Path(medium))
