"""No password of an address on a screen, in a log or in a file that leaves the device."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from edge.audio.source import SourceError, open_source
from edge.cli import app
from edge.redaction import without_passwords
from edge.settings import AudioSettings, SettingsError, load


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:secret@camera:554/a: refused", "rtsp://me:…@camera:554/a: refused"),
        ("rtsp://me:se@cr:et@camera/a", "rtsp://me:…@camera/a"),
        ("http://:secret@camera", "http://:…@camera"),
        ("rtsp:/me:secret@camera/a: no such file", "rtsp:/me:…@camera/a: no such file"),
        ("http://camera/live?user=me&password=secret&channel=1", "http://camera/live?user=me&password=…&channel=1"),
        ("rtsp://camera:554/user=me&pwd=secret", "rtsp://camera:554/user=me&pwd=…"),
        ("two: rtsp://a:secret@b and http://c:secret@d/e", "two: rtsp://a:…@b and http://c:…@d/e"),
        ("rtsp://camera:554/a@b:c@d", "rtsp://camera:554/a@b:c@d"),
        ("card:Device", "card:Device"),
        ("/recordings/12:30@ridge.flac", "/recordings/12:30@ridge.flac"),
    ],
)
def test_a_password_in_an_address_is_hidden_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_config_show_hides_the_passwords_of_addresses(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text(
        "audio:\n  source: url\n  location: rtsp://me:secret@camera/a\n"
        "storage:\n  kind: s3\n  s3:\n    bucket: clips\n    endpoint_url: https://me:secret@s3.example.org\n"
    )
    assert load(config).audio.location == "rtsp://me:secret@camera/a"
    result = CliRunner().invoke(app, ["config", "show", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert "secret@" not in result.output
    shown = yaml.safe_load(result.output)
    assert shown["audio"]["location"] == "rtsp://me:…@camera/a"
    assert shown["storage"]["s3"]["endpoint_url"] == "https://me:…@s3.example.org"


def test_a_mistyped_key_does_not_show_the_password_of_its_address(tmp_path: Path) -> None:
    config = tmp_path / "edge.yaml"
    config.write_text("audio:\n  locaton: rtsp://me:secret@camera/a\n")
    with pytest.raises(SettingsError, match=r"unknown key audio\.locaton .value 'rtsp://me:…@camera/a'") as caught:
        load(config)
    assert "secret" not in str(caught.value)


def test_an_address_where_a_file_belongs_is_told_without_it() -> None:
    with pytest.raises(SourceError, match="set source: url") as caught:
        open_source(AudioSettings(source="file", location="rtsp://me:secret@camera/a"))
    assert "secret" not in str(caught.value)
