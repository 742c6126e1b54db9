"""What a device is told before its first minute, in one file: who it is, its broker, its secrets, and whom it trusts.

    ecosight-trainer release bundle … --out cedar.bundle           # a maintainer makes it
    sudo script/install-device --bundle cedar.bundle               # the installer lays it out

It is JSON, and it holds secrets: mode 0600, and gone from the device once it is installed. Standard library only: the
installer runs this file with the system's own Python, before anything else is there.

    python3 edge/bundle.py check FILE
    python3 edge/bundle.py install FILE ROOT
"""

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
ADDRESS = re.compile(r"(https?|s3|file)://\S+")
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
CHANNELS = ("stable", "beta", "canary")
SECRETS = ("mqtt_password", "s3_access_key", "s3_secret_key")
STORAGE_TEXTS = ("bucket", "endpoint_url", "region")
LARGEST_BYTES = 2_000_000
UNIT = "ecosight-edge"
ROOT_OF_TRUST = Path("etc/ecosight/root.json")
CA = Path("etc/ecosight/broker-ca.pem")
CONFIGURATION = Path("etc/ecosight/edge.yaml")
CREDENTIALS = Path("etc/credstore")
RESERVED = ("models",)
CERTIFICATE = "-----BEGIN CERTIFICATE-----"

Bundle = dict[str, Any]


class BundleError(ValueError):
    """It cannot be used. The text names the file, the key and what is expected."""


def read(file: Path) -> Bundle:
    """A bundle from a file, checked.

    Raises:
        BundleError: it cannot be read, or says something that no device can be.
    """
    try:
        content = file.read_bytes()[: LARGEST_BYTES + 1]
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise BundleError(f"{file} is larger than {LARGEST_BYTES} bytes: it is no bundle")
    try:
        said = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{file} is no bundle: it is not JSON ({error})") from error
    if not isinstance(said, dict) or "ecosight_bundle" not in said:
        raise BundleError(f"{file} is no bundle: make one with `ecosight-trainer release bundle`")
    if said["ecosight_bundle"] != VERSION:
        raise BundleError(
            f"{file}: ecosight_bundle = {said['ecosight_bundle']!r}: this program reads version {VERSION}"
        )
    try:
        check(said)
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from None
    return said


def check(bundle: Bundle) -> None:
    """Raises BundleError for the first thing in it that is wrong."""
    _only(bundle, "", {"ecosight_bundle", "site", "device", "mqtt", "updates", "storage", "secrets"})
    for key in ("site", "device"):
        _matches(bundle.get(key), key, NAME, "letters, digits, '-', '_' or '.', at most 63")
    if bundle["device"] in RESERVED:
        raise BundleError(f"device = {bundle['device']!r}: this name is reserved; choose another")
    mqtt = _section(bundle, "mqtt", {"host", "port", "tls", "username", "ca_pem"})
    _matches(mqtt.get("host"), "mqtt.host", HOST, "the broker's name or address")
    port, tls = mqtt.get("port", 1883), mqtt.get("tls", False)
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65_535:
        raise BundleError(f"mqtt.port = {port!r}: expected a number from 1 to 65535")
    if not isinstance(tls, bool):
        raise BundleError(f"mqtt.tls = {tls!r}: expected true or false")
    if "username" in mqtt:
        _line(mqtt["username"], "mqtt.username")
    if "ca_pem" in mqtt:
        if not tls:
            raise BundleError("mqtt.ca_pem is given, but mqtt.tls is false, so nothing would be encrypted")
        if not isinstance(mqtt["ca_pem"], str) or CERTIFICATE not in mqtt["ca_pem"]:
            raise BundleError(f"mqtt.ca_pem: expected certificates ({CERTIFICATE})")
        if "PRIVATE KEY" in mqtt["ca_pem"]:
            raise BundleError("mqtt.ca_pem holds a private key: only the certificate belongs on a device")
    _check_updates(_section(bundle, "updates", {"url", "channel", "root"}))
    storage = _section(bundle, "storage", {*STORAGE_TEXTS, "path_style"})
    for key in STORAGE_TEXTS:
        if key in storage:
            _line(storage[key], f"storage.{key}")
    if storage and not storage.get("bucket"):
        raise BundleError("storage.bucket is missing: clips need one")
    secrets = _section(bundle, "secrets", set(SECRETS))
    for key, value in secrets.items():
        if not isinstance(value, str) or not value.strip() or "\n" in value or "\0" in value:
            raise BundleError(f"secrets.{key}: expected one line of text")  # and never what it is
    if ("s3_access_key" in secrets) != ("s3_secret_key" in secrets):
        raise BundleError("secrets: s3_access_key and s3_secret_key belong together")


def _check_updates(updates: Bundle) -> None:
    if not updates:
        return
    _matches(
        updates.get("url"), "updates.url", ADDRESS, "an address that begins with https://, http://, s3:// or file://"
    )
    if "@" in updates["url"].partition("://")[2].partition("/")[0]:
        raise BundleError("updates.url holds a password; a repository is public to its devices")
    if updates.get("channel", "stable") not in CHANNELS:
        raise BundleError(f"updates.channel = {updates['channel']!r}: expected {', '.join(CHANNELS)}")
    root = updates.get("root")
    signed = root.get("signed") if isinstance(root, dict) else None
    if not isinstance(root, dict) or not isinstance(signed, dict) or signed.get("_type") != "root":
        raise BundleError("updates.root: expected the repository's root of trust, metadata/1.root.json or a later one")
    if not root.get("signatures") or not {"root", "targets", "snapshot", "timestamp"} <= set(signed.get("roles", {})):
        raise BundleError("updates.root is not signed, or names no keys; take it from `ecosight-trainer release init`")


def _only(section: Bundle, name: str, known: set[str]) -> None:
    for key in section:
        if key not in known:
            path = f"{name}.{key}" if name else key
            raise BundleError(f"unknown key {path}; known are {', '.join(sorted(known))}")


def _section(bundle: Bundle, name: str, known: set[str]) -> Bundle:
    section = bundle.get(name, {})
    if not isinstance(section, dict):
        raise BundleError(f"{name}: expected a section with keys")
    _only(section, name, known)
    return section


def _matches(value: object, key: str, pattern: re.Pattern[str], expected: str) -> None:
    if value is None:
        raise BundleError(f"{key} is missing: expected {expected}")
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BundleError(f"{key} = {value!r}: expected {expected}")


def _line(value: object, key: str) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BundleError(f"{key} = {value!r}: expected one line of text")


def configuration(bundle: Bundle) -> str:
    """The device's configuration file: what the bundle says, and nothing that is a default anyway."""
    mqtt, updates, storage = bundle["mqtt"], bundle.get("updates"), bundle.get("storage")
    # JSON's scalars are YAML's; quoted, so that a site called "no" stays a name.
    quoted = json.dumps
    lines = [
        "# Made from a bundle by script/install-device. configs/edge.yaml in the repository shows every key.",
        f"site: {quoted(bundle['site'])}",
        f"device: {quoted(bundle['device'])}",
        "mqtt:",
    ]
    lines += [f"  {key}: {quoted(mqtt[key])}" for key in ("host", "port", "tls", "username") if key in mqtt]
    if "ca_pem" in mqtt:
        lines.append(f"  ca_file: {quoted('/' + str(CA))}")
    if updates:
        lines += ["updates:", f"  url: {quoted(updates['url'])}"]
        lines += [
            f"  channel: {quoted(updates.get('channel', 'stable'))}",
            f"  root: {quoted('/' + str(ROOT_OF_TRUST))}",
        ]
    if storage:
        lines += ["storage:", "  kind: s3", "  s3:"]
        lines += [f"    {key}: {quoted(storage[key])}" for key in (*STORAGE_TEXTS, "path_style") if key in storage]
    return "\n".join(lines) + "\n"


def install(bundle: Bundle, root: Path) -> list[str]:
    """Lay a bundle out below ``root``; returns what was done, in lines for people.

    Secrets, the broker's certificate and the root of trust are written anew. A configuration that is there stays.
    """
    done = []
    file = root / CONFIGURATION
    text = configuration(bundle)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        _write(file, text, 0o644)
        done.append(f"{file} is new: site {bundle['site']}, device {bundle['device']}")
    elif file.read_text(encoding="utf-8") != text:
        done.append(f"{file} is kept as it is; the bundle would make it:\n{text}")
    if "ca_pem" in bundle["mqtt"]:
        _write(root / CA, bundle["mqtt"]["ca_pem"], 0o644)
        done.append(f"{root / CA} is what the broker's certificate is checked with")
    if bundle.get("updates"):
        _write(root / ROOT_OF_TRUST, json.dumps(bundle["updates"]["root"], indent=1) + "\n", 0o644)
        done.append(f"{root / ROOT_OF_TRUST} is whom this device trusts")
    store = root / CREDENTIALS
    store.mkdir(parents=True, exist_ok=True)
    store.chmod(0o700)
    for name, secret in bundle.get("secrets", {}).items():
        _write(store / f"{UNIT}.{name}", secret, 0o600)
        done.append(f"{store / f'{UNIT}.{name}'} holds a secret")
    return done


def write(bundle: Bundle, file: Path) -> None:
    """A bundle into a new file that only its owner may read.

    Raises:
        BundleError: no device could use it.
        OSError: the file is there already, or the disk.
    """
    check(bundle)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        json.dump(bundle, opened, indent=1)
        opened.write("\n")


def readable_to_others(file: Path) -> bool:
    """Whether somebody besides the owner can read a file."""
    return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _write(file: Path, text: str, mode: int) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fchmod(opened.fileno(), mode)
        os.fsync(opened.fileno())
    fresh.replace(file)


def main(arguments: list[str]) -> int:
    try:
        bundle = read(Path(arguments[1]))
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    if readable_to_others(Path(arguments[1])):
        print(f"NOTE: others can read {arguments[1]}, and it holds secrets: chmod 600", file=sys.stderr)
    if arguments[0] == "install":
        print("\n".join(install(bundle, Path(arguments[2]))))
    else:
        print(f"{bundle['site']} {bundle['device']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
