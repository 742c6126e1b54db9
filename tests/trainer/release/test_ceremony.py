"""The key ceremony: what is made, who may read it, and what is printed about it."""

import hashlib
import re
import stat
from pathlib import Path

import pytest
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata

from tests.trainer.release.making import MAINTAINERS, PASSPHRASE, Device, Releases, begin, run, told
from trainer.release import ReleaseError
from trainer.release.keys import file_name, load, make, write_encrypted

OFFLINE = ("models", "root", "targets")


def test_every_maintainer_gets_three_encrypted_keys_that_nobody_else_reads(held: Releases) -> None:
    for name in MAINTAINERS:
        files = sorted(held.medium(name).iterdir())
        assert [file.name.partition("-")[0] for file in files] == list(OFFLINE)
        for file in files:
            assert b"BEGIN ENCRYPTED PRIVATE KEY" in file.read_bytes()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    online = sorted((held.folder / "online").iterdir())
    assert [file.name.partition("-")[0] for file in online] == ["rollout", "snapshot", "timestamp"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in online)


def test_the_key_file_is_pkcs8_with_scrypt(tmp_path: Path) -> None:
    path = write_encrypted(tmp_path, "root", make("alice"), PASSPHRASE)
    import base64

    der = base64.b64decode("".join(path.read_text().splitlines()[1:-1]))
    assert bytes.fromhex("2b06010401da47040b") in der  # RFC 7914: id-scrypt, 1.3.6.1.4.1.11591.4.11
    assert bytes.fromhex("60864801650304012a") in der  # aes256-CBC-PAD


def test_a_key_comes_back_with_its_passphrase_and_with_no_other(tmp_path: Path) -> None:
    signer, other = make("alice"), make("bob")
    path = write_encrypted(tmp_path, "root", signer, "zwölf Wörter – mit Umlauten")
    public = signer.public_key
    back = load(path, public, "zwölf Wörter – mit Umlauten")
    public.verify_signature(back.sign(b"text"), b"text")
    with pytest.raises(ReleaseError, match="wrong passphrase"):
        load(path, public, "zwölf Wörter - mit Umlauten")
    with pytest.raises(ReleaseError, match="is encrypted"):
        load(path, public, None)
    with pytest.raises(ReleaseError, match="is not the key bob"):
        load(path, other.public_key, "zwölf Wörter – mit Umlauten")
    path.write_text("no key")
    with pytest.raises(ReleaseError, match="no private key"):
        load(path, public, PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "too short", "x" * 501, "a line\nand another"])
def test_a_poor_passphrase_is_refused_before_anything_is_written(tmp_path: Path, passphrase: str) -> None:
    result = run("init", tmp_path / "new", "--maintainer", f"alice={tmp_path / 'stick'}", passphrase=passphrase)
    assert result.exit_code == 1
    assert "a passphrase has 12 to 500 characters" in told(result)
    assert not (tmp_path / "stick").exists() or not list((tmp_path / "stick").iterdir())
    assert not (tmp_path / "new" / "release.yaml").exists()


def test_devices_trust_what_was_made_and_find_nothing_yet(releases: Releases, device: Device) -> None:
    device.look()
    assert device.rollout() is None
    root = Metadata.from_file(str(releases.folder / "root.json")).signed
    assert root.consistent_snapshot
    assert {role: len(one.keyids) for role, one in root.roles.items()} == {
        "root": 3,
        "targets": 3,
        "snapshot": 1,
        "timestamp": 1,
    }
    assert root.roles["root"].threshold == root.roles["targets"].threshold == 2


def test_the_page_names_every_file_every_fingerprint_and_what_theft_means(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "new")
    said = told(
        run(
            *("init", releases.folder, "--threshold", 1, "--site", "forest"),
            *("--maintainer", f"alice={releases.medium('alice')}", "--maintainer", f"bob={releases.medium('bob')}"),
        )
    )
    for file in [*(tmp_path / "new" / "media").rglob("*.pem"), *(tmp_path / "new" / "online").iterdir()]:
        assert str(file) in said
    assert hashlib.sha256((releases.folder / "root.json").read_bytes()).hexdigest() in said
    root = Metadata.from_file(str(releases.folder / "root.json")).signed
    assert all(keyid in said for keyid in root.roles["root"].keyids)
    for words in ("is lost", "is stolen", "updates.url", "release resign", "1 of 2 maintainers sign"):
        assert words in said
    assert re.search(r"sites: \[forest\]", (releases.folder / "release.yaml").read_text())


def test_a_second_ceremony_in_the_same_place_changes_nothing(releases: Releases) -> None:
    before = {path: path.read_bytes() for path in releases.folder.rglob("*.json")}
    result = run("init", releases.folder, "--maintainer", f"mallory={releases.folder / 'stick'}")
    assert result.exit_code == 1
    assert "holds a repository already" in told(result)
    assert {path: path.read_bytes() for path in releases.folder.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--maintainer", "alice"], "expected NAME=FOLDER"),
        (["--maintainer", "a b=x"], "expected NAME=FOLDER"),
        (["--maintainer", "alice=x", "--threshold", "2"], "cannot be met by 1 maintainer"),
        (["--maintainer", "alice=x", "--maintainer", "alice=y"], "a name of their own"),
        (["--maintainer", "alice=x", "--maintainer", "bob=x"], "a medium of their own"),
        (["--maintainer", "online=x"], "a name of their own"),
        (["--maintainer", "alice=x", "--site", "a/b"], "sites"),
    ],
)
def test_a_ceremony_that_cannot_be_held_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init", tmp_path / "new", *arguments)
    assert result.exit_code == 1
    assert expected in told(result)
    assert not list(tmp_path.rglob("*.pem"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    signer = make("alice")
    write_encrypted(tmp_path, "root", signer, PASSPHRASE)
    with pytest.raises(ReleaseError, match="never overwritten"):
        write_encrypted(tmp_path, "root", signer, PASSPHRASE)
    assert isinstance(signer.public_key, SSlibKey)
    assert [file.name for file in tmp_path.iterdir()] == [file_name("root", signer.public_key)]


def test_without_a_keyboard_and_without_a_passphrase_it_says_so(tmp_path: Path) -> None:
    result = run("init", tmp_path / "new", "--maintainer", f"alice={tmp_path / 'stick'}", passphrase=None)
    assert result.exit_code == 1
    assert "--passphrase-file" in told(result)


def test_one_maintainer_alone_is_told_that_no_key_can_be_spared(tmp_path: Path) -> None:
    result = run("init", tmp_path / "new", "--maintainer", f"alice={tmp_path / 'stick'}")
    assert result.exit_code == 0
    assert "No key can be spared" in told(result)


def test_a_ceremony_signs_with_all_it_made(tmp_path: Path) -> None:
    releases = begin(tmp_path / "all", threshold=3)
    for name in ("1.root", "1.targets", "1.models"):
        assert len(Metadata.from_file(str(releases.repository / "metadata" / f"{name}.json")).signatures) == 3
