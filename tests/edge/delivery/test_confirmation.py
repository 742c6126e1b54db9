"""Which rows are sent when, with and without receipts, and while a topic is refused."""

from pathlib import Path

import pytest

from edge.delivery.confirmation import FIRST_PROBE_S, LAST_PROBE_S, Confirmation
from edge.delivery.messages import Receipt
from edge.delivery.outbox import Outbox
from edge.settings import MqttSettings
from tests.edge.delivery.examples import alert, clip


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    box = Outbox.open(tmp_path / "outbox.sqlite3")
    for number in range(4):
        box.put_alert(alert(f"a{number}"))
    box.put_clip(clip("a0"))
    return box


def due(confirmation: Confirmation, outbox: Outbox, now_s: float, room: int = 20) -> list[str]:
    return [f"{row.leaf} {row.alert_id}" for row in confirmation.due(outbox, [], room, now_s)]


def test_what_the_broker_took_is_done_without_receipts(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings())
    for row in confirmation.due(outbox, [], 20, 0.0):
        confirmation.taken(outbox, row, 0.0)
    assert outbox.depth == 0


def test_what_is_in_flight_is_not_sent_again_and_the_window_is_kept(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings())
    first = confirmation.due(outbox, [], 2, 0.0)
    assert [row.alert_id for row in confirmation.due(outbox, [row.id for row in first], 1, 0.0)] == ["a2"]
    assert confirmation.due(outbox, [], 0, 0.0) == []


def test_the_wait_for_a_receipt_doubles(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings(confirm="receipt", receipt_timeout_s=10))
    now_s, waits = 0.0, []
    for _ in range(5):
        for row in confirmation.due(outbox, [], 20, now_s):
            confirmation.taken(outbox, row, now_s)
        sent_s = now_s
        while not due(confirmation, outbox, now_s):
            now_s += 1.0
        waits.append(now_s - sent_s)
    assert waits == [10, 20, 40, 80, 160]
    assert outbox.depth == 5


def test_a_receipt_shows_that_the_receiver_lives_so_the_others_wait_less(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings(confirm="receipt", receipt_timeout_s=10))
    now_s = 0.0
    for _ in range(8):
        for row in confirmation.due(outbox, [], 20, now_s):
            confirmation.taken(outbox, row, now_s)
        now_s += 10.0 * 2**8
    for row in confirmation.due(outbox, [], 20, now_s):
        confirmation.taken(outbox, row, now_s)
    assert due(confirmation, outbox, now_s + 11) == []
    confirmation.receipt(outbox, Receipt(alert_id="a1", seq=0), now_s)
    assert due(confirmation, outbox, now_s + 11) == ["alert a0", "alert a2", "alert a3", "clip a0"]


def test_a_broker_that_forgot_the_session_gets_everything_again(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings(confirm="receipt"))
    for row in confirmation.due(outbox, [], 20, 0.0):
        confirmation.taken(outbox, row, 0.0)
    confirmation.connected(session_present=True)
    assert due(confirmation, outbox, 1.0) == []
    confirmation.connected(session_present=False)
    assert len(due(confirmation, outbox, 1.0)) == 5


def test_a_refused_topic_is_probed_one_row_at_a_time_ever_more_slowly_and_others_go_on(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings())
    rows = [row for row in confirmation.due(outbox, [], 20, 0.0) if row.leaf == "alert"]
    for row in rows:  # all four were in flight
        confirmation.refused(row, 0.0)
    assert due(confirmation, outbox, 0.1) == ["clip a0"]
    for row in outbox.pending(9, leaves=["clip"]):
        confirmation.taken(outbox, row, 0.1)
    now_s, last_s, waits, probed = 0.0, 0.0, [], []
    while len(waits) < 8:
        if rows := confirmation.due(outbox, [], 20, now_s):
            assert len(rows) == 1
            waits.append(now_s - last_s)
            probed.append(rows[0].alert_id)
            last_s = now_s
            confirmation.refused(rows[0], now_s)
        now_s += 1.0
    assert waits == [FIRST_PROBE_S, 4, 8, 16, 32, LAST_PROBE_S, LAST_PROBE_S, LAST_PROBE_S]
    assert set(probed) == {"a0", "a1", "a2", "a3"}, "one bad row does not stand in the way of the others"


def test_a_probe_that_is_taken_opens_the_topic_again(outbox: Outbox) -> None:
    confirmation = Confirmation(MqttSettings())
    confirmation.refused(outbox.pending(1)[0], 0.0)
    (probe, _) = confirmation.due(outbox, [], 20, FIRST_PROBE_S)[::-1]
    confirmation.taken(outbox, probe, FIRST_PROBE_S)
    assert len(due(confirmation, outbox, FIRST_PROBE_S)) == 4
