"""Private keys: ed25519 in PKCS#8, one file each, named ``<role>-<first digits of the key's id>.pem``.

Those of maintainers are encrypted with a passphrase by OpenSSL (PBES2: scrypt, AES-256; RFC 7914, RFC 8018). Python's
``cryptography`` writes PKCS#8 with 2,048 rounds of PBKDF2 only, which is little against somebody who has the file.
Online keys are not encrypted: nobody is there to type; only their owner may read them (0600).
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge.durable import commit_bytes, make_folder
from trainer.failing import harmless
from trainer.release import ReleaseError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key

SUFFIX = ".pem"
OWNER = "x-ecosight-owner"
"""Field of a public key: whose it is."""
SHORTEST_PASSPHRASE = 12
LONGEST_PASSPHRASE = 500
ID_DIGITS = 8

AskPassphrase = Callable[[Path], str]
"""For the key file (or the folder of key files) that is named."""


def make(owner: str) -> "CryptoSigner":
    """A new key; the public part carries its owner's name."""
    from securesystemslib.signer import CryptoSigner

    signer = CryptoSigner.generate_ed25519()
    signer.public_key.unrecognized_fields[OWNER] = owner
    return signer


def owner_of(key: "Key") -> str:
    """Whose key it is, with the first digits of its id."""
    return harmless(f"{key.unrecognized_fields.get(OWNER, 'somebody')} ({key.keyid[:ID_DIGITS]})")


def file_name(role: str, key: "Key") -> str:
    return f"{role}-{key.keyid[:ID_DIGITS]}{SUFFIX}"


def check_passphrase(passphrase: str) -> str:
    """The passphrase, if it can be one. Raises ReleaseError; its text does not hold the passphrase."""
    if not SHORTEST_PASSPHRASE <= len(passphrase) <= LONGEST_PASSPHRASE or not passphrase.isprintable():
        raise ReleaseError(
            f"a passphrase has {SHORTEST_PASSPHRASE} to {LONGEST_PASSPHRASE} characters in one line; five random words "
            "are a good one"
        )
    return passphrase


def write_encrypted(folder: Path, role: str, signer: "CryptoSigner", passphrase: str) -> Path:
    """Store a maintainer's key. Raises ReleaseError: it is there already, or OpenSSL is not; OSError."""
    return _write(folder / file_name(role, signer.public_key), _encrypted(signer.private_bytes, passphrase))


def write_online(folder: Path, role: str, signer: "CryptoSigner") -> Path:
    """Store an online key. Raises ReleaseError, OSError."""
    return _write(folder / file_name(role, signer.public_key), signer.private_bytes)


def _write(path: Path, content: bytes) -> Path:
    make_folder(path.parent)
    if path.exists():
        raise ReleaseError(f"{path} is there already; a key is never overwritten")
    before = os.umask(0o077)
    try:
        commit_bytes(path, content)
    finally:
        os.umask(before)
    return path


def _encrypted(pem: bytes, passphrase: str) -> bytes:
    reading, writing = os.pipe()
    try:
        os.write(writing, check_passphrase(passphrase).encode() + b"\n")
        os.close(writing)
        command = ["openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-scrypt", "-passout", f"fd:{reading}"]
        done = subprocess.run(command, input=pem, capture_output=True, pass_fds=[reading], check=False)
    except FileNotFoundError as error:
        raise ReleaseError("openssl is not installed, and it encrypts the keys: apt-get install openssl") from error
    finally:
        os.close(reading)
    if done.returncode != 0 or b"BEGIN ENCRYPTED PRIVATE KEY" not in done.stdout:
        raise ReleaseError(f"openssl cannot encrypt the key: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def load(path: Path, public: "Key", passphrase: str | None) -> "CryptoSigner":
    """The signer of a key file.

    Raises:
        ReleaseError: not readable, no key, another key than ``public``, or a wrong passphrase.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner, SSlibKey

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"cannot read the key {path}: {error.strerror}") from error
    try:
        private = load_pem_private_key(content, passphrase.encode() if passphrase is not None else None)
    except TypeError as error:  # encrypted and no passphrase, or the other way round
        raise ReleaseError(f"{path} is {'not ' if passphrase is not None else ''}encrypted") from error
    except ValueError as error:
        if b"ENCRYPTED" in content:
            raise ReleaseError(f"wrong passphrase for {path}") from error
        raise ReleaseError(f"{path} holds no private key (PEM, PKCS#8)") from error
    if not isinstance(private, Ed25519PrivateKey) or not isinstance(public, SSlibKey):
        raise ReleaseError(f"{path} holds no ed25519 key")
    try:
        return CryptoSigner(private, public)
    except Exception as error:
        raise ReleaseError(f"{path} is not the key {owner_of(public)}") from error


@dataclass
class Keyring:
    """The maintainers' keys that are at hand: files, or folders of them (a stick). Passphrases are asked for once."""

    places: tuple[Path, ...]
    ask: AskPassphrase
    _asked: dict[Path, str] = field(default_factory=dict, repr=False)

    def signers(self, wanted: Mapping[str, "Key"]) -> "list[CryptoSigner]":
        """Signers of those of the wanted keys that are at hand. Raises ReleaseError: a file is unfit."""
        found: dict[str, CryptoSigner] = {}
        for place in self.places:
            if not place.exists():
                raise ReleaseError(f"{place} is not there; is the stick in?")
            for key in wanted.values():
                file = self._file(place, key)
                if file is not None and key.keyid not in found:
                    found[key.keyid] = load(file, key, self._passphrase(place))
        return list(found.values())

    def _file(self, place: Path, key: "Key") -> Path | None:
        if place.is_file():
            return place if place.stem.endswith(key.keyid[:ID_DIGITS]) else None
        return next(iter(sorted(place.glob(f"*-{key.keyid[:ID_DIGITS]}{SUFFIX}"))), None)

    def _passphrase(self, place: Path) -> str:
        if place not in self._asked:
            self._asked[place] = self.ask(place)
        return self._asked[place]


def online_signers(folder: Path, role: str, keys: Iterable["Key"]) -> "list[CryptoSigner]":
    """Signers of an online role: every key of it that is in the folder. Raises ReleaseError: there is none."""
    keys = list(keys)
    found = [
        load(path, key, None) for key in keys for path in sorted(folder.glob(f"*-{key.keyid[:ID_DIGITS]}{SUFFIX}"))[:1]
    ]
    if not found:
        names = " or ".join(file_name(role, key) for key in keys)
        raise ReleaseError(
            f"the online key of {role} is not in {folder} ({names}); bring it back, or give the role another with "
            f"`ecosight-trainer release rotate-key {role}`"
        )
    return found
