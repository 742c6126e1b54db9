"""The commands that make what a device is given: wheelhouses, and the bundle that it is installed with."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.release.options import clear_errors, say


def wheelhouse(
    out: Annotated[Path, typer.Argument(help="New folder; one folder of wheels for each machine in it.")],
    machine: Annotated[list[str] | None, typer.Option(help="aarch64 or x86_64; both where not given.")] = None,
    python: Annotated[list[str] | None, typer.Option(help="Python of devices, 3.11 and 3.13 where not given.")] = None,
    wheel: Annotated[Path | None, typer.Option(help="The program's wheel, if it is not to be built.")] = None,
    source: Annotated[Path, typer.Option(help="Checkout with constraints.txt.")] = Path(),
) -> None:
    """Gather the program and all that it needs, for `publish --program`. Needs a network."""
    from trainer.release import ReleaseError
    from trainer.release.wheelhouse import MACHINES, PYTHONS, make

    with clear_errors("wheelhouse"):
        machines = tuple(machine or MACHINES)
        if unknown := set(machines) - set(MACHINES):
            raise ReleaseError(f"--machine {unknown.pop()}: expected {' or '.join(MACHINES)}")
        try:
            pythons = tuple((int(major), int(minor)) for major, minor in (one.split(".") for one in python or []))
        except ValueError as error:
            raise ReleaseError(f"--python {' '.join(python or [])}: expected versions as in 3.11") from error
        made = make(source, out, machines, pythons or PYTHONS, wheel, say)
        for name, folder in made.folders.items():
            for one in pythons or PYTHONS:
                size = made.bytes_for(name, one) / 1e6
                say(f"a new {name} device with Python {one[0]}.{one[1]} downloads {size:.1f} MB")
            typer.echo(folder)


def bundle(
    out: Annotated[Path, typer.Option(help="New file, readable to its owner only: it holds secrets.")],
    site: Annotated[str, typer.Option(help="The forest.")],
    device: Annotated[str, typer.Option(help="The box; unique within the site.")],
    broker: Annotated[str, typer.Option(help="Name or address of the broker.")],
    port: Annotated[int | None, typer.Option(help="8883 with TLS, 1883 without, where not given.")] = None,
    ca: Annotated[Path | None, typer.Option(help="What to check the broker's certificate with; means TLS.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="TLS with the system's certificates.")] = False,
    username: Annotated[str | None, typer.Option(help="Broker user; `site:device` where not given.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="The broker user's password.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the release repository.")] = None,
    root: Annotated[Path | None, typer.Option(help="The repository's root of trust: metadata/N.root.json.")] = None,
    channel: Annotated[str, typer.Option(help="stable, beta or canary.")] = "stable",
    bucket: Annotated[str | None, typer.Option(help="S3 bucket for clips.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Its endpoint, where it is not Amazon's.")] = None,
    access_key_file: Annotated[Path | None, typer.Option(help="S3 access key id.")] = None,
    secret_key_file: Annotated[Path | None, typer.Option(help="S3 secret key.")] = None,
) -> None:
    """Make what `script/install-device --bundle` takes: a device's name, broker, secrets, and whom it trusts."""
    from edge.bundle import CERTIFICATE, VERSION, BundleError, write
    from trainer.release import ReleaseError

    with clear_errors("bundle"):
        encrypted = tls or ca is not None
        mqtt: dict[str, Any] = {"host": broker, "port": port or (8883 if encrypted else 1883), "tls": encrypted}
        if username is not None:
            mqtt["username"] = username
        if ca is not None:
            mqtt["ca_pem"] = _text(ca)
            if CERTIFICATE not in mqtt["ca_pem"]:
                raise ReleaseError(f"{ca} holds no certificate; expected PEM ({CERTIFICATE})")
        made: dict[str, Any] = {"ecosight_bundle": VERSION, "site": site, "device": device, "mqtt": mqtt}
        if (url is None) != (root is None):
            raise ReleaseError("--url and --root belong together: where to look, and whom to trust there")
        if root is not None:
            try:
                trusted = json.loads(_text(root))
            except ValueError as error:
                raise ReleaseError(f"{root} is no root of trust: it is not JSON") from error
            _check_signed(root)
            made["updates"] = {"url": url, "channel": channel, "root": trusted}
        if bucket is not None:
            made["storage"] = {"bucket": bucket, **({"endpoint_url": endpoint} if endpoint else {})}
        files = {"mqtt_password": password_file, "s3_access_key": access_key_file, "s3_secret_key": secret_key_file}
        made["secrets"] = {name: _text(file).rstrip("\r\n") for name, file in files.items() if file is not None}
        try:
            write(made, out)
        except BundleError as error:
            raise ReleaseError(str(error)) from error
        except FileExistsError as error:
            raise ReleaseError(f"{out} is there already; name a new file") from error
        if not made["secrets"]:
            say("it holds no secrets: the device will connect without a password")
        typer.echo(out)


def _text(file: Path) -> str:
    from trainer.release import ReleaseError

    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReleaseError(f"{file} is no text") from error


def _check_signed(root: Path) -> None:
    """A root that does not carry its own signatures would make every update fail on the device, after the hike."""
    from securesystemslib.exceptions import StorageError
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    from trainer.release import ReleaseError

    try:
        metadata: Metadata[Root] = Metadata.from_file(str(root))
        metadata.verify_delegate(Root.type, metadata)
    except (RepositoryError, StorageError, ValueError) as error:
        raise ReleaseError(f"{root} is no signed root of trust: {error}") from error
