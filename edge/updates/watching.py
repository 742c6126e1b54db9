"""The part of updates that lives in the daemon: one thread that looks, has a new model tried, switches, and watches it.

It sequences and nothing more: the repository is asked by the fetch process (``asking``), a new model is tried in a
child (``shadow``), the listening thread changes models between two windows (``switch``), and every step is on disk
before it is taken (``slots``). It looks at the start, every ``updates.check_every_h`` with jitter, and soon after a
hint over MQTT; one update at a time. Nothing that goes wrong here touches detection.
"""

import logging
import random
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from edge.delivery.messages import ModelHint
from edge.detection.choice import NoModelError
from edge.detection.model_file import ModelFileError
from edge.threads import joined
from edge.updates.fetching.asking import Answer, ask
from edge.updates.model import person
from edge.updates.model.candidate import Candidate
from edge.updates.model.slots import Slots
from edge.updates.model.state import step
from edge.updates.model.switch import Switch
from edge.updates.offer import Fetched, Kind, Offer, Progress, Release, Request
from edge.updates.release import TargetPath
from edge.updates.report import Reporter

if TYPE_CHECKING:
    from edge.daemon import Daemon

log = logging.getLogger(__name__)

TURN_S, BUSY_TURN_S = 5.0, 0.5
FIRST_LOOK_S = 5.0
"""After the start: sound, broker and the first health message come first."""
HINT_EVERY_S = 60.0
"""However many hints come, so often the repository is asked for them."""
HINT_SPREAD_S = 10.0
"""A hint reaches all devices of a forest at once; their questions need not."""
LARGEST_HINT_BYTES = 4096
RETRY_S = 300.0
"""After a look that failed; doubling up to the regular pause."""
FREE_BYTES = 32 << 20
"""Less free disk than this is left to alerts and clips."""


class OtherKind(Protocol):
    """What else comes over the air (programs, overlays), each with a file of its own."""

    kind: Kind

    @property
    def problems(self) -> list[str]: ...

    @property
    def busy(self) -> bool:
        """An update of this kind is under way: no other is begun."""

    def here(self) -> Sequence[TargetPath]:
        """Targets that need not be downloaded: they are here, or have failed here."""

    def offered(self, release: Release | None, fetched: Fetched | None) -> None:
        """What a look brought. By the thread of updates."""

    def turn(self) -> None:
        """Every five seconds, by the thread of updates."""


class Updates:
    """See the module."""

    def __init__(self, daemon: "Daemon", slots: Slots, others: Sequence[OtherKind] = ()) -> None:
        self._daemon = daemon
        self._settings = daemon.settings
        self.slots = slots
        self.others = list(others)
        self.switch = Switch(daemon)
        self.candidate = Candidate(daemon, slots, self.switch, self._go_on)
        self._reporter = Reporter(daemon, slots, self.candidate)
        self._changed = threading.Condition()
        self._stopping = self._woken = False
        self._look_at_s = time.monotonic() + FIRST_LOOK_S
        self._looked_s: float | None = None
        self._failures = 0
        self._hint: ModelHint | None = None
        self._errors: list[str] = []
        self._disk_full = self._disk_fails = self._stumbled = False
        self._thread = threading.Thread(target=self._run, name="updates", daemon=True)

    # For the rest of the daemon --------------------------------------------------------------------------------

    @property
    def problems(self) -> list[str]:
        """Codes for ``health``."""
        found = [f"update:{code}" for code in self._errors]
        if self._disk_full or self._disk_fails or self.slots.unsaved:
            found.append("update:disk_full")
        if self._stumbled:
            found.append("update:internal")
        if self.slots.damaged:
            found.append("update:state_damaged")
        if self.slots.state.error:
            found.append("update:failed")
        for other in self.others:
            found += other.problems
        return found

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End: a child that is at work is killed, and its step done again at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        ended = joined(self._thread, timeout_s)
        self.slots.close()
        return ended

    def hint(self, payload: bytes) -> None:
        """From the broker: a release may exist. It only makes the device look; never raises."""
        if len(payload) > LARGEST_HINT_BYTES:
            return
        try:
            hint = ModelHint.model_validate_json(payload)
        except ValidationError:
            log.warning("a hint of %d bytes could not be read", len(payload))
            return
        if hint.channel != self._settings.updates.channel or hint == self._hint:
            return  # retained: each connection brings it again
        self._hint = hint
        earliest_s = -float("inf") if self._looked_s is None else self._looked_s + HINT_EVERY_S
        self._look_by(max(time.monotonic() + random.uniform(0, HINT_SPREAD_S), earliest_s))  # noqa: S311 -- jitter

    def look_now(self) -> None:
        """Somebody asks for it: look at once, and try again what failed here."""
        self.candidate.forgive = True
        self._look_by(time.monotonic())

    # The thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            try:
                try:
                    self._turn()
                finally:
                    self._reporter.publish()
                self._stumbled = False
            except Exception:
                # Nobody starts this thread again: whatever it was, it goes on, and health says that it is not well.
                log.exception("an update stumbled; detection goes on")
                self._stumbled = True
                self._look_at_s = max(self._look_at_s, time.monotonic() + RETRY_S)
                self._pause(RETRY_S / 10)
            self._pause(BUSY_TURN_S if self.candidate.busy else TURN_S)
        self.candidate.stop()

    def _turn(self) -> None:
        self._serve()
        try:
            if self.slots.unsaved:
                self.slots.change()
            for other in self.others:
                other.turn()
            self.candidate.turn()
            if self._may_look():
                self._look()
            self._disk_fails = False
        except OSError as error:
            log.error("an update cannot go on: %s", error)
            self._disk_fails = True
            self._look_at_s = max(self._look_at_s, time.monotonic() + RETRY_S)
            self._pause(RETRY_S / 10)

    def _may_look(self) -> bool:
        if self._settings.updates.url is None or time.monotonic() < self._look_at_s or self.candidate.has_child:
            return False
        if not self._daemon.clock.synchronised:
            return False  # signatures have an end; health says `clock:not_synchronised`
        self._disk_full = _free_bytes(self._settings.state_dir) < FREE_BYTES
        if self._disk_full:
            self._look_at_s = time.monotonic() + RETRY_S
        return not self._disk_full

    def _look(self) -> None:
        state = self.slots.state
        pinned = state.pinned or self._settings.detection.model is not None
        busy = self.candidate.busy or any(other.busy for other in self.others)
        kinds: list[Kind] = [] if pinned or busy else ["model"]
        if not busy:
            kinds += [other.kind for other in self.others]
        here: dict[Kind, list[TargetPath]] = {other.kind: list(other.here()) for other in self.others}
        here["model"] = self.candidate.here()
        request = Request(
            kinds=kinds,
            into=self._settings.state_dir / "updates" / "download",
            have=self.candidate.files(),
            highest_floor=state.floor,
            downloaded=here,
            clock_synchronised=True,
        )
        if kinds and not busy:
            self.slots.change(phase="downloading")
            step("downloading")
        self._looked_s = time.monotonic()
        self.candidate.stand_aside()
        answer = ask(request, self._settings, self._on_progress, self._go_on)
        step("fetched")
        if self._stopping:
            return
        if self.slots.state.phase == "downloading":
            self.slots.change(phase="idle")
        self._plan(answer)
        if answer.offer is not None:
            self._take(answer.offer, answer.fetched)

    def _take(self, offer: Offer, fetched: Sequence[Fetched]) -> None:
        self.slots.change(floor=offer.floor, checked_at=offer.checked_at, offered=offer.model)
        files = {one.kind: one for one in fetched}
        for other in self.others:
            other.offered(offer.of(other.kind), files.get(other.kind))
        if self.candidate.offered(offer.model, files.get("model")):
            self._look_by(time.monotonic())

    def _plan(self, answer: Answer) -> None:
        """When to look again, and what was wrong this time."""
        for error in answer.errors:
            log.warning("update: %s: %s", error.code, error.text)
        self._errors = sorted({error.code for error in answer.errors if error.code != "busy"})
        regular_s = self._settings.updates.check_every_h * 3600 * random.uniform(0.9, 1.1)  # noqa: S311 -- jitter
        self._failures = self._failures + 1 if answer.errors else 0
        pause_s = min(regular_s, RETRY_S * 2 ** min(self._failures - 1, 10)) if answer.errors else regular_s
        self._look_at_s = time.monotonic() + pause_s

    def _on_progress(self, progress: Progress) -> None:
        if progress.kind == "model" and progress.total_bytes:
            self._reporter.publish(min(1.0, progress.done_bytes / progress.total_bytes))
        self._serve()

    # People ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Do what a person on the device asks for."""
        wish = person.take(self._settings.state_dir)
        if wish is None:
            return
        try:
            ok, text = self._do(wish.action)
        except (OSError, NoModelError, ModelFileError) as error:
            ok, text = False, str(error)
        log.warning("model %s: %s", wish.action, text)
        person.answer(self._settings.state_dir, wish, ok, text)
        self._reporter.publish()

    def _do(self, action: person.Action) -> tuple[bool, str]:
        slots, state = self.slots, self.slots.state
        if action == "update":
            self.look_now()
            return True, "it looks now"
        if action in ("pin", "unpin"):
            name = self._daemon.choice.model.name
            event = "pinned" if action == "pin" else "unpinned"
            slots.change(pinned=action == "pin", **state.past(event, None))
            if action == "unpin":
                self._look_by(time.monotonic())
                return True, "updates go on"
            self.candidate.abandon("the model was pinned")
            name = self._daemon.choice.model.name
            return True, f"{name.name} {name.version} stays; `ecosight-edge model unpin` lets updates go on"
        return self.candidate.roll_back("a person asked for it")

    def _look_by(self, at_s: float) -> None:
        with self._changed:
            self._look_at_s = min(self._look_at_s, at_s)
            self._woken = True
            self._changed.notify_all()

    def _go_on(self) -> bool:
        """Asked by whatever waits within a step."""
        return not self._stopping

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._stopping and not self._woken:
                self._changed.wait(seconds)
            self._woken = False


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
