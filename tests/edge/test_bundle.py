"""A bundle: checked before anything is changed, laid out with the right modes, and never loose with its secrets."""

import json
import stat
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.bundle import BundleError, configuration, install, read, write
from edge.settings import load
from tests.edge.updates.simulated_repository import SimulatedRepository
from trainer.cli import app

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PASSWORD = "correct horse"


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, Any]:
    root = json.loads(SimulatedRepository(tmp_path / "repository").root_file.read_bytes())
    return {
        "ecosight_bundle": 1,
        "site": "no",
        "device": "cedar-3",
        "mqtt": {"host": "broker.example", "port": 8883, "tls": True, "username": "no:cedar-3", "ca_pem": PEM},
        "updates": {"url": "https://updates.example/forest", "channel": "beta", "root": root},
        "storage": {"bucket": "evidence", "endpoint_url": "https://s3.example"},
        "secrets": {"mqtt_password": PASSWORD, "s3_access_key": "AK", "s3_secret_key": "SK"},
    }


def test_the_device_that_comes_of_it_is_the_one_that_was_meant(tmp_path: Path, whole: dict[str, Any]) -> None:
    install(whole, tmp_path / "device")
    settings = load(tmp_path / "device/etc/ecosight/edge.yaml", {})
    assert (settings.site, settings.device) == ("no", "cedar-3"), "a site called no is a name"
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.tls) == ("broker.example", 8883, True)
    assert settings.mqtt.ca_file == Path("/etc/ecosight/broker-ca.pem")
    assert (settings.updates.url, settings.updates.channel) == ("https://updates.example/forest", "beta")
    assert settings.updates.root == Path("/etc/ecosight/root.json")
    assert (settings.storage.kind, settings.storage.s3.bucket) == ("s3", "evidence")
    assert json.loads((tmp_path / "device/etc/ecosight/root.json").read_text()) == whole["updates"]["root"]


def test_secrets_lie_where_systemd_looks_and_are_roots_alone(tmp_path: Path, whole: dict[str, Any]) -> None:
    install(whole, tmp_path)
    store = tmp_path / "etc/credstore"
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    for name, secret in whole["secrets"].items():
        file = store / f"ecosight-edge.{name}"
        assert file.read_text() == secret
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in (tmp_path / "etc/ecosight/edge.yaml").read_text()


def test_a_configuration_that_is_there_stays_and_secrets_are_renewed(tmp_path: Path, whole: dict[str, Any]) -> None:
    install(whole, tmp_path)
    mine = tmp_path / "etc/ecosight/edge.yaml"
    mine.write_text("site: mine\n")
    whole["secrets"]["mqtt_password"] = "another"
    said = "\n".join(install(whole, tmp_path))
    assert mine.read_text() == "site: mine\n"
    assert "kept as it is" in said
    assert "another" not in said
    assert (tmp_path / "etc/credstore/ecosight-edge.mqtt_password").read_text() == "another"


def test_a_small_bundle_is_enough(tmp_path: Path) -> None:
    small = {"ecosight_bundle": 1, "site": "a", "device": "b", "mqtt": {"host": "10.0.0.1"}}
    write(small, tmp_path / "small")
    assert read(tmp_path / "small") == small
    (tmp_path / "edge.yaml").write_text(configuration(small))
    assert load(tmp_path / "edge.yaml", {}).updates.url is None


def change(path: str, value: object) -> Any:
    def changed(bundle: dict[str, Any]) -> None:
        *sections, key = path.split(".")
        for section in sections:
            bundle = bundle[section]
        if value is None:
            del bundle[key]
        else:
            bundle[key] = value

    return changed


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("ecosight_bundle", 2, "reads version 1"),
        ("ecosight_bundle", None, "no bundle"),
        ("site", None, "site is missing"),
        ("site", "a/b", "site = 'a/b'"),
        ("device", "models", "reserved"),
        ("device", "a\nb", "device = "),
        ("mqtt.host", None, "mqtt.host is missing"),
        ("mqtt.host", "a b", "mqtt.host"),
        ("mqtt.port", 99999, "mqtt.port = 99999"),
        ("mqtt.port", True, "mqtt.port = True"),
        ("mqtt.tls", False, "mqtt.tls is false"),
        ("mqtt.ca_pem", "nothing", "mqtt.ca_pem"),
        ("mqtt.ca_pem", PEM + "-----BEGIN PRIVATE KEY-----", "private key"),
        ("mqtt.pasword", "x", "unknown key mqtt.pasword"),
        ("updates.url", "ftp://x", "updates.url"),
        ("updates.url", "https://me:secret@x/", "holds a password"),
        ("updates.channel", "nightly", "stable, beta, canary"),
        ("updates.root", {"signed": {"_type": "targets"}}, "updates.root"),
        ("updates.root.signatures", [], "not signed"),
        ("storage.bucket", None, "storage.bucket"),
        ("secrets.mqtt_password", "", "secrets.mqtt_password"),
        ("secrets.s3_access_key", None, "belong together"),
        ("secrets.root_password", "x", "unknown key secrets.root_password"),
    ],
)
def test_what_is_wrong_with_a_bundle_is_named(
    tmp_path: Path, whole: dict[str, Any], path: str, value: object, said: str
) -> None:
    bad = deepcopy(whole)
    change(path, value)(bad)
    file = tmp_path / "bad"
    file.write_text(json.dumps(bad))
    with pytest.raises(BundleError, match=str(file)) as error:
        read(file)
    assert said in str(error.value)
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"site: a", b"{" + b" " * 3_000_000])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BundleError, match="no bundle"):
        read(tmp_path / "file")


def test_it_runs_with_nothing_but_the_systems_python(tmp_path: Path, whole: dict[str, Any]) -> None:
    write(whole, tmp_path / "bundle")
    script = Path(__file__).resolve().parents[2] / "edge/bundle.py"
    command = [sys.executable, "-I", "-S", str(script), "check", str(tmp_path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no cedar-3\n", "")
    (tmp_path / "bundle").chmod(0o644)
    assert "chmod 600" in subprocess.run(command, capture_output=True, text=True).stderr


def test_a_maintainer_makes_one_that_only_they_can_read(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "repository")
    (tmp_path / "ca.pem").write_text(PEM)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    out = tmp_path / "cedar.bundle"
    command = ["release", "bundle", "--out", out, "--site", "ridge", "--device", "cedar", "--broker", "b.example"]
    command += ["--ca", tmp_path / "ca.pem", "--password-file", tmp_path / "password"]
    command += ["--url", "https://u.example/", "--root", repository.root_file, "--channel", "canary"]
    done = CliRunner().invoke(app, [str(part) for part in command])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    made = read(out)
    assert made["mqtt"]["port"] == 8883
    assert made["secrets"] == {"mqtt_password": PASSWORD}
    again = CliRunner().invoke(app, [str(part) for part in command])
    assert (again.exit_code, "is there already" in again.output) == (1, True)


def test_a_root_whose_signature_does_not_hold_is_refused_before_the_hike(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "repository")
    damaged = tmp_path / "root.json"
    tree = json.loads(repository.root_file.read_bytes())
    tree["signed"]["version"] = 2
    damaged.write_text(json.dumps(tree))
    command = ["release", "bundle", "--out", str(tmp_path / "b"), "--site", "a", "--device", "b", "--broker", "c"]
    done = CliRunner().invoke(app, [*command, "--url", "https://u.example/", "--root", str(damaged)])
    assert done.exit_code == 1
    assert "no signed root of trust" in done.output
    assert not (tmp_path / "b").exists()


def test_what_is_no_certificate_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    command = ["release", "bundle", "--out", str(tmp_path / "b"), "--site", "a", "--device", "b", "--broker", "c"]
    done = CliRunner().invoke(app, [*command, "--ca", str(tmp_path / "ca.crt")])
    assert done.exit_code == 1 and f"{tmp_path / 'ca.crt'} holds no certificate" in done.output
    assert not (tmp_path / "b").exists()
