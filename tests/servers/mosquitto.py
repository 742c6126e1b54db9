"""A private, real Mosquitto with the very configuration that ``docs/how-to/mosquitto`` shows.

Only paths and ports differ. Three listeners: ``port`` (this machine), ``tls_port`` (password), ``certificate_port``.
"""

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import missing

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "mosquitto"
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
ADMIN_PASSWORD = "admin-of-the-test-broker"
PASSWORD = "pässword with spaces"
"""Of every device and receiver that the fixture makes, where no other is given."""


def program(name: str) -> str:
    """Where a program is; missing ones end the test loudly."""
    return shutil.which(name, path=PLACES) or missing(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Certificates:
    """A certificate authority of our own, a server certificate for localhost, and client certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = self._authority("ca")
        self.other_ca = self._authority("other-ca")
        self.server, self.server_key = self.issue("server", "localhost")
        self.expired, self.expired_key = self.issue("expired", "localhost", days=-1)

    def issue(self, name: str, common_name: str, days: int = 2, authority: str = "ca") -> tuple[Path, Path]:
        """A certificate and its key."""
        key, request, certificate = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        self._openssl("req", "-new", *self._new_key(key), "-out", request, "-subj", f"/CN={common_name}")
        names = self.folder / f"{name}.ext"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signer = self.folder / authority
        self._openssl(
            *("x509", "-req", "-in", request, "-out", certificate, "-days", days, "-extfile", names),
            *("-CA", f"{signer}.crt", "-CAkey", f"{signer}.key", "-CAcreateserial"),
        )
        return certificate, key

    def _authority(self, name: str) -> Path:
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        self._openssl("req", "-x509", *self._new_key(key), "-out", certificate, "-days", 2, "-subj", f"/CN={name}")
        return certificate

    def _new_key(self, key: Path) -> tuple[str | Path, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key

    def _openssl(self, *arguments: object) -> None:
        subprocess.run([program("openssl"), *map(str, arguments)], check=True, capture_output=True)


class Mosquitto:
    """One broker. ``open`` lets everybody in and do everything: for tests that are about something else.
    ``more`` are further lines of configuration."""

    def __init__(
        self,
        folder: Path,
        certificates: Certificates | None = None,
        open: bool = False,  # noqa: A002
        more: str = "",
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port, self.certificate_port = free_port(), free_port(), free_port()
        self.log = folder / "mosquitto.log"
        self._binary = program("mosquitto")
        self._process: subprocess.Popen[bytes] | None = None
        self._tls = certificates is not None
        configuration = (HOW_TO / "mosquitto.conf").read_text()
        if open:
            configuration = re.sub(r"(?m)^(plugin|plugin_opt_\w+) .*$", "", configuration)
            configuration = configuration.replace("allow_anonymous false", "allow_anonymous true")
        else:
            self._prepare_security()
        configuration = re.sub(r"(?m)^plugin .*", lambda _: f"plugin {_plugin()}", configuration)
        configuration = configuration.replace("/var/lib/mosquitto/", f"{folder}/")
        configuration = configuration.replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        if certificates is None:
            configuration = configuration[: configuration.index("# Devices and receivers with a password")]
        else:
            configuration = configuration.replace("/etc/mosquitto/certs", str(certificates.folder))
            configuration = configuration.replace("listener 8883", f"listener {self.tls_port} 127.0.0.1")
            configuration = configuration.replace("listener 8884", f"listener {self.certificate_port} 127.0.0.1")
        self.configuration = folder / "mosquitto.conf"
        # Started as root, Mosquitto would become another user who cannot read the test's folder.
        extra = "user root\n" if os.geteuid() == 0 else ""
        self.configuration.write_text(f"{configuration}\n{extra}{more}\nlog_dest file {self.log}\nlog_type all\n")

    def start(self) -> None:
        """Start, and return once it takes connections."""
        assert self._process is None
        self._process = subprocess.Popen(
            [self._binary, "-c", self.configuration], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                text = self._process.stderr.read().decode()
                raise RuntimeError(f"mosquitto ended: {text} {self.log.read_text() if self.log.exists() else ''}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("mosquitto does not take connections")

    def stop(self) -> None:
        """SIGTERM: it writes its persistence file."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what it has not written is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def reload(self) -> None:
        """SIGHUP: it reads its configuration and ACL again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def add_device(self, site: str, device: str, password: str = PASSWORD) -> None:
        """The user ``site:device``, by the script of the how-to."""
        self._run(HOW_TO / "add-device", site, device, password)

    def add_receiver(self, site: str, name: str, password: str = PASSWORD, commands: bool = True) -> None:
        self._run(HOW_TO / "add-receiver", site, name, password, *(["commands"] if commands else []))

    def add_maintainer(self, name: str, password: str = PASSWORD) -> None:
        self._run(HOW_TO / "add-maintainer", name, password)

    def dynsec(self, *arguments: str) -> None:
        """``mosquitto_ctrl dynsec …`` as the administrator."""
        self._run(program("mosquitto_ctrl"), "dynsec", *arguments)

    def _prepare_security(self) -> None:
        store = self.folder / "dynamic-security.json"
        ctrl = program("mosquitto_ctrl")
        subprocess.run([ctrl, "dynsec", "init", store, "admin", ADMIN_PASSWORD], check=True, capture_output=True)
        options = self.folder / "config"
        options.mkdir(exist_ok=True)
        text = f"-h 127.0.0.1\n-p {self.port}\n-u admin\n-P {ADMIN_PASSWORD}\n"
        (options / "mosquitto_ctrl").write_text(text)

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": PLACES, "XDG_CONFIG_HOME": str(self.folder / "config")},
        )
        # mosquitto_ctrl exits 0 on errors, and always warns that there is no TLS.
        said = re.sub(r"(?m)^(Warning: You are running|This means all of).*$", "", done.stderr).strip()
        if done.returncode != 0 or said:
            raise RuntimeError(f"{command}: {done.stdout} {done.stderr}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(10)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None


@functools.cache
def _plugin() -> Path:
    places = [
        Path("/usr/lib"),
        *Path("/usr/lib").glob("*-linux-gnu*"),
        Path("/usr/local/lib"),
        Path("/opt/homebrew/lib"),
    ]
    found = [file for place in places if (file := place / "mosquitto_dynamic_security.so").exists()]
    return found[0] if found else missing("mosquitto_dynamic_security.so")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker where everybody may do everything."""
    broker = Mosquitto(tmp_path / "mosquitto", open=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def guarded_mosquitto(tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    """A running broker as in the how-to: TLS, the device ``forest:oak``, the receiver ``hub``."""
    broker = Mosquitto(tmp_path / "mosquitto", certificates)
    broker.start()
    broker.add_device("forest", "oak")
    broker.add_receiver("forest", "hub")
    yield broker
    broker.kill()
