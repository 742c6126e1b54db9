"""A real S3 server for tests: OpenStack Swift with its S3 API, on free ports of 127.0.0.1.

Four small servers (account, container, object, proxy) over a temporary folder. It checks signatures, dates and
Content-MD5, and encrypts at rest (so that ``AES256`` is really accepted); it knows no ``x-amz-checksum`` and
keeps no lifecycle rules. ``down()`` kills its front door, ``start()`` opens it again with its contents.

Debian: ``apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object``.
"""

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import missing

ACCESS_KEY = "forest:ranger"
SECRET_KEY = "only-for-tests"  # a real server needs some secret; this one guards a temporary folder
REGION = "us-east-1"

RINGS = ("account", "container", "object")
SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = forest
swift_hash_path_suffix = night
[storage-policy:0]
name = gold
default = yes
"""
BACKEND_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
disable_fallocate = true
workers = 0
log_name = {name}
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY_PIPELINE = (
    "catch_errors gatekeeper cache bulk s3api tempauth slo dlo versioned_writes keymaster encryption proxy-server"
)
PROXY_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {etc}
workers = 0
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{name} = {secret} .admin
[filter:keymaster]
use = egg:swift#keymaster
encryption_root_secret = {root_secret}
[filter:cache]
use = egg:swift#memcache
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
[filter:encryption]
use = egg:swift#encryption
"""


@dataclass
class S3Server:
    """One Swift. ``folder`` holds everything it writes."""

    folder: Path
    port: int = 0
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        etc, devices = self.folder / "etc", self.folder / "devices"
        etc.mkdir(parents=True)
        (devices / "d1").mkdir(parents=True)
        user = _user_name()
        ports = _free_ports(len(RINGS) + 1)
        self.port = ports.pop()
        (etc / "swift.conf").write_text(SWIFT_CONF)
        for name, port in zip(RINGS, ports, strict=True):
            for step in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
                built = subprocess.run(
                    ["swift-ring-builder", f"{name}.builder", *step], cwd=etc, capture_output=True, text=True
                )
                if built.returncode > 1:  # 1 is a warning: one device is a poor ring
                    raise RuntimeError(f"swift-ring-builder {step}: {built.stdout}{built.stderr}")
            values = {"port": port, "user": user, "etc": etc, "devices": devices, "name": name}
            (etc / f"{name}-server.conf").write_text(BACKEND_CONF.format(**values))
        account, name = self.access_key.split(":")
        (etc / "proxy-server.conf").write_text(
            PROXY_CONF.format(
                port=self.port,
                user=user,
                etc=etc,
                pipeline=PROXY_PIPELINE,
                region=self.region,
                account=account,
                name=name,
                secret=self.secret_key,
                root_secret=base64.b64encode(bytes(range(32))).decode(),
            )
        )

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the servers that are not running and wait until all four answer."""
        etc = self.folder / "etc"
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8"}
        for name in {*RINGS, "proxy"} - self._processes.keys():
            log = (self.folder / f"{name}.log").open("ab")
            command = [f"swift-{name}-server", str(etc / f"{name}-server.conf")]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
            log.close()
        self._wait()

    def _wait(self) -> None:
        ports = [self.port, *(int(_value(self.folder / "etc" / f"{n}-server.conf", "bind_port")) for n in RINGS)]
        deadline = time.monotonic() + 200
        for port in ports:
            while True:
                dead = [n for n, p in self._processes.items() if p.poll() is not None]
                if dead or time.monotonic() > deadline:
                    logs = "".join((self.folder / f"{n}.log").read_text()[-2000:] for n in (*RINGS, "proxy"))
                    self.stop()
                    raise RuntimeError(f"Swift did not start ({dead}): {logs}")
                with socket.socket() as probe:
                    probe.settimeout(1)
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)

    def stop(self) -> None:
        """Kill all of it, as a power cut would."""
        self._kill(*self._processes)

    def down(self) -> None:
        """Kill what clients talk to: connections are refused until ``start()``."""
        self._kill("proxy")

    def _kill(self, *names: str) -> None:
        killed = [self._processes.pop(name) for name in names if name in self._processes]
        for process in killed:
            process.kill()
        for process in killed:
            process.wait()

    def client(self) -> Any:
        """A plain botocore S3 client with the right keys."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def keys(self, bucket: str) -> dict[str, int]:
        """Size in bytes of every object of the bucket."""
        return {o["Key"]: o["Size"] for o in self.client().list_objects_v2(Bucket=bucket).get("Contents", [])}


def _user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _value(path: Path, key: str) -> str:
    return next(line.split("=")[1].strip() for line in path.read_text().splitlines() if line.startswith(key))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


@pytest.fixture(scope="session")
def s3_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One running Swift for all tests; use ``s3``, which makes sure that it is up."""
    for program in ("swift-ring-builder", *(f"swift-{name}-server" for name in (*RINGS, "proxy"))):
        if shutil.which(program) is None:
            missing(f"Swift's {program}")
    server = S3Server(tmp_path_factory.mktemp("swift"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_session: S3Server) -> S3Server:
    """A running S3 server; a test may stop it, the next test finds it up again."""
    s3_session.start()
    return s3_session


@pytest.fixture
def s3_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """boto3's own variables lead to ``s3``, and nothing else of this machine does."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_REGION", s3.region)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """The name of a fresh, empty bucket on ``s3``."""
    name = f"clips-{abs(hash(request.node.nodeid)):x}-{time.monotonic_ns():x}"[:40]
    s3.client().create_bucket(Bucket=name)
    return name
