"""Overlays in the daemon: what a look has brought is checked, obeyed, watched, and confirmed or taken back.

An overlay that changes how is listened makes the daemon read its configuration again, as SIGHUP does; one that only
mutes holds at once.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from edge.settings import EdgeSettings
from edge.updates import overlay
from edge.updates.offer import Fetched, Kind, Release
from edge.updates.overlay import Held, InvalidOverlayError, OverlayState
from edge.updates.release import Overlay, TargetPath

log = logging.getLogger(__name__)

HEALTHY_S = 60.0
"""A start that has lasted this long was a good one."""
ALARMS_FACTOR, ALARMS_MORE = 3.0, 6.0
"""More alerts an hour than three times as many as before, and six, are a threshold that was set wrong."""
MOST_SKIPPED = 0.02
"""Share of the windows that may be lost with a shorter hop."""


def reread() -> None:
    """Make this process read its configuration again."""
    os.kill(os.getpid(), signal.SIGHUP)


class OverlayKind:
    """See the module. Used by the thread of updates alone, but for ``muted``."""

    kind: Kind = "overlay"

    def __init__(
        self,
        settings: EdgeSettings,
        alerts: Callable[[], int],
        windows: Callable[[], tuple[int, int]],
        reload: Callable[[], None] = reread,
        monotonic_s: Callable[[], float] = time.monotonic,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``alerts`` since the start; ``windows``: scored and skipped since the start."""
        self._settings = settings
        self._state_dir = settings.state_dir
        self._alerts, self._windows = alerts, windows
        self._reload = reload
        self._monotonic_s = monotonic_s
        self._environment = os.environ if environment is None else environment
        self._state: OverlayState = overlay.read(self._state_dir)
        self._began_s = self._counted_s = monotonic_s()
        self._alerts_at_first, self._windows_at_first = 0, (0, 0)  # both are counted since the start
        self._healthy = False

    @property
    def problems(self) -> list[str]:
        """Codes for ``health``."""
        return ["overlay:failed"] if self._state.error else []

    @property
    def busy(self) -> bool:
        """Overlays are small, and never in the way of another update."""
        return False

    @property
    def holds(self) -> str:
        """Id of the overlay that holds; empty for none."""
        held = self._state.held
        return held.overlay.id if held is not None and self._settings.updates.overlays else ""

    @property
    def muted_until(self) -> datetime | None:
        """The overlay that holds lets no alerts go out before this; it may be past."""
        held = self._state.held
        return held.overlay.mute_until if held is not None and self._settings.updates.overlays else None

    @property
    def state(self) -> OverlayState:
        return self._state

    def here(self) -> Sequence[TargetPath]:
        """What need not be downloaded."""
        if not self._settings.updates.overlays:
            return []
        held = [self._state.held.target] if self._state.held is not None else []
        return [*held, *(one.target for one in self._state.failed)]

    def offered(self, release: Release | None, fetched: Fetched | None) -> None:
        """Obey what a look has brought, if it can be obeyed. None: nothing is asked, what holds goes on."""
        if release is None or fetched is None or not self._settings.updates.overlays:
            return
        if (self._state.held is not None and self._state.held.sha256 == release.sha256) or self._state.why_failed(
            release.sha256
        ):
            return
        try:
            said = Overlay.model_validate_json(Path(fetched.path).read_bytes())
        except (OSError, ValidationError) as error:
            log.error("the overlay %s cannot be read: %s", release.target, error)
            return
        held = Held(target=release.target, sha256=release.sha256, overlay=said)
        before = self._changes(self._state.held)
        try:
            overlay.with_overlay(self._settings, said, self._environment)
        except InvalidOverlayError as error:
            self._state = overlay.refuse(self._state_dir, held, str(error))
            return
        hours = max(1.0, self._monotonic_s() - self._began_s) / 3600
        rate = (self._alerts() - self._alerts_at_first) / max(1.0, hours)
        self._state = overlay.begin(self._state_dir, held, rate)
        self._start_watching()
        log.warning("overlay %s holds: %s", said.id, json.dumps(said.model_dump(mode="json", exclude_defaults=True)))
        if self._changes(held) != before:
            self._reload()

    def turn(self) -> None:
        """On probation: confirm it, or take it back."""
        state = self._state
        held = state.held
        if state.phase != "probation" or held is None:
            return
        up_s = self._monotonic_s() - self._counted_s
        if not self._healthy and up_s >= min(HEALTHY_S, self._settings.updates.probation_s):
            self._healthy = True
            self._state = state = state.model_copy(update={"starts": 0})
            overlay.write(self._state_dir, state)
        why = self._objection(up_s)
        if why:
            before = self._changes(held)
            self._state = overlay.refuse(self._state_dir, held, why)
            if self._changes(self._state.held) != before:
                self._reload()
        elif self._healthy and up_s >= self._settings.updates.probation_s:
            self._state = overlay.confirm(self._state_dir)
            log.info("overlay %s is confirmed", held.overlay.id)

    def _objection(self, up_s: float) -> str:
        hours = up_s / 3600
        alerts = self._alerts() - self._alerts_at_first
        usual = self._state.alarms_per_h
        if alerts > ALARMS_MORE + ALARMS_FACTOR * usual * max(hours, 1.0):
            return f"{alerts} alerts within {up_s / 60:.0f} min, where {usual:.1f} an hour were usual"
        scored, skipped = (now - then for now, then in zip(self._windows(), self._windows_at_first, strict=True))
        if skipped > 5 and skipped > MOST_SKIPPED * (scored + skipped):
            return f"detection did not keep up: {skipped} of {scored + skipped} windows were skipped"
        return ""

    def _start_watching(self) -> None:
        self._counted_s = self._monotonic_s()
        self._alerts_at_first, self._windows_at_first = self._alerts(), self._windows()
        self._healthy = False

    def _changes(self, held: Held | None) -> dict[str, float]:
        """The settings that an overlay changes here."""
        return {} if held is None else overlay.changes(held.overlay, self._environment)
