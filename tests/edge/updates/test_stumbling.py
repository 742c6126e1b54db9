"""Nobody starts the thread of updates again, so nothing may end it: it says that it is not well, and goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.delivery.messages import ModelReport
from edge.detection.choice import Choice
from edge.detection.model import load_bytes
from edge.settings import EdgeSettings
from edge.updates import watching
from edge.updates.model.slots import Slots
from edge.updates.overlay_kind import OverlayKind
from edge.updates.program.kind import ProgramKind
from edge.updates.watching import Updates
from tests.edge.delivery.clip_parts import until
from tests.edge.updates.model.candidates import candidate


class Broker:
    """Takes the retained topics, or fails as a bug would."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = True
        self.said: list[ModelReport] = []

    def publish_retained(self, leaf: str, payload: bytes) -> None:
        self.asked += 1
        if self.fails:
            raise RuntimeError("a bug")
        assert leaf == "model"
        self.said.append(ModelReport.model_validate_json(payload))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(watching, "TURN_S", 0.01)
    monkeypatch.setattr(watching, "RETRY_S", 0.1)
    settings = EdgeSettings.model_validate({"state_dir": str(tmp_path)})
    return SimpleNamespace(
        settings=settings,
        choice=Choice(load_bytes(candidate("1")), tmp_path / "1"),
        mqtt=Broker(),
        detector=SimpleNamespace(shadow=None),
        overlay=OverlayKind(settings, lambda: 0, lambda: (0, 0)),
        program=ProgramKind(settings),
    )


def test_a_report_that_cannot_be_made_is_a_problem_and_the_next_one_goes_out(tmp_path: Path, daemon: Any) -> None:
    updates = Updates(daemon, Slots(tmp_path))
    updates.start()
    try:
        until(lambda: daemon.mqtt.asked > 2, 10, "reports after the first that failed")
        assert updates.problems == ["update:internal"]
        daemon.mqtt.fails = False
        until(lambda: daemon.mqtt.said and not updates.problems, 10, "a report")
        assert daemon.mqtt.said[-1].installed.version == "1"
    finally:
        assert updates.stop(5)


def test_a_step_that_fails_is_a_problem_and_the_model_topic_is_told_all_the_same(tmp_path: Path, daemon: Any) -> None:
    daemon.mqtt.fails = False
    bug: list[Exception] = [RuntimeError("a bug")]

    def turn() -> None:
        for error in bug:
            raise error

    other: Any = SimpleNamespace(kind="overlay", problems=[], busy=False, turn=turn)
    updates = Updates(daemon, Slots(tmp_path), [other])
    updates.start()
    try:
        until(lambda: updates.problems == ["update:internal"] and daemon.mqtt.said, 10, "the problem")
        bug[0] = OSError("no space")
        until(lambda: updates.problems == ["update:disk_full"], 10, "the disk's")
        bug.clear()
        until(lambda: not updates.problems, 10, "its end, without a repository to look at")
    finally:
        assert updates.stop(5)
