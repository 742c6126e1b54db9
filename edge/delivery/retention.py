"""Room on the card: a quota in bytes, a floor of free space, and an order in which clips go.

What is safe elsewhere goes first, unsent evidence last. Every eviction is logged, counted and published.

1. clips of drills, whatever their state
2. clips that S3 has as well (only the local copy goes: their message stays ``uploaded``, with the reason)
3. clips in the embedded folder storage, and clips that may not leave the device
4. evidence that has not been sent

Within each, the oldest first.

The floor is for others that need room, and clips give way to it only while that helps: where all of them together could
not reach it, what lies nowhere else (3 and 4) stays, and no new clip is written.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from edge.delivery.evidence import remove_pair
from edge.delivery.outbox import ClipFile, Outbox
from edge.settings import ClipSettings

log = logging.getLogger(__name__)

SAFE = 1
"""The highest rank of clips whose going loses nothing."""


def rank(clip: ClipFile, spool: Path) -> int:
    """How dear a clip is; the lowest goes first. Clips of one rank go by age."""
    if clip.test:
        return 0
    if clip.state == "uploaded":
        return 1 if has_copy_elsewhere(clip, spool) else 2
    return 3 if clip.may_leave else 2


def has_copy_elsewhere(clip: ClipFile, spool: Path) -> bool:
    """Uploaded and still in the spool: S3 has it. (The folder storage moves the file out of the spool.)"""
    return clip.state == "uploaded" and Path(clip.path).parent == spool


def order(clips: Iterable[ClipFile], spool: Path) -> list[ClipFile]:
    """The order in which ``clips`` (given oldest first) are evicted."""
    return sorted(clips, key=lambda clip: rank(clip, spool))  # stable: age decides within a rank


def going(clips: Iterable[ClipFile], spool: Path, over_quota: int, under_floor: int) -> list[ClipFile]:
    """Which of ``clips`` (given oldest first) go, in this order, to free so many bytes for the quota and for the floor.

    For a floor that is out of reach only those that are safe go.
    """
    ordered = order(clips, spool)
    helps = under_floor <= sum(clip.size_bytes for clip in ordered)
    chosen: list[ClipFile] = []
    # What was freed is added up rather than looked up: some file systems give space back only later.
    freed = 0
    for clip in ordered:
        for_floor = under_floor > freed and (helps or rank(clip, spool) <= SAFE)
        if not for_floor and over_quota <= freed:
            break
        chosen.append(clip)
        freed += clip.size_bytes
    return chosen


class Retention:
    """Keeps the clips' bytes under the quota and the disk's free bytes over the floor. Used by one thread."""

    def __init__(self, settings: ClipSettings, spool: Path, outbox: Outbox) -> None:
        self._settings = settings
        self._spool = spool
        self._outbox = outbox
        self.evicted = 0
        """Clips lost to space since the start."""
        self.local_copies_removed = 0
        """Clips that S3 has and whose local copy went."""
        self.out_of_reach = False
        """Others fill the disk so far that evicting every clip would not bring the free space back to its floor."""

    def make_room(self, new_bytes: int = 0, free_at_least: int = 0) -> bool:
        """Evict until quota and floor hold; False if they cannot.

        ``new_bytes``: a clip that is on disk already but has no row yet, for the quota. ``free_at_least``: bytes
        to free whatever the figures say, because the disk says that it is full.

        Raises:
            OSError: the disk's free space cannot be read.
        """
        over_quota = self._outbox.clip_bytes() + new_bytes - self._settings.quota_bytes
        under_floor = max(self._settings.free_floor_bytes - self.free_bytes(), free_at_least)
        freed = 0
        if over_quota > 0 or under_floor > 0:
            for clip in going(self._outbox.clip_files(), self._spool, over_quota, under_floor):
                self._evict(clip, "quota" if over_quota > freed else "free space")
                freed += clip.size_bytes
        if not free_at_least:
            self._note(out_of_reach=under_floor > freed)
        return over_quota <= freed and under_floor <= freed

    def free_bytes(self) -> int:
        """Bytes that this user may still write to the disk of the clips."""
        disk = os.statvfs(self._spool)
        return disk.f_bavail * disk.f_frsize

    def _note(self, out_of_reach: bool) -> None:
        if out_of_reach and not self.out_of_reach:
            log.error(
                "other programs fill the disk: clips.free_floor_bytes cannot be reached by evicting clips;"
                " those that lie nowhere else stay, and no new ones are written until there is room"
            )
        elif self.out_of_reach and not out_of_reach:
            log.warning("there is room for clips again")
        self.out_of_reach = out_of_reach

    def _evict(self, clip: ClipFile, reason: str) -> None:
        known = self._outbox.clip(clip.alert_id)
        if known is None:
            return
        elsewhere = has_copy_elsewhere(clip, self._spool)
        # The row first: a crash in between leaves a file that the next start removes, never a clip that
        # vanished without a word.
        if elsewhere:
            self.local_copies_removed += 1
            log.info("clip %s: local copy removed for %s, the storage has it", clip.alert_id, reason)
            told = known.clip.model_copy(update={"reason": f"local copy evicted: {reason}"})
            self._outbox.put_clip(told)
            self._outbox.forget_clip_file(clip.alert_id)
        else:
            self.evicted += 1
            log.warning("clip %s (%s, %d bytes) evicted: %s", clip.alert_id, clip.state, clip.size_bytes, reason)
            was = "unsent evidence" if clip.state == "kept" and clip.may_leave else f"was {clip.state}"
            self._outbox.put_clip(known.clip.model_copy(update={"state": "evicted", "reason": f"{reason}; {was}"}))
        try:
            remove_pair(Path(clip.path))
        except OSError as error:
            log.error("the file of evicted clip %s cannot be removed: %s", clip.alert_id, error)
