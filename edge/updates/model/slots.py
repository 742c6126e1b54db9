"""Two places for a model that came over the air, and which of them runs. The daemon alone changes anything here.

    slots = Slots(settings.state_dir)
    slots.begin()                       # at each start, before a model is chosen: counts, and takes back
    slots.place(release, downloaded)    # into the idle slot
    slots.begin_probation(before)       # from here on a restart runs the new one
    slots.confirm() or slots.take_back("why")

Every method writes the state before it returns, and before anything that depends on it; a cut in between leaves the
step to be done again or undone by ``begin``. Methods raise OSError where the disk does not take it: nothing has
changed then.
"""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge import durable
from edge.updates.model import state as states
from edge.updates.model.state import FAILURES_KEPT, Before, Failed, Held, Slot, State, slot_path, step
from edge.updates.offer import Release

log = logging.getLogger(__name__)

MOST_STARTS = 3
"""Starts on probation that did not reach health; then the model is taken back."""
MOST_STARTS_IN_ALL = 10
"""One that runs for a while and then takes the daemon down."""
MOST_ATTEMPTS = 5
"""Trials of one release that were cut off by the end of the daemon."""


class Slots:
    """See the module. ``state`` may be read by any thread; changes are made one at a time."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.damaged = False
        """The state was found damaged, and begun anew."""
        self.unsaved = False
        """The disk did not take the last change."""
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.state = states.read(state_dir)
        except (OSError, ValueError) as error:
            aside = states.set_aside(state_dir)
            log.error("%s; set aside as %s, updates begin anew", error, aside)
            self.damaged = True
            self.state = State()

    def path(self, slot: Slot) -> Path:
        return slot_path(self.state_dir, slot)

    @property
    def idle(self) -> Slot:
        """Where the next model goes."""
        return "b" if self.state.active == "a" else "a"

    @property
    def candidate_path(self) -> Path:
        return self.path(self.idle)

    def begin(self, counted: bool = True) -> None:
        """At a start. ``counted``: a start of the process, not a reload within it. Never raises.

        On probation the start is counted before the model is touched; where that cannot be written, this start runs
        the model from before.
        """
        state = self.state
        if state.phase == "downloading":
            self._try(phase="idle", candidate=None)
        elif state.phase == "probation" and counted:
            if state.starts >= MOST_STARTS or state.starts_in_all >= MOST_STARTS_IN_ALL:
                count = max(state.starts, state.starts_in_all)
                self._take_back(f"the daemon ended {count} times while it was on probation")
            elif not self._try(starts=state.starts + 1, starts_in_all=state.starts_in_all + 1):
                log.error("the start cannot be counted: this one runs the model from before")
                self.state = state.model_copy(
                    update={"phase": "idle", "candidate": None, "active": state.previous, "previous": None}
                )

    def change(self, **values: Any) -> None:
        """Raises OSError; the state is as it was then."""
        with self._lock:
            if self._closed:
                raise OSError(f"{self.state_dir}: the state of updates belongs to another life of the daemon by now")
            fresh = self.state.model_copy(update=values)
            try:
                states.write(self.state_dir, fresh)
            except OSError:
                self.unsaved = True
                raise
            self.unsaved = False
            self.state = fresh

    def close(self) -> None:
        """No more changes: a reload hands the state over to another."""
        with self._lock:
            self._closed = True

    def place(self, release: Release, downloaded: Path) -> None:
        """Move a file into the idle slot; it is to be verified there. What was in the slot is forgotten first."""
        others = {slot: held for slot, held in self.state.slots.items() if slot != self.idle}
        self.change(phase="verifying", candidate=release, slots=others, attempts=0, error="")
        step("verifying")
        target = self.candidate_path
        durable.make_folder(target.parent)
        durable.sync(downloaded)
        downloaded.replace(target)
        durable.sync(target.parent)
        step("placed")

    def reuse(self, release: Release) -> None:
        """The idle slot holds this file from an earlier time: verify it again."""
        self.change(phase="verifying", candidate=release, attempts=0, error="")
        step("verifying")

    def begin_attempt(self) -> None:
        """The candidate is about to be verified, and tried after that."""
        self.change(phase="verifying", attempts=self.state.attempts + 1)
        step("checking")

    def begin_trial(self) -> None:
        self.change(phase="trial")
        step("trial")

    def begin_probation(self, before: Before) -> None:
        """The trial went well: the candidate is what runs, from the next start on at the latest."""
        state, slot = self.state, self.idle
        assert state.candidate is not None
        confirmed = state.holding(state.candidate.sha256) == slot
        self.change(
            phase="probation",
            active=slot,
            previous=state.active,
            slots={**state.slots, slot: Held(release=state.candidate, confirmed=confirmed)},
            before=before,
            starts=0,
            starts_in_all=0,
            watched_s=0.0,
            **state.past("switched", state.candidate),
        )
        step("switching")

    def healthy(self) -> None:
        """This start of the daemon has been seen to listen with the model on probation."""
        if self.state.starts:
            self.change(starts=0)
            step("healthy")

    def stopped_cleanly(self, watched_s: float) -> None:
        """On probation: this start was no sign of anything."""
        state = self.state
        self._try(watched_s=watched_s, starts=max(0, state.starts - 1), starts_in_all=max(0, state.starts_in_all - 1))

    def confirm(self) -> None:
        state = self.state
        assert state.candidate is not None and state.active is not None
        step("confirming")
        self.change(
            phase="idle",
            candidate=None,
            previous=None,
            error="",
            slots={**state.slots, state.active: Held(release=state.candidate, confirmed=True)},
            failed=[one for one in state.failed if one.sha256 != state.candidate.sha256],
            **state.past("confirmed", state.candidate),
        )
        step("confirmed")

    def give_up(self, why: str, for_good: bool = True) -> None:
        """The candidate does not get as far as to run. ``for_good``: it is not tried again by itself."""
        state = self.state
        change: dict[str, Any] = {"phase": "idle", "candidate": None, "attempts": 0}
        if for_good:
            change |= {
                "error": why,
                **_failed(state, state.candidate, why),
                **state.past("failed", state.candidate, why),
            }
        self.change(**change)
        step("given_up")

    def take_back(self, why: str, for_good: bool = True) -> None:
        """From probation to the model from before. Never raises: where the disk does not take it, it holds for this
        life of the daemon (``unsaved``), and is written with the next change."""
        step("taking_back")
        self._take_back(why, for_good)
        step("taken_back")

    def roll_back(self, why: str) -> None:
        """A person does not want the active model: to the other slot, or to what the device came with."""
        state = self.state
        if state.phase == "probation":
            self.take_back(why)
            return
        held = state.slots[state.active] if state.active else None
        release = held.release if held else None
        other = state.slots.get(self.idle)
        back = self.idle if other is not None and other.confirmed else None
        rest = {slot: one for slot, one in state.slots.items() if slot != state.active}
        past = state.past("rolled_back", release, why)
        self.change(phase="idle", candidate=None, active=back, slots=rest, **_failed(state, release, why), **past)

    def missed(self, runs: Path, configured: Path | None) -> None:
        """At a start, once a model is chosen: where the active slot's was refused, it is not to be tried again. Never
        raises."""
        state, active = self.state, self.state.active
        if configured is not None or active is None or runs == self.path(active):
            return
        why = f"the model in slot {active} cannot be used any more"
        if state.phase == "probation":
            self._take_back(why)
            return
        rest = {slot: held for slot, held in state.slots.items() if slot != active}
        self._try(slots=rest, active=next((slot for slot in rest if self.path(slot) == runs), None), error=why)

    def _take_back(self, why: str, for_good: bool = True) -> None:
        state = self.state
        log.error("the new model does not stay: %s", why)
        change: dict[str, Any] = {
            "phase": "idle",
            "candidate": None,
            "active": state.previous,
            "previous": None,
            "error": why if for_good else "",
            "slots": {slot: held for slot, held in state.slots.items() if slot != state.active},
            **state.past("failed" if for_good else "withdrawn", state.candidate, why),
        }
        if for_good:
            change |= _failed(state, state.candidate, why)
        if not self._try(**change):
            self.state = state.model_copy(update=change)

    def _try(self, **values: Any) -> bool:
        try:
            self.change(**values)
        except OSError as error:
            log.error("the state of updates cannot be written: %s", error)
            return False
        return True


def _failed(state: State, release: Release | None, why: str) -> dict[str, Any]:
    if release is None:
        return {}
    one = Failed(target=release.target, sha256=release.sha256, why=why[:500], at=datetime.now(UTC))
    rest = [earlier for earlier in state.failed if earlier.sha256 != release.sha256]
    return {"failed": [*rest, one][-FAILURES_KEPT:]}
