"""The daemon's part of a new program: it asks, and tells what root says."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.detection.choice import Choice
from edge.detection.model import load_bytes
from edge.settings import EdgeSettings
from edge.updates.model.slots import Slots
from edge.updates.offer import Fetched, Release
from edge.updates.overlay_kind import OverlayKind
from edge.updates.program.kind import REQUEST, ProgramKind
from edge.updates.program.records import Records
from edge.updates.report import Reporter
from tests.edge.updates.model.candidates import candidate

DIGEST = "0" * 64
TARGET = "programs/2.0/x86_64.json"
RELEASE = Release(kind="program", target=TARGET, number=2, name="ecosight", version="2.0", sha256=DIGEST, length=1)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path)
    records.folder.mkdir(parents=True)
    return records


def kind(tmp_path: Path, version: str = "1.0", **updates: object) -> ProgramKind:
    settings = EdgeSettings.model_validate({"state_dir": tmp_path / "state", "updates": updates})
    return ProgramKind(settings, tmp_path, version)


def fetched(tmp_path: Path) -> Fetched:
    return Fetched(kind="program", target=TARGET, path=tmp_path / "x", sha256=DIGEST, bytes_on_the_air=1)


def test_a_program_that_is_here_is_asked_for_once_it_is_whole(tmp_path: Path, records: Records) -> None:
    asking = kind(tmp_path)
    asking.offered(RELEASE, None)
    assert asking.offered_version == "2.0"
    assert not (tmp_path / "state" / REQUEST).exists()
    asking.offered(RELEASE, fetched(tmp_path))
    assert (tmp_path / "state" / REQUEST).exists()


@pytest.mark.parametrize("why", ["runs already", "refused by a person", "no updater here"])
def test_nothing_is_asked_where_nothing_can_come_of_it(tmp_path: Path, records: Records, why: str) -> None:
    if why == "no updater here":
        records.folder.rmdir()
    asking = kind(tmp_path, version="2.0" if why == "runs already" else "1.0", programs=why != "refused by a person")
    asking.offered(RELEASE, fetched(tmp_path))
    assert not (tmp_path / "state" / REQUEST).exists()


def test_what_root_tells_is_told_on(tmp_path: Path, records: Records) -> None:
    asking = kind(tmp_path)
    for state, busy, problems in (("probation", True, []), ("failed", False, ["program:failed"]), ("idle", False, [])):
        records.tell(state, "2.0", "why")  # type: ignore[arg-type]
        asking.turn()
        assert (asking.busy, asking.problems) == (busy, problems)


def test_the_model_topic_says_why_a_program_did_not_stay_until_another_does(tmp_path: Path, records: Records) -> None:
    asking = kind(tmp_path)
    settings = EdgeSettings(state_dir=tmp_path / "state")
    daemon: Any = SimpleNamespace(
        settings=settings,
        choice=Choice(load_bytes(candidate("1")), Path("1")),
        program=asking,
        overlay=OverlayKind(settings, lambda: 0, lambda: (0, 0)),
    )
    trial: Any = SimpleNamespace(progress=None)
    reporter = Reporter(daemon, Slots(settings.state_dir), trial)
    asking.offered(RELEASE, None)
    records.tell("failed", "2.0", "it did not stay up")
    asking.turn()
    said = reporter.report()
    assert (said.program_state, said.program_error, said.program_offered) == ("failed", "it did not stay up", "2.0")
    assert (said.state, said.error) == ("idle", ""), "nothing is wrong with the model"
    records.tell("probation", "2.1")
    asking.turn()
    said = reporter.report()
    assert (said.program_state, said.program_error) == ("probation", "")


def test_a_root_that_says_no_more_does_not_hold_up_other_updates_for_ever(
    tmp_path: Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = kind(tmp_path, probation_s=3600)
    records.tell("installing", "2.0")
    asking.turn()
    assert asking.busy
    monkeypatch.setattr("edge.updates.program.kind.LONGEST", timedelta(hours=-1, seconds=-1))
    assert not asking.busy
