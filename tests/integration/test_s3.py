"""The uploader and the storage against a real S3 server (OpenStack Swift)."""

import hashlib
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.delivery import s3 as s3_module
from edge.delivery import storage as storage_module
from edge.delivery.evidence import description_path
from edge.delivery.s3 import UploaderProcess, job_of
from edge.delivery.uploader import Answer, Connection, Item, Job
from tests.edge.delivery.clip_parts import until
from tests.edge.delivery.yard import Yard
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

CHILD_RSS_LIMIT_KIB = 64 * 1024


def connection(s3: S3Server, to_bucket: str, **changes: Any) -> Connection:
    fields: dict[str, Any] = {
        "bucket": to_bucket,
        "endpoint_url": s3.endpoint_url,
        "region": s3.region,
        "path_style": True,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
        "server_side_encryption": "AES256",
    }
    return Connection(**(fields | changes))


def put(to: Connection, job: Job, **options: Any) -> Answer:
    with UploaderProcess(to, 60, lambda: True, **options) as child:
        return child.put(job)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a1.flac"
    path.write_bytes(os.urandom(300_000))
    description_path(path).write_text("{}")
    return path


def job(path: Path, perhaps_there: bool = False) -> Job:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    key = "forest/oak/2026/05/01/a1.flac"
    return job_of("a1", str(path), str(description_path(path)), key, sha256, perhaps_there)


def test_a_clip_arrives_whole_encrypted_and_with_its_description(s3: S3Server, bucket: str, clip: Path) -> None:
    answer = put(connection(s3, bucket), job(clip))
    assert answer.ok and answer.sent_bytes == 300_002, answer
    client = s3.client()
    there = client.get_object(Bucket=bucket, Key="forest/oak/2026/05/01/a1.flac")
    assert there["Body"].read() == clip.read_bytes()
    assert there["ContentType"] == "audio/flac"
    assert there["Metadata"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    described = client.get_object(Bucket=bucket, Key="forest/oak/2026/05/01/a1.json")
    assert described["Body"].read() == b"{}" and described["ContentType"] == "application/json"


def test_putting_it_again_sends_nothing_and_changes_nothing(s3: S3Server, bucket: str, clip: Path) -> None:
    assert put(connection(s3, bucket), job(clip)).sent_bytes == 300_002
    again = put(connection(s3, bucket), job(clip, perhaps_there=True))
    assert again.ok and again.sent_bytes == 0
    assert s3.keys(bucket) == {"forest/oak/2026/05/01/a1.flac": 300_000, "forest/oak/2026/05/01/a1.json": 2}


def test_something_else_under_the_key_is_replaced(s3: S3Server, bucket: str, clip: Path) -> None:
    s3.client().put_object(Bucket=bucket, Key="forest/oak/2026/05/01/a1.flac", Body=b"half of a clip")
    assert put(connection(s3, bucket), job(clip, perhaps_there=True)).sent_bytes == 300_002
    assert s3.keys(bucket)["forest/oak/2026/05/01/a1.flac"] == 300_000


def test_the_child_stays_small(s3: S3Server, bucket: str, clip: Path) -> None:
    clip.write_bytes(os.urandom(10_000_000))
    answer = put(connection(s3, bucket), job(clip))
    print(f"peak RSS of the uploader: {answer.peak_rss_kib / 1024:.1f} MiB")
    assert answer.ok and answer.peak_rss_kib < CHILD_RSS_LIMIT_KIB, answer.peak_rss_kib


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret_key": "wrong"}, "bad_credentials"),
        ({"access_key": "nobody:here"}, "bad_credentials"),
        ({"bucket": "no-such-bucket"}, "no_such_bucket"),
        ({"server_side_encryption": "aws:kms"}, "encryption"),
        ({"endpoint_url": "http://no-such-host.invalid:80"}, "dns"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "refused"),
        ({"endpoint_url": "not a url"}, "error"),
    ],
    ids=lambda value: str(value),
)
def test_what_is_wrong_with_the_configuration_is_named(
    s3: S3Server, bucket: str, clip: Path, changes: dict[str, str], code: str
) -> None:
    answer = put(connection(s3, bucket, **changes), job(clip))
    assert not answer.ok and answer.fault is not None
    assert answer.fault.code == code, answer.fault
    assert answer.fault.scope == "storage"


def test_without_any_keys_it_says_so(
    s3: S3Server, bucket: str, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    answer = put(connection(s3, bucket, access_key=None, secret_key=None), job(clip))
    assert answer.fault is not None and answer.fault.code == "bad_credentials"


def test_keys_from_the_standard_variables_work(
    s3: S3Server, bucket: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    assert put(connection(s3, bucket, access_key=None, secret_key=None), job(clip)).ok


@pytest.mark.parametrize("days", [-1, 400])
def test_a_wrong_clock_is_named_as_such(s3: S3Server, bucket: str, clip: Path, days: int) -> None:
    # The child's own idea of the time is moved; the server's answer to it is real.
    wrong = (
        "import datetime, sys, botocore.auth as auth, edge.delivery.uploader as uploader\n"
        "now = auth.get_current_datetime\n"
        f"auth.get_current_datetime = lambda *a, **k: now(*a, **k) + datetime.timedelta(days={days})\n"
        "uploader.main(sys.stdin, sys.stdout)\n"
    )
    answer = put(connection(s3, bucket), job(clip), command=[sys.executable, "-c", wrong])
    assert answer.fault is not None and answer.fault.code == "clock", answer.fault
    assert "NTP" in answer.fault.detail


def test_a_clip_damaged_on_disk_is_not_uploaded(s3: S3Server, bucket: str, clip: Path) -> None:
    work = job(clip)
    clip.write_bytes(os.urandom(300_000))
    answer = put(connection(s3, bucket), work)
    assert answer.fault is not None and (answer.fault.code, answer.fault.scope) == ("damaged", "clip")
    assert s3.keys(bucket) == {}


def test_a_missing_file_concerns_only_that_clip(s3: S3Server, bucket: str, clip: Path) -> None:
    with UploaderProcess(connection(s3, bucket), 60, lambda: True) as child:
        gone = child.put(Job("a0", [Item(str(clip) + ".gone", "k.flac", "audio/flac")]))
        assert gone.fault is not None and (gone.fault.code, gone.fault.scope) == ("file_missing", "clip")
        assert child.put(job(clip)).ok


# TLS -----------------------------------------------------------------------------------------------------------


def _certificate(folder: Path, start: str, end: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost that is valid from ``start`` to ``end`` (YYYYMMDDHHMMSSZ)."""
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = c\n[c]\nnew_certs_dir = {folder}\ndatabase = {folder}/index.txt\n"
        f"serial = {folder}/serial\ndefault_md = sha256\npolicy = p\nx509_extensions = x\n[p]\ncommonName = supplied\n"
        "[x]\nsubjectAltName = DNS:localhost\nbasicConstraints = CA:TRUE\n"
    )
    key, request, certificate = folder / "key.pem", folder / "request.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-batch"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(request)], check=True, capture_output=True)
    signed = ["openssl", "ca", "-config", str(folder / "ca.cnf"), "-selfsign", "-batch", "-notext"]
    dates = ["-startdate", start, "-enddate", end]
    subprocess.run(
        [*signed, *dates, "-keyfile", str(key), "-in", str(request), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def tls_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """A TLS endpoint with a certificate of given dates; nobody gets beyond the handshake."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    certificate, key = _certificate(tmp_path, *request.param)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", certificate
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("tls_server", "seen"),
    [
        (("20900101000000Z", "20950101000000Z"), "not yet valid"),
        (("20000101000000Z", "20010101000000Z"), "has expired"),
    ],
    indirect=["tls_server"],
)
def test_a_certificate_out_of_its_time_is_named_as_a_clock_error(
    tls_server: tuple[str, Path], seen: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls_server
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    answer = put(Connection("bucket", url, path_style=True, access_key="a", secret_key="b"), job(clip))
    assert answer.fault is not None and answer.fault.code == "clock", answer.fault
    assert seen in answer.fault.detail and time.strftime("%Y-") in answer.fault.detail


# The whole storage ---------------------------------------------------------------------------------------------


@pytest.fixture
def yard(s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    monkeypatch.setattr(storage_module, "FIRST_RETRY_S", 0.3)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "access").write_text(s3.access_key + "\n")
    (keys / "secret").write_text(s3.secret_key + "\n")
    return Yard(
        tmp_path / "state",
        kind="s3",
        retry_max_s=1.0,
        timeout_s=30,
        s3={
            "bucket": bucket,
            "endpoint_url": s3.endpoint_url,
            "path_style": True,
            "access_key_file": str(keys / "access"),
            "secret_key_file": str(keys / "secret"),
        },
    )


def test_clips_reach_the_bucket_and_their_messages_say_so(s3: S3Server, bucket: str, yard: Yard) -> None:
    for n in range(4):
        yard.add(f"a{n}", size_bytes=50_000)
    yard.add("voice", may_leave=False, state="withheld")
    yard.storage.start()
    until(lambda: yard.storage.waiting == 0, 30, "uploaded")
    yard.stop()
    keys = s3.keys(bucket)
    assert {key for key in keys if key.endswith(".flac")} == {f"forest/oak/2026/05/01/a{n}.flac" for n in range(4)}
    assert len(keys) == 8 and not any("voice" in key for key in keys)
    assert yard.storage.bytes_sent_today == sum(keys.values())
    assert yard.state("voice") == "withheld"


def test_a_storage_that_is_down_for_long_costs_no_clip(s3: S3Server, bucket: str, yard: Yard) -> None:
    s3.down()
    for n in range(3):
        yard.add(f"a{n}")
    yard.storage.start()
    until(lambda: yard.storage.problems == ["storage:refused"], 15, "the storage is down")
    yard.add("later")
    yard.storage.wake()
    time.sleep(2.5)
    assert yard.storage.waiting == 4
    s3.start()
    until(lambda: yard.storage.waiting == 0, 30, "all uploaded")
    yard.stop()
    assert yard.storage.problems == []
    assert len([key for key in s3.keys(bucket) if key.endswith(".flac")]) == 4


def test_killing_the_child_in_the_middle_of_an_upload_costs_nothing_but_time(
    s3: S3Server, bucket: str, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[int] = []
    start = s3_module.UploaderProcess.__init__

    def noted(self: UploaderProcess, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        children.append(self._process.pid)

    monkeypatch.setattr(s3_module.UploaderProcess, "__init__", noted)
    yard.add("big", size_bytes=30_000_000)
    yard.storage.start()
    for kill in range(3):
        child = until(lambda kill=kill: len(children) > kill and children[kill], 15, "a child")
        until(lambda child=child: _has_open(child, "big.flac"), 15, "the clip is on its way")
        time.sleep(0.1 * kill)
        os.kill(child, signal.SIGKILL)
    until(lambda: yard.state("big") == "uploaded", 40, "uploaded in the end")
    yard.stop()
    assert s3.keys(bucket)["forest/oak/2026/05/01/big.flac"] == 30_000_000
    content = s3.client().get_object(Bucket=bucket, Key="forest/oak/2026/05/01/big.flac")["Body"].read()
    assert content == (yard.spool / "big.flac").read_bytes()
    states = [row.payload.count(b'"uploaded"') for row in yard.outbox.pending(100)]
    assert sum(states) == 1


def _has_open(process: int, name: str) -> bool:
    try:
        return any(f.readlink().name == name for f in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def test_a_key_file_that_is_gone_is_bad_credentials_until_it_is_back(yard: Yard, s3: S3Server) -> None:
    secret_file = yard.settings.storage.s3.secret_key_file
    assert secret_file is not None
    secret_file.unlink()
    yard.add("a1")
    yard.storage.start()
    until(lambda: yard.storage.problems == ["storage:bad_credentials"], 10, "named")
    secret_file.write_text(s3.secret_key)
    until(lambda: yard.state("a1") == "uploaded", 20, "uploaded")
    yard.stop()
