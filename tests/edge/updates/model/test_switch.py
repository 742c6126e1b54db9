"""Another model takes over while it listens: no window is missed, and every alert names the model that heard it."""

import json
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.delivery.alerts import AlertDesk, Sender
from edge.delivery.outbox import Outbox
from edge.detection.choice import Choice, default_model
from edge.detection.detector import Detector
from edge.detection.model import load_bytes
from edge.detection.model_file import build, read
from edge.detection.site import Site
from edge.detection.site_rules import VetoRule
from edge.settings import EdgeSettings
from edge.updates.model.switch import Switch
from tests.edge.updates.model.candidates import candidate
from trainer.synthesis.scene import ambience

RATE = 16_000
HOP = round(0.24 * RATE)


class Listening:
    """What the daemon's listening thread does, a tenth of a second at a time."""

    def __init__(self, folder: Path, model: bytes | None = None) -> None:
        self.settings = EdgeSettings.model_validate({"state_dir": str(folder)})
        self.ring, self.clock = Ring(RATE, 20), Clock(RATE)
        self.choice = Choice(load_bytes(model or candidate("1")), folder / "1")
        self.site = Site(self.choice.model, self.settings.detection, folder / "site")
        self.detector = Detector(self.choice.model, self.ring, self.settings.detection)
        self.outbox = Outbox.open(folder / "outbox.sqlite3")
        self.sender = Sender.of(self.settings, self.choice.model.name)
        self.judge: Any = None
        self.clips: Any = SimpleNamespace(request=lambda _: None, extend=lambda *_: None, hear_with=self._hear_with)
        self.desk = AlertDesk(self.sender, self.clock, self.outbox, self.clips, lambda: None)
        self.switch = Switch(self)  # type: ignore[arg-type]
        self.starts: list[int] = []
        self.detector.on_window = lambda start, _: self.starts.append(start)
        self._folder = folder

    def hear(self, sound: NDArray[np.float32]) -> None:
        for k in range(0, len(sound), RATE // 10):
            self.ring.write(sound[k : k + RATE // 10])
            if self.switch.wanted:
                self.switch.turn()
            self.desk.on_events(self.detector.advance(0.0))

    def ask_for(self, content: bytes, at_once: bool = False) -> threading.Thread:
        """The thread of updates asks, and waits."""
        choice = Choice(load_bytes(content), self._folder / "2")
        thread = threading.Thread(target=self.switch.to, args=(choice, at_once))
        thread.start()
        while not self.switch.wanted:
            pass
        return thread

    def told(self) -> list[tuple[str, str]]:
        """Phase and version of the model, of each alert message in order."""
        with sqlite3.connect(self._folder / "outbox.sqlite3") as database:
            rows = database.execute("SELECT payload FROM messages WHERE leaf = 'alert' ORDER BY id").fetchall()
        return [(body["phase"], body["model"]["version"]) for body in (json.loads(row[0]) for row in rows)]

    def _hear_with(self, model: Any) -> None:
        self.judge = model


@pytest.fixture
def listening(tmp_path: Path) -> Listening:
    return Listening(tmp_path)


def forest_with(*shots_s: float, length_s: int) -> NDArray[np.float32]:
    sound = ambience(length_s, RATE, np.random.default_rng(1), level=0.001).astype(np.float32)
    for at_s in shots_s:
        at = round(at_s * RATE)
        sound[at : at + RATE] += 0.4 * np.random.default_rng(2).standard_normal(RATE).astype(np.float32)
    return sound


def test_an_event_is_of_one_model_from_its_first_message_to_its_last_and_no_window_is_missed(
    listening: Listening,
) -> None:
    sound = forest_with(3.0, 14.0, length_s=20)
    listening.hear(sound[: 4 * RATE])
    assert listening.told() == [("new", "1")]
    asked = listening.ask_for(candidate("2"))
    listening.hear(sound[4 * RATE :])
    asked.join(5)
    listening.desk.on_events(listening.detector.finish())
    assert listening.told() == [("new", "1"), ("end", "1"), ("new", "2"), ("end", "2")]
    assert listening.starts == list(range(0, listening.starts[-1] + 1, HOP))
    assert listening.starts[-1] >= 18.5 * RATE
    assert 6 * RATE < (listening.switch.sample or 0) < 14 * RATE


def test_a_model_that_must_go_goes_at_once_and_what_it_had_open_ends_under_its_name(listening: Listening) -> None:
    sound = forest_with(3.0, length_s=10)
    listening.hear(sound[: 4 * RATE])
    asked = listening.ask_for(candidate("2"), at_once=True)
    listening.hear(sound[4 * RATE :])
    asked.join(5)
    assert listening.told()[:2] == [("new", "1"), ("end", "1")]
    assert (listening.switch.sample or 0) <= 4.2 * RATE
    assert listening.starts == list(range(0, listening.starts[-1] + 1, HOP))


def test_clips_drills_and_reports_follow_the_model(listening: Listening) -> None:
    asked = listening.ask_for(candidate("2"))
    listening.hear(forest_with(length_s=2))
    asked.join(5)
    assert listening.judge is listening.choice.model
    assert listening.sender.model.version == listening.desk.sender.model.version == "2"


def test_a_switch_that_nobody_takes_is_given_up_and_cannot_happen_later(listening: Listening) -> None:
    choice = Choice(load_bytes(candidate("2")), Path("2"))
    assert not listening.switch.to(choice, go_on=lambda: False)
    assert not listening.switch.wanted
    listening.switch.turn()
    assert listening.choice.model.name.version == "1"


def test_what_the_model_before_had_learned_of_the_site_is_kept_once_another_listens(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, saved = listening.site, threading.Event()
    monkeypatch.setattr(before, "save", saved.set)
    asked = listening.ask_for(candidate("2"))
    listening.hear(forest_with(length_s=2))
    asked.join(5)
    assert listening.site is not before
    assert saved.is_set()


def that_is_marked(most: int) -> bytes:
    """The model that ships, with a rule for marks."""
    whole = read(default_model())
    decision = whole.manifest.decisions["gun_shot"].model_copy(update={"veto": VetoRule(radius=0.05, most=most)})
    manifest = whole.manifest.model_copy(update={"decisions": {"gun_shot": decision}})
    return build(whole.graph, manifest, whole.golden, whole.card)


def test_a_mark_made_while_another_model_waits_is_not_lost_with_the_model_before(tmp_path: Path) -> None:
    listening = Listening(tmp_path, that_is_marked(most=8))
    before = listening.site.marks
    embeddings = np.eye(4, 512, dtype=np.float32)
    for number, embedding in enumerate(embeddings):
        before.keep(f"a{number}", "gun_shot", 0.9, "now", embedding)
    asked = listening.ask_for(that_is_marked(most=9))
    before.mark("a0", is_false=True)
    listening.hear(forest_with(length_s=2))
    asked.join(5)
    before.mark("a1", is_false=True)  # begun by the sender's thread just before the other model was taken
    now = listening.site.marks
    assert now is not before
    assert [now.near("gun_shot", one) is not None for one in embeddings] == [True, True, False, False]
    assert now.mark("a2", is_false=True).vetoes == 3
    kept = Site(listening.choice.model, listening.settings.detection, tmp_path / "site").marks
    assert [kept.near("gun_shot", one) is not None for one in embeddings] == [True, True, True, False]
