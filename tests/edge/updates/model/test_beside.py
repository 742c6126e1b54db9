"""The model from before listens on in a real child while the new one is on probation."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.audio.frontend import FrontEnd, Window
from edge.detection.model import Scores, load_bytes
from edge.settings import DetectionSettings
from edge.updates.model import beside as module
from edge.updates.model.beside import Beside
from tests.edge.updates.model.candidates import QUIET, candidate
from trainer.synthesis.scene import ambience

RATE = 16_000
FOREST = ambience(10, RATE, np.random.default_rng(7), level=0.001).astype(np.float32)
OF_THE_NEW_ONE = Scores(np.array([0.01, 0.5], np.float32), np.empty(0, np.float32))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    """A model that finds all of this forest too loud."""
    monkeypatch.setattr(module, "AGAIN_S", 0.0)
    (tmp_path / "old.tflite").write_bytes(candidate("1", centre=QUIET, gain=8.0))
    beside = Beside(tmp_path / "old.tflite", DetectionSettings(), RATE)
    yield beside
    beside.stand_aside()


def until(beside: Beside, true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until_s, beside.figures
        beside.turn()
        time.sleep(0.02)


def windows() -> list[Window]:
    return list(FrontEnd(RATE, 0.24).push(0, FOREST))


def hear(beside: Beside) -> int:
    """Ten seconds of forest; how many windows that were."""
    until(beside, lambda: beside._shadow is not None and beside._shadow.checked is not None)
    shadow = beside._shadow
    assert shadow is not None
    heard = windows()
    for window in heard:
        sent = shadow.sent
        while shadow.sent == sent:  # a busy machine may need longer than live sound would give it
            beside.offer(window, OF_THE_NEW_ONE)
            beside.turn()
    return len(heard)


def test_it_tells_what_it_would_have_done_on_the_same_sound(old: Beside, tmp_path: Path) -> None:
    count = hear(old)
    until(old, lambda: old.figures.windows == count)
    model = load_bytes((tmp_path / "old.tflite").read_bytes())
    threshold = model.manifest.decisions["gun_shot"].threshold
    column = model.manifest.labels.index("gun_shot")
    assert old.figures.hits == sum(model.score(window).labels[column] >= threshold for window in windows()) > 0
    assert old.figures.events >= 1


def test_what_it_did_is_kept_while_another_child_works_and_after_its_own_death(old: Beside) -> None:
    count = hear(old)
    until(old, lambda: old.figures.windows == count)
    old.stand_aside()
    assert (old.figures.windows, old._shadow) == (count, None)
    count += hear(old)
    until(old, lambda: old.figures.windows == count)
    assert old._shadow is not None
    os.kill(old._shadow.pid, signal.SIGKILL)
    until(old, lambda: old._shadow is None)
    assert old.figures.windows == count
    count += hear(old)
    until(old, lambda: old.figures.windows == count)


@pytest.mark.parametrize("content", [None, b"nonsense"], ids=["gone", "damaged"])
def test_a_file_that_cannot_be_used_is_given_up_and_harms_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "old.tflite").write_bytes(content)
    beside = Beside(tmp_path / "old.tflite", DetectionSettings(), RATE)
    beside.turn()
    until(beside, lambda: beside._shadow is None)
    beside.offer(windows()[0], OF_THE_NEW_ONE)
    assert beside.figures.windows == 0
    nobody = Beside(None, DetectionSettings(), RATE)
    nobody.turn()
    assert nobody._shadow is None
