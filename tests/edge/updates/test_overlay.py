"""Signed overlays: which settings they change, who may overrule them, what a mute does, and how one goes back."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.delivery.messages import Moment
from edge.delivery.outbox import Outbox
from edge.settings import EdgeSettings
from edge.updates import overlay
from edge.updates.offer import Fetched, Release
from edge.updates.overlay import Held, InvalidOverlayError, Mute, laid_over, with_overlay
from edge.updates.overlay_kind import HEALTHY_S, OverlayKind
from edge.updates.release import Overlay
from tests.edge.delivery.examples import alert as an_alert
from tests.edge.delivery.examples import clip as a_clip

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def settings(state_dir: Path, **more: Any) -> EdgeSettings:
    return EdgeSettings.model_validate({"state_dir": state_dir, "detection": {"hop_s": 0.24}, **more})


def held(number: int = 1, **fields: Any) -> Held:
    said = Overlay.model_validate({"id": f"o{number}", **fields})
    return Held(target=f"overlays/o{number}.json", sha256=f"{number:064x}", overlay=said)


def test_the_overlay_lies_over_the_file_and_under_the_environment(tmp_path: Path) -> None:
    overlay.begin(tmp_path, held(threshold_offset=0.1, hop_s=0.48), 0.0)
    plain = settings(tmp_path)
    laid = laid_over(plain, {})
    assert (laid.detection.threshold_offset, laid.detection.hop_s) == (0.1, 0.48)
    assert laid.detection.merge_s == plain.detection.merge_s
    laid = laid_over(plain, {"ECOSIGHT_DETECTION__HOP_S": "0.24"})
    assert (laid.detection.threshold_offset, laid.detection.hop_s) == (0.1, 0.24)


def test_a_person_on_the_device_may_refuse_overlays(tmp_path: Path) -> None:
    overlay.begin(tmp_path, held(hop_s=0.48, mute_until=NOW + timedelta(hours=1)), 0.0)
    refusing = settings(tmp_path, updates={"overlays": False})
    assert laid_over(refusing, {}) == refusing
    assert Mute(refusing, lambda: moment())() is False


def test_an_overlay_whose_settings_are_not_valid_is_no_overlay(tmp_path: Path) -> None:
    bad = held(hop_s=0.245)
    with pytest.raises(InvalidOverlayError, match=r"o1: detection.*0\.245 is not a multiple"):
        with_overlay(settings(tmp_path), bad.overlay, {})
    overlay.begin(tmp_path, bad, 0.0)
    assert laid_over(settings(tmp_path), {}) == settings(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"phase": "sideways"}'])
def test_a_damaged_state_holds_nothing_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "updates").mkdir()
    (tmp_path / "updates/overlay.json").write_bytes(content)
    assert laid_over(settings(tmp_path), {}) == settings(tmp_path)
    overlay.count_start(tmp_path)


def test_the_fourth_start_on_probation_goes_back_to_what_held_before(tmp_path: Path) -> None:
    overlay.begin(tmp_path, held(1, hop_s=0.48), 0.0)
    overlay.confirm(tmp_path)
    overlay.begin(tmp_path, held(2, hop_s=0.06), 0.0)
    for _ in range(3):
        overlay.count_start(tmp_path)
        assert laid_over(settings(tmp_path), {}).detection.hop_s == 0.06
    overlay.count_start(tmp_path)
    assert laid_over(settings(tmp_path), {}).detection.hop_s == 0.48
    assert overlay.read(tmp_path).why_failed(f"{2:064x}") == "the daemon was started 3 times and did not stay up"
    for _ in range(9):
        overlay.count_start(tmp_path)
    assert laid_over(settings(tmp_path), {}).detection.hop_s == 0.48


# --- in the daemon -----------------------------------------------------------------------------------------------


class Watched:
    """An `OverlayKind` whose clock, alerts and windows the test sets."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.now_s, self.alerts, self.scored, self.skipped, self.reloads = 0.0, 0, 0, 0, 0
        self.start()

    def start(self) -> None:
        self.alerts = self.scored = self.skipped = 0
        self.kind = OverlayKind(
            settings(self.state_dir, updates={"probation_s": 3600}),
            lambda: self.alerts,
            lambda: (self.scored, self.skipped),
            self._reload,
            lambda: self.now_s,
            {},
        )

    def _reload(self) -> None:
        self.reloads += 1

    def offer(self, number: int, **fields: Any) -> None:
        one = held(number, **fields)
        path = self.state_dir / f"o{number}.json"
        path.write_text(one.overlay.model_dump_json())
        release = Release(
            kind="overlay",
            target=one.target,
            number=number,
            name=f"o{number}",
            version="1",
            sha256=one.sha256,
            length=1,
        )
        fetched = Fetched(kind="overlay", target=one.target, path=path, sha256=one.sha256, bytes_on_the_air=1)
        self.kind.offered(release, fetched)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.kind.turn()

    @property
    def hop_s(self) -> float:
        return laid_over(settings(self.state_dir), {}).detection.hop_s


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_good_overlay_holds_at_once_and_is_confirmed_after_its_probation(watched: Watched) -> None:
    watched.offer(1, hop_s=0.48)
    assert (watched.hop_s, watched.reloads, watched.kind.holds) == (0.48, 1, "o1")
    watched.start()  # what the reload does
    watched.pass_time(HEALTHY_S)
    assert watched.kind.state.phase == "probation"
    watched.pass_time(3600)
    assert (watched.kind.state.phase, watched.hop_s) == ("idle", 0.48)
    watched.offer(1, hop_s=0.48)
    assert watched.reloads == 1, "what holds is not obeyed twice"


def test_a_threshold_that_makes_alerts_rain_is_taken_back(watched: Watched) -> None:
    watched.offer(1, threshold_offset=-0.5)
    watched.start()
    watched.alerts = 7
    watched.pass_time(100)
    assert watched.kind.state.held is None
    assert watched.kind.problems == ["overlay:failed"]
    assert "7 alerts within" in watched.kind.state.error
    assert watched.reloads == 2
    watched.offer(1, threshold_offset=-0.5)
    assert watched.kind.state.held is None, "it is not tried again"


def test_a_hop_that_the_board_cannot_keep_up_with_is_taken_back(watched: Watched) -> None:
    watched.offer(1, hop_s=0.06)
    watched.start()
    watched.scored, watched.skipped = 900, 100
    watched.pass_time(100)
    assert (watched.hop_s, watched.reloads) == (0.24, 2)


def test_a_mute_alone_reads_no_configuration_again(watched: Watched) -> None:
    watched.offer(1, mute_until=NOW)
    assert (watched.reloads, watched.kind.holds, watched.kind.muted_until) == (0, "o1", NOW)


def test_an_overlay_without_fields_takes_back_what_another_has_set(watched: Watched) -> None:
    watched.offer(1, hop_s=0.48)
    watched.offer(2)
    assert (watched.hop_s, watched.reloads) == (0.24, 2)


def test_an_overlay_that_makes_no_valid_settings_never_holds(watched: Watched) -> None:
    watched.offer(1, hop_s=0.245)
    assert (watched.reloads, watched.kind.holds) == (0, "")
    assert "multiple" in watched.kind.state.error


def test_a_reload_is_what_a_person_would_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge.updates.overlay_kind import reread

    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    reread()
    assert sent == [(os.getpid(), signal.SIGHUP)]


# --- mute --------------------------------------------------------------------------------------------------------


def moment(synchronised: bool = True, utc: datetime = NOW) -> Moment:
    return Moment(utc=utc, clock_synchronised=synchronised, clock_epoch=1, boot_id="b", boot_s=1.0, sample=0)


def test_a_mute_ends_by_itself_and_needs_a_clock_that_is_set(tmp_path: Path) -> None:
    overlay.begin(tmp_path, held(mute_until=NOW + timedelta(hours=1)), 0.0)
    here = settings(tmp_path)
    assert Mute(here, lambda: moment()).until == NOW + timedelta(hours=1)
    assert not Mute(here, lambda: moment(utc=NOW + timedelta(hours=1)))()
    assert not Mute(here, lambda: moment(synchronised=False))(), "an alert too many is better than one too few"


def test_a_muted_alert_is_kept_with_its_clip_and_nothing_of_it_is_ever_sent(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite3")
    begun = an_alert(muted=True)
    outbox.put_alert(begun)
    outbox.put_clip(a_clip(alert_id=begun.alert_id), path=tmp_path / "c.flac")
    outbox.interrupt_orphans(moment(), "power")
    assert outbox.depth == 0
    kept = outbox.last_alert(begun.alert_id)
    assert kept is not None
    assert (kept.muted, kept.phase) == (True, "interrupted")
    assert outbox.clip(begun.alert_id) is not None
    other = begun.model_copy(update={"alert_id": "other", "muted": False})
    outbox.put_alert(other)
    assert outbox.depth == 1, "and the next one goes out"
    outbox.close()
