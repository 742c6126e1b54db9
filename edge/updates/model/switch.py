"""Puts another model in the place of the one that listens, without a pause in listening.

The thread of updates has loaded it; the listening thread takes it between two windows (``turn``). It waits for a
moment in which no event is open, so that an event is of one model from its first message to its last; where that
does not come, or a broken model must go, what is open is ended under the name of the model that heard it.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.delivery.alerts import Sender
from edge.detection.choice import Choice
from edge.detection.site import Site

if TYPE_CHECKING:
    from edge.daemon import Daemon

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""Of sound: longer than `detection.max_event_s` in its default. After that open events are ended."""
TIMEOUT_S = 120.0
LOOK_S = 0.5


class Switch:
    """One for a daemon; one change at a time."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._taken = threading.Event()
        self._next: tuple[Choice, Site] | None = None
        self._until = 0
        self.wanted = False
        """Another model waits to be taken. Looked at by the listening thread once in each of its turns."""
        self.sample: int | None = None
        """Index up to which the sound had been read when the last model was taken."""

    def to(self, choice: Choice, at_once: bool = False, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Ask for ``choice`` and wait until it listens. False: it was not taken, because ``go_on`` said no more or
        nobody listens."""
        daemon = self._daemon
        patience = 0 if at_once else round(PATIENCE_S * daemon.ring.sample_rate_hz)
        self._until = daemon.detector.position + patience
        before = daemon.site
        site = Site(choice.model, daemon.settings.detection, daemon.settings.state_dir / "site", before)
        self._next = choice, site
        self._taken.clear()
        self.wanted = True
        until_s = time.monotonic() + TIMEOUT_S
        while not self._taken.wait(LOOK_S) and go_on() and time.monotonic() < until_s:
            pass
        self._next, self.wanted = None, False
        # The listening thread may have begun with it just now.
        taken = self._taken.wait(LOOK_S)
        if taken:
            before.save()  # where it comes back, it goes on with what it had learned here
        return taken

    def turn(self) -> None:
        """By the listening thread, between two windows."""
        daemon, following = self._daemon, self._next
        if following is None or not (daemon.detector.quiet or daemon.detector.position >= self._until):
            return
        choice, site = following
        model = choice.model
        daemon.desk.on_events(daemon.detector.replace(model, site))
        daemon.choice, daemon.site = choice, site
        daemon.desk.keep = site.marks.keep
        daemon.sender = daemon.desk.sender = Sender.of(daemon.settings, model.name)
        daemon.clips.hear_with(model)
        self.sample = daemon.detector.position
        self._next, self.wanted = None, False
        self._taken.set()
        log.warning("model %s %s listens from sample %d on", model.name.name, model.name.version, self.sample)
