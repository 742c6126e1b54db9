"""Recordings to and from a real S3 server."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.s3 import S3Server
from tests.trainer.data.sounds import folder
from trainer.data import objects
from trainer.data.bucket import bucket_name, download, upload
from trainer.data.objects import BucketError
from trainer.lock import AlreadyRunningError

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("s3_environment")]

REPOSITORY = Path(__file__).resolve().parents[3]


def contents(root: Path) -> dict[str, bytes]:
    top = root / "extracted_audio"
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def put(s3: S3Server, bucket: str, key: str, body: bytes) -> None:
    s3.client().put_object(Bucket=bucket, Key=key, Body=body)


def test_what_was_uploaded_is_downloaded_bit_for_bit_and_only_once(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "here", gun_shot=2, rain=3)
    top = root / "extracted_audio"
    (top / "rain" / "é 漢字 #1+%20.wav").write_bytes(b"no sound, but a name")
    (top / "rain" / "rain_0.json").write_text("{}")
    (top / "rain" / "notes.txt").write_text("stay here")
    sent = upload(root, bucket)
    assert (len(sent.moved), sent.there) == (7, 0)
    assert all(key.startswith("extracted_audio/") for key in s3.keys(bucket))
    assert (upload(root, bucket).moved, upload(top, bucket).there) == ([], 7)
    came = download(tmp_path / "there", bucket)
    assert (len(came.moved), came.moved_bytes) == (7, sent.moved_bytes)
    (top / "rain" / "notes.txt").unlink()
    assert contents(tmp_path / "there") == contents(root)
    again = download(tmp_path / "there", bucket)
    assert (again.moved, again.there, again.only_here) == ([], 7, [])


def test_a_file_that_changed_on_either_side_is_moved_again(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "here", rain=2)
    upload(root, bucket)
    download(tmp_path / "there", bucket)
    path = Path("extracted_audio") / "rain" / "rain_0.wav"
    changed = bytearray((root / path).read_bytes())
    changed[1000] ^= 1
    (root / path).write_bytes(changed)
    assert upload(root, bucket).moved == [str(path)]
    assert download(tmp_path / "there", bucket).moved == [str(path)]
    assert (tmp_path / "there" / path).read_bytes() == bytes(changed)


def test_what_is_only_in_the_folder_stays_and_is_named(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "here", rain=2)
    upload(root, bucket)
    s3.client().delete_object(Bucket=bucket, Key="extracted_audio/rain/rain_0.wav")
    assert [path.name for path in download(root, bucket).only_here] == ["rain_0.wav"]
    assert (root / "extracted_audio" / "rain" / "rain_0.wav").exists()


@pytest.mark.parametrize("key", ["../x.wav", "rain/../../../x.wav", "rain//x.wav", "./x.wav", "rain/.."])
def test_a_key_that_would_leave_the_folder_stops_it_before_anything_is_written(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    put(s3, bucket, "extracted_audio/rain/good.wav", b"good")
    # Clients and servers alike tidy such keys up on their way; whoever made this bucket had others.
    honest = objects.listed

    def listed(client: object, name: str, prefix: str) -> list[objects.Object]:
        return [*honest(client, name, prefix), objects.Object(f"extracted_audio/{key}", 1, "0" * 32)]

    monkeypatch.setattr("trainer.data.bucket.listed", listed)
    with pytest.raises(BucketError, match=r"1 keys that would leave the folder.*remove them"):
        download(tmp_path / "there", bucket)
    assert not (tmp_path / "there").exists()


def test_a_link_in_the_folder_does_not_lead_out_of_it(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, "extracted_audio/rain/a.wav", b"good")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "there" / "extracted_audio").mkdir(parents=True)
    (tmp_path / "there" / "extracted_audio" / "rain").symlink_to(outside)
    with pytest.raises(BucketError, match="would leave the folder"):
        download(tmp_path / "there", bucket)
    assert list(outside.iterdir()) == []


def test_placeholders_of_folders_and_hidden_files_are_no_recordings(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    for key in (
        "extracted_audio/rain/",
        "extracted_audio/rain/.DS_Store",
        "extracted_audio/rain/a.wav",
        "elsewhere/b.wav",
    ):
        put(s3, bucket, key, b"" if key.endswith("/") else b"x")
    download(tmp_path, bucket)
    assert list(contents(tmp_path)) == ["rain/a.wav"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch.*check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "nobody:here", "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "is the server running"),
        ("AWS_ENDPOINT_URL", "not a url", "S3.*[Ii]nvalid endpoint"),
        ("AWS_ACCESS_KEY_ID", "", "credentials.*check AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_bucket_that_denies_is_an_error_and_the_old_data_no_answer(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    root = folder(tmp_path, rain=1)
    monkeypatch.setenv(name, value)
    if not value:
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for move in (upload, download):
        with pytest.raises(BucketError) as caught:
            move(root, bucket)
        assert re.search(said, str(caught.value)), caught.value


def test_no_bucket_no_such_bucket_and_an_empty_one_are_told_apart(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("S3_BUCKET", raising=False)
    with pytest.raises(BucketError, match=r"set S3_BUCKET"):
        bucket_name()
    with pytest.raises(BucketError, match=r"no-such-bucket.*create the bucket"):
        download(tmp_path, "no-such-bucket")
    with pytest.raises(BucketError, match="holds nothing under extracted_audio/"):
        download(tmp_path, bucket)
    with pytest.raises(BucketError, match="is not a folder"):
        upload(tmp_path / "none", bucket)


def test_a_server_that_goes_away_in_the_middle_is_an_error_and_the_next_run_goes_on(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    root = folder(tmp_path / "here", rain=30)
    upload(root, bucket)
    there = tmp_path / "there"

    def tell(what: str, done: int, total: int) -> None:
        if done == 10:
            s3.down()

    with pytest.raises(BucketError, match=r"rain_.*bucket"):
        download(there, bucket, tell)
    arrived = len(contents(there))
    assert 10 <= arrived < 30
    s3.start()
    rest = download(there, bucket)
    assert rest.there >= 10 and rest.there + len(rest.moved) == 30
    assert contents(there) == contents(root)


DOWNLOAD = """
import sys
from pathlib import Path
from trainer.data import bucket, objects
objects.CHUNK_BYTES = 1 << 16
bucket.download(Path(sys.argv[1]), sys.argv[2])
"""


def test_a_large_object_that_was_cut_off_goes_on_where_it_stopped(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    body = os.urandom(48 << 20)
    put(s3, bucket, "extracted_audio/rain/long.wav", body)
    rain = tmp_path / "extracted_audio" / "rain"
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, tmp_path, bucket], cwd=REPOSITORY)
    deadline_s = time.monotonic() + 60
    while not (parts := [part for part in rain.glob(".*.part") if part.stat().st_size > 100_000]):
        assert time.monotonic() < deadline_s and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = parts[0].stat().st_size
    assert have < len(body), "it was over before it could be cut off"
    assert not (rain / "long.wav").exists()
    came = download(tmp_path, bucket)
    assert came.moved_bytes == len(body) - have
    assert (rain / "long.wav").read_bytes() == body
    assert [path.name for path in rain.iterdir()] == ["long.wav"]


def test_a_part_that_is_damaged_is_noticed_and_fetched_again(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    body = os.urandom(100_000)
    put(s3, bucket, "extracted_audio/rain/a.wav", body)
    etag = hashlib.md5(body).hexdigest()
    part = hashlib.sha256(f"extracted_audio/rain/a.wav\n{etag}\n{len(body)}".encode()).hexdigest()[:16]
    rain = tmp_path / "extracted_audio" / "rain"
    rain.mkdir(parents=True)
    (rain / f".{part}.part").write_bytes(bytes(60_000))
    with pytest.raises(BucketError, match="not with the checksum"):
        download(tmp_path, bucket)
    assert list(rain.iterdir()) == []
    assert download(tmp_path, bucket).moved_bytes == len(body)
    assert (rain / "a.wav").read_bytes() == body


def test_an_object_that_others_put_in_parts_is_checked_as_well(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    client, key = s3.client(), "extracted_audio/rain/a.wav"
    pieces = [os.urandom(5 << 20), os.urandom(1000)]
    started = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    etags = [
        client.upload_part(Bucket=bucket, Key=key, UploadId=started, PartNumber=i, Body=piece)["ETag"]
        for i, piece in enumerate(pieces, 1)
    ]
    parts = {"Parts": [{"PartNumber": i, "ETag": etag} for i, etag in enumerate(etags, 1)]}
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=started, MultipartUpload=parts)
    download(tmp_path, bucket)
    assert (tmp_path / key).read_bytes() == b"".join(pieces)
    assert download(tmp_path, bucket).moved == []


def test_two_downloads_into_one_folder_are_told_apart(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, "extracted_audio/rain/long.wav", os.urandom(32 << 20))
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, tmp_path, bucket], cwd=REPOSITORY)
    deadline_s = time.monotonic() + 60
    while not list((tmp_path / "extracted_audio" / "rain").glob(".*.part")):
        assert time.monotonic() < deadline_s and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(AlreadyRunningError, match=rf"process {process.pid}"):
            download(tmp_path, bucket)
    finally:
        process.send_signal(signal.SIGCONT)
        process.wait()


def test_a_full_disk_in_the_middle_is_said_and_nothing_half_has_a_name(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    put(s3, bucket, "extracted_audio/rain/long.wav", os.urandom(2 << 20))
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    own_disk = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_disk, mount], capture_output=True).returncode != 0:
        pytest.skip("may not mount a small disk of its own here")
    script = f'{mount} && "$0" -c "$1" {tmp_path} {bucket}; ls {tmp_path}/extracted_audio/rain'
    done = subprocess.run([*own_disk, script, sys.executable, DOWNLOAD], capture_output=True, text=True, cwd=REPOSITORY)
    assert "No space left" in done.stderr and "make room" in done.stderr, done.stderr
    assert done.stdout == ""
