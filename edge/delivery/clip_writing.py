"""From sound in memory to a clip on disk and its row: judge, make room, write, tell.

The order is the privacy promise: nothing that the gate refuses is written where the policy says ``delete`` or
``alert_only``, and a row that says ``may_leave`` exists only after the gate has said so.
"""

import errno
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge import __version__, durable
from edge.audio.clock import Clock
from edge.delivery import evidence, flac
from edge.delivery.messages import Alert, Clip, storage_key
from edge.delivery.outbox import Outbox
from edge.delivery.privacy import Hearing, Verdict, judge
from edge.delivery.retention import Retention
from edge.redaction import without_passwords
from edge.settings import EdgeSettings

log = logging.getLogger(__name__)

MOST_BYTES_PER_FRAME = 3
"""24 bits, of noise that does not compress."""
OVERHEAD_BYTES = 16_384
"""FLAC's headers and the description."""
UNDER_FLOOR = "the free space stays under its floor"


@dataclass(frozen=True)
class Cut:
    """Sound copied out of the ring."""

    request_kind: Literal["alert", "recording"]
    alert: Alert
    test: bool
    first_onset: int
    start: int
    """Index of the first frame."""
    frames: NDArray[np.float32]
    """float32 [n], full scale ±1; n is 0 where the ring had nothing left of it."""
    gaps: list[tuple[int, int]]
    """Lost ranges that touch it, as indices."""
    sample_rate_hz: int
    notes: list[str] = field(default_factory=list)


class ClipWriter:
    """Used by one thread."""

    def __init__(
        self,
        settings: EdgeSettings,
        spool: Path,
        clock: Clock,
        model: Hearing,
        outbox: Outbox,
        retention: Retention,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self.model = model
        self._outbox = outbox
        self._retention = retention
        self.failing = False

    def write(self, cut: Cut) -> bool:
        """Deal with one cut. False where, by policy, not even a message is sent."""
        clip = self._message(cut)
        if len(cut.frames) == 0:
            self._fail(clip, "no sound of it is left")
            return True
        verdict = judge(cut.frames, cut.sample_rate_hz, self.model, self._settings.privacy)
        if not verdict.allowed:
            log.warning("clip %s must not leave the device: %s", clip.alert_id, verdict.reason)
            clip = clip.model_copy(update={"state": "withheld", "reason": verdict.reason})
            policy = self._settings.privacy.withheld
            if policy == "alert_only":
                return False
            if policy == "delete":
                deleted = {"size_bytes": 0, "reason": f"{verdict.reason}; deleted"}
                self._outbox.put_clip(clip.model_copy(update=deleted), may_leave=False)
                return True
        try:
            self._save(cut, clip, verdict)
        except OSError as error:
            self.failing = True
            self._fail(clip, f"disk: {error.strerror or error}")
        return True

    def lost(self) -> list[Alert]:
        """Alerts of earlier runs whose clip was never cut, because the device stopped. Ask before the first of this."""
        if self._settings.privacy.withheld == "alert_only":
            return []  # an alert without a clip is nothing unusual then
        return [alert for alert in self._outbox.alerts_without_clip() if not alert.test]

    def tell_lost(self, alerts: list[Alert]) -> None:
        """Their clips are ``failed``, but for those that ``evidence.recover`` has found."""
        for alert in alerts:
            if self._outbox.clip(alert.alert_id) is None:
                self._fail(self._message_of(alert), evidence.LOST)

    def _save(self, cut: Cut, clip: Clip, verdict: Verdict) -> None:
        durable.make_folder(self._spool)
        path = self._spool / f"{clip.alert_id}.flac"
        try:
            committed = self._commit(path, cut, clip, verdict)
        except OSError as error:
            most_bytes = len(cut.frames) * MOST_BYTES_PER_FRAME + OVERHEAD_BYTES
            if not self._is_full(error, most_bytes):
                raise
            log.warning("no room for clip %s; making some", clip.alert_id)
            self._retention.make_room(free_at_least=most_bytes)
            committed = self._commit(path, cut, clip, verdict)
        # A recording was asked for, so its clip is: where clips wait to be asked for, it does not.
        asked = cut.request_kind == "recording"
        self._outbox.put_clip(committed, path=path, may_leave=verdict.allowed, requested=asked)
        self.failing = False
        log.info("clip %s: %.2f s, %s", clip.alert_id, committed.duration_s, committed.state)

    def _is_full(self, error: OSError, need_bytes: int) -> bool:
        # libsndfile hides errno, so the disk is asked as well.
        return error.errno in (errno.ENOSPC, errno.EDQUOT) or self._retention.free_bytes() < need_bytes

    def _commit(self, path: Path, cut: Cut, clip: Clip, verdict: Verdict) -> Clip:
        bits = 0

        def write(temporary: Path) -> None:
            nonlocal bits
            bits = flac.write_flac(temporary, cut.frames, cut.sample_rate_hz)

        if self._retention.out_of_reach and not self._retention.make_room():
            raise OSError(UNDER_FLOOR)
        staged = durable.stage(path, write)
        try:
            size_bytes = staged.stat().st_size
            if size_bytes > self._settings.clips.quota_bytes:
                raise OSError(f"its {size_bytes} bytes are more than the whole quota")
            if not self._retention.make_room(new_bytes=size_bytes):
                raise OSError(UNDER_FLOOR)
            committed = clip.model_copy(update={"sha256": evidence.sha256_of(staged), "size_bytes": size_bytes})
            evidence.commit_pair(path, self._describe(cut, committed, verdict, bits))
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return committed

    def _message(self, cut: Cut) -> Clip:
        seconds_to_onset = max(0.0, (cut.first_onset - cut.start) / cut.sample_rate_hz)
        return self._message_of(cut.alert).model_copy(
            update={
                "duration_s": len(cut.frames) / cut.sample_rate_hz,
                "sample_rate_hz": cut.sample_rate_hz,
                "onset_s": seconds_to_onset,
                "reason": "; ".join(cut.notes),
                "test": cut.test,
            }
        )

    def _message_of(self, alert: Alert) -> Clip:
        settings = self._settings
        # The key is fixed here, with the best time there is; a later correction of the clock does not move it.
        at = self._clock.correct(alert.onset).utc
        return Clip(
            alert_id=alert.alert_id,
            seq=0,
            site=settings.site,
            device=settings.device,
            state="kept",
            key=storage_key(settings.site, settings.device, alert.alert_id, at),
            test=alert.test,
        )

    def _describe(self, cut: Cut, clip: Clip, verdict: Verdict, bits: int) -> evidence.Description:
        rate = cut.sample_rate_hz
        last = cut.start + len(cut.frames)
        audio = self._settings.audio
        return evidence.Description(
            kind=cut.request_kind,
            software=f"ecosight-edge {__version__}",
            clip=clip,
            alert=self._outbox.last_alert(clip.alert_id) or cut.alert,
            start=self._clock.moment(cut.start),
            clock_drift_ppm=self._clock.drift_ppm,
            frames=len(cut.frames),
            onset_s=(cut.first_onset - cut.start) / rate,
            pre_roll_s=self._settings.clips.pre_roll_s if cut.request_kind == "alert" else 0.0,
            gaps_s=[((max(a, cut.start) - cut.start) / rate, (min(b, last) - cut.start) / rate) for a, b in cut.gaps],
            notes=cut.notes,
            speech_score=verdict.speech_score,
            speech_limit=self._settings.privacy.speech_limit,
            may_leave=verdict.allowed,
            capture=evidence.Capture(
                source=audio.source,
                device=audio.device if audio.source == "microphone" else without_passwords(audio.location),
                channel=audio.channel,
                sample_rate_hz=rate,
                bits_per_sample=bits,
            ),
        )

    def _fail(self, clip: Clip, reason: str) -> None:
        log.error("no clip of alert %s: %s", clip.alert_id, reason)
        self._outbox.put_clip(clip.model_copy(update={"state": "failed", "reason": reason, "size_bytes": 0}))
