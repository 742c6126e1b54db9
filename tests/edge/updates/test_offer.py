import datetime as dt
import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from tuf.ngclient import Updater

from edge.updates.offer import KINDS, Failure, Line, Offer, Release, Request
from edge.updates.release import Floor, Stage
from tests.edge.updates.simulated_repository import Served, SimulatedRepository

RELEASE = Release(kind="model", target="models/a-1.tflite", number=1, name="a", version="1", sha256="0" * 64, length=4)


def test_a_line_says_one_thing_and_comes_back_as_it_was() -> None:
    offer = Offer(model=RELEASE, floor=Floor(model=1), checked_at=dt.datetime.now(dt.UTC))
    for line in (Line(offer=offer), Line(error=Failure(code="slow", text="…", retry=True))):
        assert Line.model_validate_json(line.to_json()) == line
        assert "\n" not in line.to_json()
    assert list(json.loads(Line(offer=offer).to_json())) == ["offer"]


@pytest.mark.parametrize("text", ["{}", '{"progress": null}', '{"what": 1}'])
def test_a_line_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Line.model_validate_json(text)


def test_an_offer_tells_of_every_kind() -> None:
    offer = Offer(model=RELEASE, checked_at=dt.datetime.now(dt.UTC))
    assert {kind: offer.of(kind) for kind in KINDS} == {"model": RELEASE, "program": None, "overlay": None}


def test_a_misspelt_request_is_refused() -> None:
    with pytest.raises(ValidationError):
        Request.model_validate({"into": "/tmp/x", "highest_flor": {}})


def test_the_simulated_repository_serves_a_stock_tuf_client(tmp_path: Path) -> None:
    repository = SimulatedRepository(tmp_path / "repository", keys={"models": 3}, thresholds={"models": 2})
    target = repository.add_model(b"content", "gun-shot", "7", number=7)
    repository.choose("stable", model=Stage(wanted=target, fraction=1.0))
    repository.publish()
    repository.rotate("root")
    repository.publish_root()
    (tmp_path / "device").mkdir()
    with Served(repository.folder) as server:
        updater = Updater(
            str(tmp_path / "device"),
            f"{server.url}/metadata/",
            str(tmp_path / "device"),
            f"{server.url}/targets/",
            bootstrap=repository.root_file.read_bytes(),
        )
        info = updater.get_targetinfo(target)
        assert info is not None
        assert Path(updater.download_target(info)).read_bytes() == b"content"
        assert updater.get_targetinfo("rollout/stable.json") is not None
