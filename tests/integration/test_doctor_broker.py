"""The doctor against real brokers, well and ill."""

import datetime as dt
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.settings import EdgeSettings
from edge.upkeep.doctor import checks
from edge.upkeep.doctor.broker import Broker
from edge.upkeep.doctor.examination import Result, examine
from tests.servers.mosquitto import PASSWORD, Certificates, Mosquitto, free_port

pytestmark = pytest.mark.server


OPENSSL_CA = """[ca]
default_ca = forest
[forest]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost,IP:127.0.0.1
"""


def broker_results(settings: EdgeSettings, synchronised: bool = True) -> dict[str, Result]:
    broker = Broker(settings, lambda: synchronised)
    try:
        plan = [check for check in checks(settings, broker) if check.name.startswith("broker")]
        return {result.name.removeprefix("broker: "): result for result in examine(plan)}
    finally:
        broker.close()


def device(**mqtt: Any) -> EdgeSettings:
    return EdgeSettings(site="forest", device="oak", mqtt={"host": "127.0.0.1"} | mqtt)  # type: ignore[arg-type]


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n", encoding="utf-8")
    return file


@pytest.fixture
def tls(guarded_mosquitto: Mosquitto, certificates: Certificates, password: Path) -> dict[str, Any]:
    """What lets ``forest:oak`` in."""
    port = guarded_mosquitto.tls_port
    return {"host": "localhost", "port": port, "tls": True, "ca_file": certificates.ca, "password_file": password}


def states(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.state for name, result in results.items()}


def test_an_open_broker_is_well(mosquitto: Mosquitto) -> None:
    results = broker_results(device(port=mosquitto.port))
    assert states(results) == {"DNS": "ok", "TCP": "ok", "MQTT": "ok", "publish": "ok"}
    assert "nobody listens" in results["publish"].detail


def test_a_guarded_broker_is_well_with_the_right_password(tls: dict[str, Any]) -> None:
    results = broker_results(device(**tls))
    # The fixture's certificates live for two days, which is worth a look.
    assert states(results) == {"DNS": "ok", "TCP": "ok", "TLS": "warn", "MQTT": "ok", "publish": "ok"}
    assert "as forest:oak" in results["MQTT"].detail
    assert "TLSv1.3" in results["TLS"].detail


def test_the_running_daemon_keeps_its_session(mosquitto: Mosquitto) -> None:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    ended = threading.Event()
    ready = threading.Event()
    daemon = paho.Client(CallbackAPIVersion.VERSION2, client_id="ecosight:forest:oak", protocol=paho.MQTTv5)
    daemon.on_connect = lambda *_: ready.set()
    daemon.on_disconnect = lambda *_: ended.set()
    daemon.connect("127.0.0.1", mosquitto.port)
    daemon.loop_start()
    try:
        assert ready.wait(5)
        assert broker_results(device(port=mosquitto.port))["publish"].state == "ok"
        assert not ended.wait(0.3)
    finally:
        daemon.disconnect()
        daemon.loop_stop()


def test_a_wrong_password_is_named_and_nothing_is_published(tls: dict[str, Any], password: Path) -> None:
    password.write_text("wrong")
    results = broker_results(device(**tls))
    assert states(results)["MQTT"] == "fail"
    assert "password" in results["MQTT"].next_step or "user" in results["MQTT"].next_step
    assert "forest:oak" in results["MQTT"].detail
    assert any(code in results["MQTT"].detail for code in ("(134)", "(135)"))
    assert results["publish"].state == "not_tried"


def test_a_password_file_that_is_not_there_is_named(tls: dict[str, Any]) -> None:
    results = broker_results(device(**(tls | {"password_file": Path("/absent/password")})))
    assert results["MQTT"].state == "fail"
    assert "/absent/password" in results["MQTT"].detail


def test_a_refused_topic_is_named_with_its_reason(tls: dict[str, Any]) -> None:
    other = device(**tls, username="forest:oak").model_copy(update={"device": "elm"})
    result = broker_results(other)["publish"]
    assert result.state == "fail"
    assert "ecosight/v1/forest/elm/response" in result.detail
    assert "not authorized (135)" in result.detail
    assert "ACL" in result.next_step


def test_an_untrusted_certificate_is_named(tls: dict[str, Any], certificates: Certificates) -> None:
    results = broker_results(device(**(tls | {"ca_file": certificates.other_ca})))
    assert states(results) == {"DNS": "ok", "TCP": "ok", "TLS": "fail", "MQTT": "not_tried", "publish": "not_tried"}
    assert "not trusted" in results["TLS"].detail
    assert "mqtt.ca_file" in results["TLS"].next_step


def test_a_broken_authority_file_is_named(tls: dict[str, Any], tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    result = broker_results(device(**(tls | {"ca_file": broken})))["TLS"]
    assert result.state == "fail"
    assert str(broken) in result.detail


def test_tls_at_a_port_without_tls_and_the_other_way_round(
    mosquitto: Mosquitto, certificates: Certificates, tls: dict[str, Any]
) -> None:
    results = broker_results(device(host="localhost", port=mosquitto.port, tls=True, ca_file=certificates.ca))
    assert results["TLS"].state == "fail"
    assert "8883" in results["TLS"].next_step
    plain = broker_results(device(port=tls["port"]))
    assert plain["MQTT"].state == "fail"
    assert "mqtt.tls" in plain["MQTT"].next_step


def test_a_missing_client_certificate_is_suggested(guarded_mosquitto: Mosquitto, certificates: Certificates) -> None:
    port = guarded_mosquitto.certificate_port
    results = broker_results(device(host="localhost", port=port, tls=True, ca_file=certificates.ca))
    failed = next(result for result in results.values() if result.state == "fail")
    assert "mqtt.client_certificate_file" in failed.next_step


def test_a_client_certificate_lets_the_device_in(guarded_mosquitto: Mosquitto, certificates: Certificates) -> None:
    certificate, key = certificates.issue("oak", "forest:oak")
    settings = device(
        host="localhost",
        port=guarded_mosquitto.certificate_port,
        tls=True,
        ca_file=certificates.ca,
        client_certificate_file=certificate,
        client_key_file=key,
    )
    results = broker_results(settings)
    assert (results["MQTT"].state, results["publish"].state) == ("ok", "ok"), results


def test_a_closed_port_stops_there() -> None:
    results = broker_results(device(port=free_port()))
    assert states(results) == {"DNS": "ok", "TCP": "fail", "MQTT": "not_tried", "publish": "not_tried"}
    assert "connection refused" in results["TCP"].detail


def test_a_name_that_does_not_exist_stops_there() -> None:
    results = broker_results(device(host="broker.invalid"))
    assert states(results) == {"DNS": "fail", "TCP": "not_tried", "MQTT": "not_tried", "publish": "not_tried"}
    assert "broker.invalid" in results["DNS"].detail


def test_a_port_that_never_answers_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.upkeep.doctor.broker.TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        results = broker_results(device(port=mute.getsockname()[1]))
    assert results["MQTT"].state == "fail"
    assert "no answer" in results["MQTT"].detail


class Dated(Certificates):
    """Certificates whose server certificate is valid between two dates."""

    def __init__(self, folder: Path, start: dt.datetime, until: dt.datetime) -> None:
        super().__init__(folder)
        (folder / "index.txt").write_text("")
        (folder / "index.txt.attr").write_text("unique_subject = no\n")
        (folder / "serial").write_text("01\n")
        configuration = folder / "ca.cnf"
        configuration.write_text(OPENSSL_CA.format(folder=folder))
        command = ["openssl", "ca", "-batch", "-notext", "-config", str(configuration)]
        command += ["-cert", str(self.ca), "-keyfile", str(folder / "ca.key")]
        command += ["-in", str(folder / "server.csr"), "-out", str(self.server)]
        command += ["-startdate", f"{start:%Y%m%d%H%M%SZ}", "-enddate", f"{until:%Y%m%d%H%M%SZ}"]
        subprocess.run(command, check=True, capture_output=True)


def dated_broker(folder: Path, start_days: float, until_days: float) -> Iterator[dict[str, Any]]:
    now = dt.datetime.now(dt.UTC)
    certificates = Dated(
        folder / "certificates", now + dt.timedelta(days=start_days), now + dt.timedelta(days=until_days)
    )
    broker = Mosquitto(folder / "mosquitto", certificates, open=True)
    broker.start()
    yield {"host": "localhost", "port": broker.tls_port, "tls": True, "ca_file": certificates.ca}
    broker.kill()


@pytest.fixture
def broker_of_tomorrow(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """To a device whose clock is right: a certificate of the future. To the certificate: a clock that is behind."""
    yield from dated_broker(tmp_path, 1, 365)


@pytest.fixture
def broker_of_yesterday(tmp_path: Path) -> Iterator[dict[str, Any]]:
    yield from dated_broker(tmp_path, -365, -1)


def test_a_clock_that_is_behind_is_named_as_the_cause(broker_of_tomorrow: dict[str, Any]) -> None:
    result = broker_results(device(**broker_of_tomorrow), synchronised=False)["TLS"]
    assert result.state == "fail"
    assert "wrong clock?" in result.detail
    assert "not yet valid" in result.detail
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    assert f"valid from {tomorrow:%Y-%m-%d}" in result.detail
    assert "clock" in result.next_step


def test_an_expired_certificate_is_the_brokers_fault_only_if_the_clock_is_synchronised(
    broker_of_yesterday: dict[str, Any],
) -> None:
    settings = device(**broker_of_yesterday)
    sure = broker_results(settings, synchronised=True)["TLS"]
    assert sure.state == "fail"
    assert "has expired" in sure.detail
    assert "wrong clock" not in sure.detail
    assert sure.next_step.startswith("renew the broker's certificate")
    unsure = broker_results(settings, synchronised=False)["TLS"]
    assert "wrong clock?" in unsure.detail
