"""Which rows to send now, and when one is done: ``confirm: broker`` or ``confirm: receipt``.

A receiver that is away must not find its queue at the broker full of repeats, so the wait for a receipt
doubles with every repeat. A topic that the broker refuses is probed with one row at a time.
"""

from dataclasses import dataclass, field

from edge.delivery.messages import Receipt
from edge.delivery.outbox import Outbox, Row
from edge.settings import MqttSettings

LEAVES = ("alert", "clip")
FIRST_PROBE_S = 2.0
LAST_PROBE_S = 60.0
LONGEST_RECEIPT_WAIT_S = 3600.0


@dataclass(slots=True)
class _Gate:
    """A topic that the broker refuses."""

    probe_at_s: float
    wait_s: float
    probe: int | None = None
    """Row that is being tried."""
    refused: set[int] = field(default_factory=set)


class Confirmation:
    """Times are ``time.monotonic()``. Used by the sender's thread alone."""

    def __init__(self, settings: MqttSettings) -> None:
        self._with_receipt = settings.confirm == "receipt"
        self._timeout_s = settings.receipt_timeout_s
        self._waiting: dict[int, tuple[float, int]] = {}  # row id: when to send again, times sent
        self._gates: dict[str, _Gate] = {}

    def due(self, outbox: Outbox, in_flight: list[int], room: int, now_s: float) -> list[Row]:
        """At most ``room`` rows to publish now, alerts first."""
        if room <= 0 or outbox.depth <= len(in_flight):
            return []
        skip = set(in_flight) | {row_id for row_id, (at_s, _) in self._waiting.items() if at_s > now_s}
        rows = outbox.pending(room, skip, [leaf for leaf in LEAVES if leaf not in self._gates])
        for leaf, gate in self._gates.items():
            if now_s >= gate.probe_at_s:
                probe = outbox.pending(1, skip | gate.refused, [leaf])
                if not probe:  # all were tried: from the beginning
                    gate.refused.clear()
                    probe = outbox.pending(1, skip, [leaf])
                rows += probe
                gate.probe = probe[0].id if probe else None
                gate.probe_at_s = now_s + gate.wait_s
        return rows[:room]

    def refused(self, row: Row, now_s: float) -> None:
        """The broker refused a row (reason code 0x80 and above): it stays."""
        gate = self._gates.get(row.leaf)
        if gate is None:
            gate = self._gates[row.leaf] = _Gate(now_s + FIRST_PROBE_S, FIRST_PROBE_S)
        elif row.id == gate.probe:  # not one that was in flight when the first was refused
            gate.wait_s = min(LAST_PROBE_S, gate.wait_s * 2)
            gate.probe_at_s = now_s + gate.wait_s
        gate.refused.add(row.id)

    def taken(self, outbox: Outbox, row: Row, now_s: float) -> None:
        """The broker took a row."""
        self._gates.pop(row.leaf, None)
        if not self._with_receipt:
            outbox.delivered(row.id)
            return
        _, times = self._waiting.get(row.id, (0.0, 0))
        wait_s = min(LONGEST_RECEIPT_WAIT_S, self._timeout_s * 2.0 ** min(times, 12))
        self._waiting[row.id] = (now_s + wait_s, times + 1)

    def receipt(self, outbox: Outbox, receipt: Receipt, now_s: float) -> None:
        """A receiver has committed a message. It is alive, so the others need not wait for long."""
        row_id = outbox.receipt(receipt.alert_id, receipt.seq)
        if row_id is not None:
            self._waiting.pop(row_id, None)
        soon_s = now_s + self._timeout_s
        for other, (at_s, times) in self._waiting.items():
            if at_s > soon_s:
                self._waiting[other] = (soon_s, times)

    def connected(self, session_present: bool) -> None:
        """A new connection: rights may have changed. A broker that has lost our session may have lost what it
        took, so everything is sent again."""
        for gate in self._gates.values():
            gate.probe_at_s, gate.wait_s = 0.0, FIRST_PROBE_S
        if not session_present:
            self._waiting.clear()
