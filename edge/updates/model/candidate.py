"""One model on its way in: verified and tried in a child, switched to, watched, and confirmed or taken back.

``turn`` is called every second or two by the thread of updates; it goes on from where the state on disk stands,
whatever happened before.
"""

import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.detection.choice import Choice, choose, default_model, keep_last_good
from edge.detection.model import load
from edge.detection.model_file import ModelFileError
from edge.updates.model.growth import Growth
from edge.updates.model.judgement import Figures, objection
from edge.updates.model.shadow import Refused, Shadow
from edge.updates.model.slots import MOST_ATTEMPTS, Slots
from edge.updates.model.state import Before, step
from edge.updates.model.switch import Switch
from edge.updates.model.watched import Watched
from edge.updates.offer import Fetched, Release
from edge.updates.release import TargetPath

if TYPE_CHECKING:
    from edge.daemon import Daemon

log = logging.getLogger(__name__)

MORE_PATIENCE_S = 600.0
"""A trial takes three times as long as it should, and this: then there is no sound, and it is tried again later."""
LATER_S = 3600.0
MOST_DROPPED = 0.5
"""Share of the windows that a trial may not keep up with; the child runs when nothing else wants to."""


class Candidate:
    """See the module. Used by one thread."""

    def __init__(self, daemon: "Daemon", slots: Slots, switch: Switch, go_on: Callable[[], bool]) -> None:
        self._daemon = daemon
        self._settings = daemon.settings
        self._slots = slots
        self._switch = switch
        self._go_on = go_on
        self.forgive = False
        """Somebody asked to try again what failed here."""
        self._shadow: Shadow | None = None
        self._not_before_s = 0.0
        self._began_s = 0.0
        self._heard_at_first: int | None = None
        self._passed: Before | None = None
        self._watched: Watched | None = None
        self._growth = Growth()

    # What the others ask ---------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self._slots.state.phase not in ("idle", "downloading")

    @property
    def has_child(self) -> bool:
        """A trial is at work: no other child may be, or memory would be the sum."""
        return self._shadow is not None

    def stand_aside(self) -> None:
        """Another child is about to work: the model from before need not listen on meanwhile."""
        if self._watched is not None:
            self._watched.stand_aside()

    @property
    def progress(self) -> float | None:
        phase = self._slots.state.phase
        if phase == "trial" and self._heard_at_first is not None:
            wanted_s = self._settings.updates.shadow_s
            return min(1.0, self._heard_s() / wanted_s) if wanted_s else 1.0
        return self._watched.probation.progress if phase == "probation" and self._watched is not None else None

    def here(self) -> list[TargetPath]:
        """Models that need not be downloaded."""
        state = self._slots.state
        held = [one.release.target for one in state.slots.values() if one.confirmed]
        return held + ([] if self.forgive else [one.target for one in state.failed])

    def files(self) -> list[Path]:
        """Whole model files on this device."""
        slots = [self._slots.path(slot) for slot, held in self._slots.state.slots.items() if held.confirmed]
        return [path for path in dict.fromkeys([self._daemon.choice.path, *slots, default_model()]) if path.exists()]

    def offered(self, release: Release | None, fetched: Fetched | None) -> bool:
        """What the repository wants this device to run, and its file, if that was fetched. True: look again soon."""
        state, forgive = self._slots.state, self.forgive
        self.forgive = False
        if release is None:
            return False
        runs = self._daemon.choice.model.sha256 == release.sha256
        if self.busy:
            if state.candidate is not None and state.candidate.sha256 == release.sha256:
                return False
            self.abandon(f"the repository wants {release.name} {release.version}")
            return not runs
        if runs:
            if state.error:
                self._slots.change(error="")
            return False
        if state.pinned or self._settings.detection.model is not None:
            return False
        why = state.why_failed(release)
        if why is not None and not forgive:
            if state.error != why:
                self._slots.change(error=why)
        elif state.holding(release.sha256) == self._slots.idle:
            self._slots.reuse(release)
        elif fetched is not None and fetched.target == release.target:
            self._slots.place(release, fetched.path)
        return False

    def abandon(self, why: str) -> None:
        """The candidate is not wanted any more; nothing is wrong with it."""
        phase = self._slots.state.phase
        if phase == "probation":
            self._take_back(why, for_good=False)
        elif self.busy:
            self._give_up(why, for_good=False)

    def roll_back(self, why: str) -> tuple[bool, str]:
        """A person does not want the newest model. Whether it could be done, and what is so now.

        Raises:
            OSError: the disk does not take it.
            NoModelError: the other model cannot be used.
        """
        state = self._slots.state
        if self._settings.detection.model is not None:
            return (
                False,
                f"detection.model in the configuration names {self._settings.detection.model}; change it there",
            )
        if state.phase == "probation":
            self._take_back(why)
        elif self.busy:
            self._give_up(why)
        elif state.active is None:
            name = self._daemon.choice.model.name
            return False, f"{name.name} {name.version} runs, and it did not come over the air"
        else:
            other = state.slots.get(self._slots.idle)
            if other is not None and other.confirmed and other.release.number < state.floor.model:
                return False, f"{other.release.name} {other.release.version} is older than maintainers allow"
            self._slots.roll_back(why)
            self._go_back()
        name = self._daemon.choice.model.name
        return True, f"{name.name} {name.version} listens; what ran or was tried before is not tried again by itself"

    def stop(self) -> None:
        """The daemon ends in good order."""
        self._end_trial()
        self.stand_aside()
        if self._watched is not None and self._slots.state.phase == "probation":
            self._slots.stopped_cleanly(self._watched.probation.watched_s)

    # Turn by turn ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Go on. Raises OSError: the disk does not take the next step."""
        phase = self._slots.state.phase
        if self.busy and self._settings.detection.model is not None:
            self.abandon("the configuration names a model")
        elif phase in ("verifying", "trial"):
            try:
                if self._passed is not None:
                    self._take_over(self._passed)
                elif self._shadow is None:
                    self._begin_trial()
                else:
                    self._try(self._shadow)
            except (Refused, ModelFileError) as refusal:
                self._give_up(str(refusal))
        elif phase == "probation":
            self._watch()

    def _begin_trial(self) -> None:
        state = self._slots.state
        if time.monotonic() < self._not_before_s or state.candidate is None:
            return
        if state.attempts >= MOST_ATTEMPTS:
            raise Refused(f"the daemon ended {state.attempts} times while it was tried")
        path = self._slots.candidate_path
        if not path.exists():  # the power went before it was there
            self._give_up("the file is not there", for_good=False)
            return
        daemon = self._daemon
        self._slots.begin_attempt()
        self._began_s, self._heard_at_first = time.monotonic(), None
        self._shadow = Shadow(
            path, state.candidate.sha256, daemon.choice.path, self._settings.detection, daemon.ring.sample_rate_hz
        )

    def _try(self, shadow: Shadow) -> None:
        shadow.poll(0.0)
        if shadow.checked is None:
            return
        state, detector = self._slots.state, self._daemon.detector
        if state.phase == "verifying":
            self._slots.begin_trial()
            self._heard_at_first = detector.windows + detector.gated
            detector.shadow = shadow.offer
        assert state.candidate is not None
        known = state.holding(state.candidate.sha256) is not None
        if known or self._heard_s() >= self._settings.updates.shadow_s:
            detector.shadow = None
            new, current = shadow.finish()
            if shadow.dropped > MOST_DROPPED * (shadow.sent + shadow.dropped):
                raise Refused(
                    f"did not keep up: {shadow.dropped} of {shadow.sent + shadow.dropped} windows were dropped"
                )
            if why := objection(new, current):
                raise Refused(why)
            log.info("the new model passed its trial: %s; the current one: %s", new, current)
            self._end_trial()
            self._passed = self._before(current)
            step("tried")
        elif time.monotonic() - self._began_s > 3 * self._settings.updates.shadow_s + MORE_PATIENCE_S:
            log.warning("no sound to try the new model on; it is tried again later")
            self._end_trial()
            self._not_before_s = time.monotonic() + LATER_S
            self._slots.change(phase="verifying", attempts=0)

    def _take_over(self, before: Before) -> None:
        """From the trial to probation."""
        state, path = self._slots.state, self._slots.candidate_path
        assert state.candidate is not None
        model = load(path, verify=False)  # as it was verified in the child, if it is the same
        if model.sha256 != state.candidate.sha256:
            raise Refused("the file in the slot was changed")
        self._passed = None
        self._growth = Growth()
        self._slots.begin_probation(before)
        if self._switch.to(Choice(model, path), go_on=self._go_on):
            step("switched")
            self._watch()
        elif self._go_on():
            self._take_back("nobody took the model over", for_good=False)

    def _watch(self) -> None:
        state, daemon = self._slots.state, self._daemon
        if self._watched is None:
            self._watched = Watched(daemon, state.before, state.watched_s, self._growth)
            return
        probation = self._watched.probation
        if why := self._watched.objection():
            self._take_back(why)
            return
        if probation.healthy:
            self._slots.healthy()
        if probation.passed:
            release = state.candidate
            self._slots.confirm()
            self._end_probation()
            keep_last_good(daemon.choice.path, self._settings.state_dir)
            log.warning("model %s %s is confirmed", release and release.name, release and release.version)

    def _give_up(self, why: str, for_good: bool = True) -> None:
        self._end_trial()
        self._passed = None
        if for_good:
            log.error("the new model is not taken: %s", why)
        self._slots.give_up(why, for_good)

    def _take_back(self, why: str, for_good: bool = True) -> None:
        self._end_probation()
        self._slots.take_back(why, for_good)
        self._go_back()
        step("switched_back")

    def _go_back(self) -> None:
        """Listen again with what the state says. A broken model goes at once."""
        choice = choose(None, self._settings.state_dir, keep=True, state=self._slots.state)
        self._switch.to(choice, at_once=True, go_on=self._go_on)

    def _end_trial(self) -> None:
        if self._watched is None:
            self._daemon.detector.shadow = None
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.close()

    def _end_probation(self) -> None:
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.end()

    def _heard_s(self) -> float:
        """Sound heard since the trial began; windows that the energy gate spared count."""
        if self._heard_at_first is None:
            return 0.0
        detector = self._daemon.detector
        return (detector.windows + detector.gated - self._heard_at_first) * self._settings.detection.hop_s

    def _before(self, current: Figures) -> Before:
        """How the current model does: what probation is compared with."""
        daemon = self._daemon
        hours = max(time.monotonic() - daemon.started_s, 60.0) / 3600
        durations = list(daemon.detector.inference_ms)
        return Before(
            alarms_per_h=daemon.desk.alerts / hours,
            hits=current.hits / max(1, current.windows),
            inference_ms=statistics.median(durations) if len(durations) >= 20 else None,
            path=daemon.choice.path,
        )
