"""One command's way through a repository: settings, lock, what is there; then what is new, or what waits for others."""

import contextlib
import getpass
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.updates.release import Channel, Rollout
from trainer.release import ReleaseError, change, settings
from trainer.release.chain import CHANNELS, OFFLINE, ONLINE, Chain, load
from trainer.release.change import Change
from trainer.release.keys import ID_DIGITS, SUFFIX, AskPassphrase, Keyring
from trainer.release.places import Place, place_of
from trainer.release.placing import Online, Placing, put

Say = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """An open repository."""

    settings: settings.ReleaseSettings
    place: Place
    chain: Chain
    now: datetime

    @property
    def online(self) -> Online:
        return Online(self.settings.online_keys, self.settings.expire_days, self.now)

    def refuse_expired(self) -> None:
        """Raises ReleaseError: devices would see nothing of what is done now."""
        if expired := self.chain.expired(self.now, *OFFLINE):
            until = min(self.chain.role(role).signed.expires for role in expired)
            raise ReleaseError(
                f"{' and '.join(expired)} ran out on {until:%Y-%m-%d}, so devices take nothing new; renew with "
                "`ecosight-trainer release resign --offline --key …`, then do this again"
            )

    def refuse_waiting(self) -> None:
        """Raises ReleaseError: another change waits for signatures."""
        waiting = change.waiting(self.place)
        if waiting is not None:
            lacking = "; ".join(map(str, waiting.lacking(self.chain))) or "nothing: finish it"
            raise ReleaseError(
                f"a change by {waiting.by} waits for signatures ({waiting.what}; {lacking}); sign it with "
                "`ecosight-trainer release sign --key …`, or drop it with --discard"
            )

    def expiring(self, days: int) -> list[str]:
        """Offline roles that hold for less than this, in words."""
        limit = self.now + timedelta(days=days)
        found = []
        for role in OFFLINE:
            expires = self.chain.role(role).signed.expires
            if expires <= limit:
                left = (expires - self.now).days
                found.append(f"{role} {'holds for ' + str(left) + ' days' if expires > self.now else 'has run out'}")
        return found

    def put_rollout(self, rollout: Rollout) -> Chain:
        """Say what a channel wants. Raises ReleaseError."""
        return put(self.chain, Placing(rollouts={rollout.channel: rollout}), self.online)

    def sign(self, one: Change, keyring: Keyring, say: Say) -> bool:
        """Sign with the keys at hand; put it in place if that is enough, else let it wait. True: it is in place."""
        for who in one.sign(self.chain, keyring):
            say(f"signed: {who}")
        if lacking := one.lacking(self.chain):
            one.wait(self.place)
            say(f"not out yet: {one.what}")
            for role in lacking:
                say(f"  {role}")
            say("  they sign with `ecosight-trainer release sign --key MEDIUM`; until then devices see nothing of it")
            return False
        one.wait(self.place)  # a kill from here on is mended by `sign`
        chain = one.put(self.chain, self.online)
        for path in useless_keys(chain, self.settings.online_keys):
            say(f"{path} signs nothing any more; delete it")
        return True


@contextlib.contextmanager
def session(config: Path, what: str, now: datetime | None = None) -> Iterator[Session]:
    """Alone with the repository. Raises ReleaseError."""
    found = settings.load(config)
    place = place_of(found)
    with place.only_one(what):
        yield Session(found, place, load(place, trusted_root(found)), now or datetime.now(UTC))


def reading(config: Path) -> Session:
    """The repository, only to look at. Raises ReleaseError."""
    found = settings.load(config)
    place = place_of(found)
    return Session(found, place, load(place, trusted_root(found)), datetime.now(UTC))


def trusted_root(found: settings.ReleaseSettings) -> bytes:
    """What this maintainer trusts. Raises ReleaseError."""
    try:
        return found.trusted_root.read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"cannot read the root of trust {found.trusted_root}: {error.strerror}; copy it from another maintainer "
            "and compare its SHA-256 with the page of the ceremony"
        ) from error


def keyring(places: Sequence[Path], passphrase_file: Path | None) -> Keyring:
    """The keys that were named. Raises ReleaseError."""
    return Keyring(tuple(places), asking(passphrase_file, twice=False))


def asking(passphrase_file: Path | None, twice: bool) -> AskPassphrase:
    """Passphrases from a file, the environment, or a person at the keyboard. Raises ReleaseError."""
    given = os.environ.get("ECOSIGHT_RELEASE_PASSPHRASE")
    if passphrase_file is not None:
        try:
            given = passphrase_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ReleaseError(f"cannot read {passphrase_file}: {getattr(error, 'strerror', None) or error}") from error

    def ask(place: Path) -> str:
        if given is not None:
            return given
        if not sys.stdin.isatty():
            raise ReleaseError(f"no passphrase for {place}: give --passphrase-file, or run it at a terminal")
        first = getpass.getpass(f"passphrase for {place}: ")
        if twice and getpass.getpass("once more: ") != first:
            raise ReleaseError("these were two different passphrases; begin again")
        return first

    return ask


def hint(found: settings.ReleaseSettings, channels: Iterable[Channel], say: Say) -> bool:
    """Tell devices to look; False, and said, where it did not work. That is no failure of the release."""
    from trainer.release.broker import hint as send

    if found.broker is None or not found.sites:
        say("no hint sent (no broker or no sites in release.yaml): devices look by themselves")
        return False
    try:
        send(found.broker, found.sites, channels)
    except ReleaseError as error:
        say(f"no hint sent: {error}; devices look by themselves")
        return False
    say(f"hint sent to {', '.join(found.sites)}")
    return True


def channels_of(one: Change) -> list[Channel]:
    """Whom a change concerns."""
    named = {intent.channel for intent in one.intents}
    return [channel for channel in CHANNELS if channel in named]


def useless_keys(chain: Chain, folder: Path) -> list[Path]:
    """Online keys that no role names any more."""
    used = {keyid[:ID_DIGITS] for role in ONLINE for keyid in chain.keys(role)}
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.rpartition("-")[2] not in used)
