"""Programs in the daemon: what a look has brought is asked of root's updater, and what comes of it is told.

The daemon may not write where programs are. It makes an empty file; root looks for itself what maintainers have signed
(`edge.updates.program.updater`).
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge import __version__
from edge.durable import commit_bytes, make_folder
from edge.settings import EdgeSettings
from edge.updates.offer import Fetched, Kind, Release
from edge.updates.program.records import Records, Status
from edge.updates.release import TargetPath

log = logging.getLogger(__name__)

REQUEST = Path("updates/program-request")
"""Below the state folder: the daemon makes this file, and root takes it away."""
LONGEST = timedelta(days=2)
"""An installation, or a probation beside its own length (`watch.PATIENCE_S`), and a day for the clock."""


class ProgramKind:
    """See the module. Used by the thread of updates."""

    kind: Kind = "program"

    def __init__(self, settings: EdgeSettings, root: Path = Path("/"), version: str = __version__) -> None:
        self._settings = settings
        self._records = Records(root)
        self._version = version
        self._status: Status = self._records.status()
        self.offered_version = ""
        """What the repository wants this device to run, where that is another version."""

    @property
    def installed_by_root(self) -> bool:
        """Whether there is an updater of root's on this machine at all: a development checkout has none."""
        return self._records.folder.is_dir()

    @property
    def status(self) -> Status:
        return self._status

    @property
    def problems(self) -> list[str]:
        """Codes for ``health``."""
        return ["program:failed"] if self._status.state == "failed" else []

    @property
    def busy(self) -> bool:
        """A program is being installed, or watched: no other update is begun meanwhile. Not for ever, if root's
        updater says no more."""
        longest = timedelta(seconds=self._settings.updates.probation_s) + LONGEST
        return self._status.state in ("installing", "probation") and datetime.now(UTC) - self._status.at < longest

    def here(self) -> Sequence[TargetPath]:
        """What need not be downloaded: everything, where nobody could install it."""
        return []

    def offered(self, release: Release | None, fetched: Fetched | None) -> None:
        """Ask root to look, where what was brought is another version than the one that runs."""
        wanted = release is not None and release.version != self._version
        self.offered_version = release.version if release is not None and wanted else ""
        if not wanted or fetched is None or not self._settings.updates.programs or not self.installed_by_root:
            return
        request = self._settings.state_dir / REQUEST
        if not request.exists():
            make_folder(request.parent)
            commit_bytes(request, b"")
            log.info("program %s is here; root's updater is asked to look", fetched.target)

    def turn(self) -> None:
        """What root tells of it."""
        self._status = self._records.status()
