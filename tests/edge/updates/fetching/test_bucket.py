"""A repository in a bucket of a real S3 server."""

import os
from pathlib import Path

import pytest

from edge.settings import S3Settings
from edge.updates.fetching.s3 import address
from edge.updates.release import Stage
from tests.edge.updates.device import Device
from tests.edge.updates.simulated_repository import SimulatedRepository
from tests.servers.s3 import S3Server

MODEL = os.urandom(200_000)


@pytest.fixture
def in_bucket(tmp_path: Path, repository: SimulatedRepository, s3: S3Server, bucket: str) -> Device:
    """A device whose repository lies below ``forest/releases`` in a bucket."""
    repository.choose("stable", Stage(wanted=repository.add_model(MODEL, "gun-shot", "7", number=7), fraction=1.0))
    repository.publish()
    client = s3.client()
    for path in repository.folder.rglob("*"):
        if path.is_file():
            key = f"forest/releases/{path.relative_to(repository.folder)}"
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    for name in ("access", "secret"):
        (tmp_path / name).write_text(getattr(s3, f"{name}_key"))
    device = Device(tmp_path / "device", f"s3://{bucket}/forest/releases", repository.root_file)
    device.set(
        "storage",
        s3={
            "endpoint_url": s3.endpoint_url,
            "path_style": True,
            "access_key_file": str(tmp_path / "access"),
            "secret_key_file": str(tmp_path / "secret"),
        },
    )
    return device


@pytest.mark.server
def test_a_bucket_is_read_with_ranges(in_bucket: Device) -> None:
    partial = in_bucket.into / "models" / ".gun-shot-7.tflite.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(MODEL[:150_000])
    answer = in_bucket.fetch()
    assert answer.errors == [] and answer.fetched[0].path.read_bytes() == MODEL
    assert answer.fetched[0].bytes_on_the_air == 50_000


@pytest.mark.server
def test_a_wrong_key_is_said(tmp_path: Path, in_bucket: Device) -> None:
    (tmp_path / "secret").write_text("another")
    answer = in_bucket.fetch()
    assert answer.error == "not_found" and "403" in answer.errors[0].text


def test_keys_that_are_not_there_are_asked_for(
    tmp_path: Path, repository: SimulatedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    answer = Device(tmp_path / "device", "s3://bucket", repository.root_file).fetch()
    assert answer.error == "misconfigured" and "storage.s3.access_key_file" in answer.errors[0].text


@pytest.mark.parametrize(
    ("url", "store", "expected"),
    [
        ("s3://forest/a/b/", S3Settings(region="eu-west-1"), "https://forest.s3.eu-west-1.amazonaws.com/a/b"),
        ("s3://forest", S3Settings(endpoint_url="http://minio:9000/", path_style=True), "http://minio:9000/forest"),
        ("s3://forest/x", S3Settings(endpoint_url="https://store.example"), "https://forest.store.example/x"),
        ("s3://forest/x", S3Settings(endpoint_url="http://10.0.0.5:9000"), "http://10.0.0.5:9000/forest/x"),
        ("s3://forest/x", S3Settings(endpoint_url="http://[fd00::5]:9000"), "http://[fd00::5]:9000/forest/x"),
    ],
)
def test_an_s3_address_is_where_the_server_has_it(url: str, store: S3Settings, expected: str) -> None:
    assert address(url, store) == expected
