"""Recordings that come from a bucket, and a bucket that does not give them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.s3 import S3Server
from tests.trainer.retraining.making import pack, request
from trainer.data.bucket import upload
from trainer.data.objects import BucketError
from trainer.models.log import read
from trainer.models.store import Store
from trainer.retraining.pipeline import retrain
from trainer.retraining.telling import Telling

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("s3_environment")]


def test_a_run_begins_with_the_bucket_and_stops_where_it_denies(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pack(tmp_path / "data", gun_shot=(4, 1), rain=(4, 1), chainsaw=(0, 0), background=(2, 0))
    for path in sorted(data.glob("*/*.wav")):
        target = tmp_path / "here" / "extracted_audio" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    upload(tmp_path / "here", bucket)
    asked = replace(request(tmp_path, tmp_path / "came"), bucket=bucket)
    outcome = retrain(asked, Telling(quiet=True))
    assert outcome.material is not None and len(outcome.material.recordings) == 12
    runs = len(read(tmp_path / "models"))

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(BucketError):
        retrain(asked, Telling(quiet=True))
    assert len(Store(tmp_path / "models").versions()) == 1
    assert len(read(tmp_path / "models")) == runs
