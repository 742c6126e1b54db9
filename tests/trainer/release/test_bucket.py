"""The repository in a real S3 server: the same commands, the same order, and a lock."""

import json
import time
from pathlib import Path

import pytest

from tests.servers.s3 import S3Server
from tests.trainer.release.making import Device, Releases, begin, run, told
from trainer.release import places
from trainer.release.places import Bucket

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("s3_environment")]
PREFIX = "forest/releases"


@pytest.fixture
def in_bucket(bucket: str, tmp_path: Path) -> Releases:
    return begin(tmp_path / "releases", repository=f"s3://{bucket}/{PREFIX}")


def download(s3: S3Server, bucket: str, folder: Path) -> str:
    """What the bucket holds, as files: the address of the folder."""
    for key in s3.keys(bucket):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())
    return str(folder / PREFIX)


def test_a_release_in_a_bucket_reaches_devices(
    in_bucket: Releases, s3: S3Server, bucket: str, models: list[Path], tmp_path: Path
) -> None:
    from tests.edge.updates.simulated_repository import Served

    first = in_bucket.run("publish", models[0], "--fraction", 0.25, *in_bucket.keys("alice"))
    assert first.exit_code == 3
    in_bucket.done("sign", "--yes", *in_bucket.keys("bob"))
    in_bucket.done("resign")
    in_bucket.done("status", "--check")
    with Served(Path(download(s3, bucket, tmp_path / "there"))) as server:
        device = Device((in_bucket.folder / "root.json").read_bytes(), tmp_path / "device", server.url)
        found = device.rollout()
        assert found is not None and found.model is not None
        assert found.model.fraction == 0.25
        assert device.content(found.model.wanted) == models[0].read_bytes()
    assert f"{PREFIX}/pending/lock.json" not in s3.keys(bucket)
    head = s3.client().head_object(Bucket=bucket, Key=f"{PREFIX}/metadata/timestamp.json")
    assert head["ContentType"] == "application/json"


def test_the_timestamp_is_uploaded_last(
    in_bucket: Releases, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    really = Bucket.put

    def put(self: Bucket, name: str, content: bytes) -> None:
        order.append(name)
        really(self, name, content)

    monkeypatch.setattr(Bucket, "put", put)
    in_bucket.done("publish", models[0], *in_bucket.keys("alice", "bob"))
    kinds = [name.partition("/")[0] for name in order if not name.startswith("pending/")]
    assert kinds == sorted(kinds, reverse=True)  # targets, then metadata
    assert order[-1] == "metadata/timestamp.json"
    assert order[-2].endswith(".snapshot.json")


def test_a_lock_keeps_the_second_away_and_an_abandoned_one_does_not(
    in_bucket: Releases, s3: S3Server, bucket: str
) -> None:
    lock = {"what": "release publish", "user": "bob", "host": "oak", "at": time.time() - 5, "token": "x"}
    where = {"Bucket": bucket, "Key": f"{PREFIX}/pending/lock.json"}
    s3.client().put_object(**where, Body=json.dumps(lock).encode())
    held = in_bucket.run("resign")
    assert held.exit_code == 1
    assert "release publish by bob on oak" in told(held)
    s3.client().put_object(**where, Body=json.dumps({**lock, "at": time.time() - 1000}).encode())
    in_bucket.done("resign")


def test_two_who_lock_at_once_do_not_both_go_on(
    in_bucket: Releases, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = {"what": "release widen", "user": "bob", "host": "oak", "at": time.time(), "token": "another"}
    where = {"Bucket": bucket, "Key": f"{PREFIX}/pending/lock.json"}
    monkeypatch.setattr(places.time, "sleep", lambda _: s3.client().put_object(**where, Body=json.dumps(lock).encode()))
    result = in_bucket.run("resign")
    assert result.exit_code == 1
    assert "release widen by bob" in told(result)


def test_a_server_that_is_away_and_a_bucket_that_is_not_there_are_named(
    in_bucket: Releases, s3: S3Server, tmp_path: Path
) -> None:
    result = run("init", tmp_path / "b", "--maintainer", f"a={tmp_path / 'm'}", "--repository", "s3://no-such-bucket/x")
    assert result.exit_code == 1
    assert "bucket" in told(result)
    result = run("init", tmp_path / "c", "--maintainer", f"a={tmp_path / 'n'}", "--repository", "s3://")
    assert result.exit_code == 1
    assert "names no bucket" in told(result)
    s3.down()
    result = in_bucket.run("resign")
    assert result.exit_code == 1
    assert "AWS_ENDPOINT_URL" in told(result)
