"""Events become alerts that are on disk, and their times are mended once the clock is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.audio.clock import Clock
from edge.audio.ring import Ring
from edge.delivery.alerts import AlertDesk, Sender, put_drill
from edge.delivery.clips import ClipRequest
from edge.delivery.messages import Alert, ModelName
from edge.delivery.outbox import Outbox
from edge.detection.event import Event
from edge.detection.vetoes import Near

RATE_HZ = 48_000
YEAR_S = 365.25 * 86_400
SENDER = Sender("forest", "cedar", ModelName(name="test", version="1"), None)


class SetLater:
    """A Pi without a clock of its own: it wakes in 1970-something and is set when the network comes."""

    def __init__(self) -> None:
        self.boot = 100.0
        self.offset_s = 5 * YEAR_S
        self.set = False

    def utc_s(self) -> float:
        return self.boot + self.offset_s

    def boot_s(self) -> float:
        return self.boot

    def synchronised(self) -> bool:
        return self.set

    def boot_id(self) -> str:
        return "boot-1"


class Clips:
    """Remembers what was asked of the clip keeper."""

    def __init__(self) -> None:
        self.requests: list[ClipRequest] = []
        self.extensions: list[tuple[str, int, bool]] = []

    def request(self, request: ClipRequest) -> None:
        self.requests.append(request)

    def extend(self, alert_id: str, last_onset: int, final: Alert | None) -> None:
        self.extensions.append((alert_id, last_onset, final is not None))


def _event(phase: str, number: int = 1, collapsed: tuple[int, int, int] | None = None) -> Event:
    return Event(number, phase, "gun_shot", 0.9, 0.6, 48_000, 60_000, 62_000, 2, -12.0, collapsed)  # type: ignore[arg-type]


def _desk(tmp_path: Path) -> tuple[AlertDesk, Outbox, Clips, SetLater, Clock]:
    time_source = SetLater()
    clock = Clock(RATE_HZ, time_source)
    ring = Ring(RATE_HZ, 10.0)
    ring.write(np.zeros(2 * RATE_HZ, np.float32))
    clock.observe(2 * RATE_HZ, time_source.boot)
    outbox = Outbox.open(tmp_path / "outbox.sqlite3")
    clips = Clips()
    desk = AlertDesk(SENDER, clock, outbox, clips, lambda: None)  # type: ignore[arg-type]
    return desk, outbox, clips, time_source, clock


def _sent(outbox: Outbox) -> list[Alert]:
    return [Alert.model_validate_json(row.payload) for row in outbox.pending(100) if row.leaf == "alert"]


def test_event_is_one_alert_from_new_to_end_with_rising_numbers(tmp_path: Path) -> None:
    desk, outbox, clips, _, _ = _desk(tmp_path)
    desk.on_events([_event("new")])
    assert [a.phase for a in _sent(outbox)] == ["new"]  # on disk when the call returns
    desk.on_events([_event("update"), _event("end")])
    sent = _sent(outbox)
    assert [(a.phase, a.seq) for a in sent] == [("new", 0), ("update", 1), ("end", 2)]
    assert len({a.alert_id for a in sent}) == 1
    assert clips.requests[0].alert.alert_id == sent[0].alert_id
    assert clips.extensions == [(sent[0].alert_id, 60_000, False), (sent[0].alert_id, 60_000, True)]


def test_two_open_events_are_two_alerts(tmp_path: Path) -> None:
    desk, outbox, _, _, _ = _desk(tmp_path)
    desk.on_events([_event("new", 1), _event("new", 2), _event("end", 1), _event("end", 2)])
    assert len({a.alert_id for a in _sent(outbox)}) == 2
    assert desk.alerts == 2


def test_alert_from_before_the_first_synchronisation_is_said_again_with_the_right_time(tmp_path: Path) -> None:
    desk, outbox, _, time_source, clock = _desk(tmp_path)
    desk.on_events([_event("new", collapsed=(7, 48_000, 60_000)), _event("end", collapsed=(7, 48_000, 60_000))])
    before = _sent(outbox)[-1]
    assert not before.onset.clock_synchronised
    time_source.boot += 60
    time_source.offset_s += 51 * YEAR_S
    time_source.set = True
    assert clock.poll()
    assert desk.correct_times() == 1
    after = _sent(outbox)[-1]
    assert after.clock_corrected
    assert after.phase == "end"
    assert after.seq == before.seq + 1
    assert after.onset.clock_synchronised
    assert after.onset.clock_epoch > before.onset.clock_epoch
    assert after.onset.boot_s == before.onset.boot_s
    moved_s = (after.onset.utc - before.onset.utc).total_seconds()
    assert abs(moved_s - 51 * YEAR_S) < 1e-3
    assert after.collapsed is not None and before.collapsed is not None
    assert (after.collapsed.last.utc - before.collapsed.last.utc).total_seconds() == moved_s
    assert desk.correct_times() == 0  # once is enough


def test_drill_is_a_complete_alert_that_says_test(tmp_path: Path) -> None:
    _, outbox, _, _, clock = _desk(tmp_path)
    put_drill(SENDER, clock, outbox)
    sent = _sent(outbox)
    assert [a.phase for a in sent] == ["new", "end"]
    assert all(a.test for a in sent)


def test_a_vetoed_event_is_counted_and_told_of_and_is_no_alert(tmp_path: Path) -> None:
    desk, outbox, clips, _, _ = _desk(tmp_path)
    desk.on_events([replace(_event("vetoed", 0), veto=Near("marked", 0.03))])
    assert (desk.vetoed, desk.alerts, _sent(outbox), clips.requests) == (1, 0, [], [])
    told = desk.newest_veto
    assert told is not None and (told.marked, told.distance, told.at.sample) == ("marked", 0.03, 48_000)


def test_the_embedding_of_each_new_alert_is_kept_once(tmp_path: Path) -> None:
    _, outbox, clips, _, clock = _desk(tmp_path)
    kept: list[tuple[str, object]] = []
    embedding = np.ones(4, np.float32)
    desk = AlertDesk(SENDER, clock, outbox, clips, lambda: None, lambda *one: kept.append((one[0], one[-1])))  # type: ignore[arg-type]
    desk.on_events([replace(_event(phase), embedding=embedding) for phase in ("new", "update", "end")])
    assert kept == [(_sent(outbox)[0].alert_id, embedding)]


def test_an_event_is_muted_from_its_beginning_to_its_end_or_not_at_all(tmp_path: Path) -> None:
    _, outbox, clips, _, clock = _desk(tmp_path)
    muted = True
    desk = AlertDesk(SENDER, clock, outbox, clips, lambda: None, muted=lambda: muted)  # type: ignore[arg-type]
    desk.on_events([_event("new")])
    muted = False
    desk.on_events([_event("update"), _event("end")])
    assert (_sent(outbox), len(clips.requests), desk.alerts, desk.alerts_muted) == ([], 1, 1, 1)
    desk.on_events([_event("new", 2)])
    muted = True
    desk.on_events([_event("end", 2)])
    assert [alert.phase for alert in _sent(outbox)] == ["new", "end"]
    assert desk.alerts_muted == 1
