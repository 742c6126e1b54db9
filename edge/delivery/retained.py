"""What the broker keeps for this device: its retained topics, and those that must be taken back.

A retained message stays until it is replaced, whatever becomes of the device. So a note on disk says which topics
this device has filled; what the present settings do not want any more (a place that was removed, Home Assistant
that was switched off, an earlier name) is emptied at the next connection. An empty payload removes a retained
message (MQTT 5, 3.3.1.3).
"""

import json
import logging
import threading
from collections.abc import Iterable
from pathlib import Path

from edge import durable

log = logging.getLogger(__name__)


class Retained:
    """Topics with their payloads. Thread-safe."""

    def __init__(self, note: Path) -> None:
        """``note``: the file that remembers the topics. Where it cannot be used, nothing is taken back."""
        self._note = note
        self._filled = _read(note)
        self._payloads: dict[str, bytes] = {}
        self._waiting: set[str] = set()
        self._emptied: set[str] = set()
        """Sent as empty, and nobody knows yet whether that arrived."""
        self._lock = threading.Lock()

    def put(self, topic: str, payload: bytes) -> None:
        """Publish ``payload`` there, now and after each reconnection."""
        with self._lock:
            self._emptied.discard(topic)
            if self._payloads.get(topic) != payload:
                self._payloads[topic] = payload
                self._waiting.add(topic)

    def keep_only(self, wanted: Iterable[str]) -> None:
        """Empty what was filled once and is not ``wanted`` now."""
        with self._lock:
            for topic in self._filled - set(wanted) - set(self._payloads):
                self._payloads[topic] = b""
                self._waiting.add(topic)

    def again(self) -> None:
        """The connection is new: the broker may have lost everything, or never had what was sent last."""
        with self._lock:
            self._payloads |= dict.fromkeys(self._emptied, b"")
            self._emptied.clear()
            self._waiting = set(self._payloads)

    def take(self) -> list[tuple[str, bytes]]:
        """What is to be published now: first what is emptied, which nobody answers, then what is answered."""
        with self._lock:
            if not self._waiting:
                return []
            due = [(topic, self._payloads[topic]) for topic in sorted(self._waiting)]
            self._waiting.clear()
            emptied = {topic for topic, payload in due if not payload}
            for topic in emptied:
                del self._payloads[topic]
            self._emptied |= emptied
            self._remember(self._filled | {topic for topic, payload in due if payload})
            return sorted(due, key=lambda one: one[1] != b"")

    def arrived(self) -> None:
        """Everything that was published on this connection has been answered: what was emptied is empty."""
        with self._lock:
            if self._emptied:
                self._remember(self._filled - self._emptied)
                self._emptied.clear()

    def _remember(self, filled: set[str]) -> None:
        if filled != self._filled:
            self._filled = filled
            self._write()

    def _write(self) -> None:
        try:
            durable.commit_bytes(self._note, json.dumps(sorted(self._filled)).encode())
        except OSError as error:
            log.debug("%s cannot be written: %s", self._note, error)


def _read(note: Path) -> set[str]:
    try:
        return {str(topic) for topic in json.loads(note.read_bytes())}
    except (OSError, ValueError, TypeError):
        return set()
