"""Where Google's quantised YAMNet comes from: a file that is named, a file at hand, or its official address.

It is not part of this project (Apache-2.0, by Google). Whatever the way, its SHA-256 is checked.
"""

import hashlib
import os
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

YAMNET_URL = "https://storage.googleapis.com/tfhub-lite-models/google/lite-model/yamnet/classification/tflite/1.tflite"
YAMNET_SHA256 = "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de"
YAMNET_SIZE_BYTES = 4_126_810
VARIABLE = "ECOSIGHT_YAMNET"
_TIMEOUT_S = 30


class BackboneError(RuntimeError):
    """No usable file of Google's YAMNet. One line for a person."""


def find_yamnet(
    cache: Path, at_hand: Iterable[Path] = (), environment: Mapping[str, str] | None = None, url: str = YAMNET_URL
) -> Path:
    """The file that ``ECOSIGHT_YAMNET`` names, else the first of ``at_hand`` that exists, else a download to ``cache``.

    Raises:
        BackboneError: the named file is not there, any of them is not Google's file, or the download failed.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise BackboneError(f"{VARIABLE} names {named}, which is no file; unset it or correct it")
        return _checked(Path(named))
    downloaded = cache / "yamnet.tflite"
    for path in (*at_hand, downloaded):
        if path.is_file():
            return _checked(path)
    return _download(url, downloaded)


def _checked(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != YAMNET_SHA256:
        raise BackboneError(f"{path} is not Google's yamnet.tflite (SHA-256 {digest}, expected {YAMNET_SHA256})")
    return path


def _download(url: str, target: Path) -> Path:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the address is ours
            content: bytes = answer.read(YAMNET_SIZE_BYTES + 1)
    except OSError as error:
        raise BackboneError(
            f"no YAMNet model: set {VARIABLE} to Google's yamnet.tflite, or connect to the internet "
            f"so that it can be fetched from {url} ({error})"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != YAMNET_SHA256:
        raise BackboneError(
            f"what {url} gave is not the expected file (SHA-256 {digest}); set {VARIABLE} to a good copy"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.write_bytes(content)
    temporary.replace(target)
    return target
