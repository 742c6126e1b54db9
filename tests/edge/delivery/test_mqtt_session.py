"""What a failed connection is called, and how long the next attempt waits."""

import logging
import socket
import ssl
from pathlib import Path

import pytest

from edge.delivery.mqtt import _backoff_s
from edge.delivery.mqtt_session import explain, new_client
from edge.delivery.problems import Problems
from edge.settings import EdgeSettings, SettingsError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (socket.gaierror(-2, "Name or service not known"), "mqtt:dns"),
        (ConnectionRefusedError(111, "Connection refused"), "mqtt:unreachable"),
        (TimeoutError("timed out"), "mqtt:unreachable"),
        (OSError(101, "Network is unreachable"), "mqtt:unreachable"),
        (ssl.SSLError(1, "wrong version number"), "mqtt:tls"),
        (SettingsError("secret mqtt_password: cannot read"), "mqtt:credentials"),
    ],
)
def test_each_failure_has_its_code(error: Exception, code: str) -> None:
    assert explain(error)[0] == code


@pytest.mark.parametrize(
    ("number", "code"), [(9, "mqtt:tls:not_yet_valid"), (10, "mqtt:tls:expired"), (18, "mqtt:tls:untrusted")]
)
def test_a_certificate_that_a_wrong_clock_refuses_is_named_as_such(number: int, code: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = number, "why"
    found, text = explain(error)
    assert found == code
    assert ("clock" in text) == (number != 18)


def test_a_certificate_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    settings = EdgeSettings.model_validate({"mqtt": {"tls": True, "ca_file": tmp_path / "absent.pem"}})
    with pytest.raises(SettingsError, match=r"absent\.pem"):
        new_client(settings)


def test_the_user_is_site_and_device_where_only_a_password_is_given(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    settings = EdgeSettings.model_validate(
        {"site": "forest", "device": "oak", "mqtt": {"password_file": tmp_path / "password"}}
    )
    client = new_client(settings)
    assert (client.username, client.password) == ("forest:oak", "secret")
    assert new_client(EdgeSettings()).username is None


def test_the_backoff_begins_fast_doubles_and_is_capped_with_jitter() -> None:
    for failures, longest_s in ((1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (10_000, 60.0)):
        waits = [_backoff_s(failures, 60.0) for _ in range(200)]
        assert 0.5 * longest_s <= min(waits) < 0.6 * longest_s
        assert 0.9 * longest_s < max(waits) <= longest_s


def test_a_problem_is_logged_when_it_changes_not_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problems = Problems(logging.getLogger("test"))
    for _ in range(50):
        problems.report("connection", "mqtt:unreachable", "nobody answers")
    problems.report("connection", "mqtt:dns", "no name")
    problems.report("alert", "mqtt:refused:135", "refused")
    assert problems.codes == ["mqtt:dns", "mqtt:refused:135"]
    problems.mended("connection", "connected")
    problems.mended("connection", "connected")
    assert problems.codes == ["mqtt:refused:135"]
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "nobody answers",
        "no name",
        "refused",
        "connected",
    ]
