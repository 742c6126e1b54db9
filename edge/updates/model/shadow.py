"""The daemon's end of a trial: starts the child, hands it what is heard, and never waits for it.

    shadow = Shadow(candidate, sha256, current, settings.detection, sample_rate_hz)
    shadow.poll(1.0) …                    # until shadow.checked or shadow.refused
    detector.shadow = shadow.offer        # from here on each window goes to the child
    new, current = shadow.finish()

Packets go over a local socket that keeps their borders (``SOCK_SEQPACKET``): a window is sent whole or not at all.
Where the child does not keep up it is dropped, and counted.
"""

import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from edge.audio.frontend import Window
from edge.detection.model import Scores
from edge.settings import DetectionSettings
from edge.updates.model.judgement import Figures
from edge.updates.model.trial import pack

log = logging.getLogger(__name__)

CHECK_S = 60.0
"""For the checks before it listens: the deadline of ``verify``, and the comparison."""
HUNG_S = 20.0
"""Without a word of the child, which speaks every two seconds."""
FINISH_S = 10.0
LONGEST_LINE = 65_536


class Refused(Exception):  # noqa: N818 -- a verdict, not a fault
    """The new model must not run. The text says why."""


class Shadow:
    """One trial. Used by one thread, except ``offer``."""

    def __init__(
        self,
        candidate: Path,
        sha256: str | None,
        current: Path | None,
        settings: DetectionSettings,
        sample_rate_hz: int,
    ) -> None:
        """Without ``sha256`` and ``current`` nothing is checked: what runs already, or ran, only listens along.

        Raises OSError: the child cannot be started.
        """
        orders = {
            "candidate": str(candidate),
            "sha256": sha256,
            "current": None if current is None else str(current),
            "detection": settings.model_dump(mode="json"),
            "sample_rate_hz": sample_rate_hz,
        }
        self.sent = 0
        self.dropped = 0
        """Windows that the child had no room for."""
        self.checked: dict[str, Any] | None = None
        self.beside: Figures | None = None
        """Of a model that only listens along, so far."""
        self._figures: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edge.updates.model.trial", json.dumps(orders)],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        self._text = b""
        self._began_s = self._spoke_s = time.monotonic()

    @property
    def pid(self) -> int:
        return self._child.pid

    def offer(self, window: Window, scores: Scores) -> None:
        """Called by the listening thread for each window. Never waits, never raises."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._ours.send(pack(window.start, scores.labels, window.patch))
            self.sent += 1
        except OSError:  # no room, or nobody there: ``poll`` finds out which
            self.dropped += 1
        finally:
            self._lock.release()

    def poll(self, timeout_s: float) -> None:
        """Read what the child says, for up to ``timeout_s``.

        Raises:
            Refused: by the child, or because it died, hangs or says what makes no sense.
        """
        stdout = self._child.stdout
        assert stdout is not None
        if select.select([stdout], [], [], timeout_s)[0]:
            got = os.read(stdout.fileno(), LONGEST_LINE)
            if not got:
                raise Refused(self._how_it_died())
            self._spoke_s = time.monotonic()
            *lines, self._text = (self._text + got).split(b"\n")
            if len(self._text) > LONGEST_LINE:
                raise Refused("the trial said what makes no sense")
            for line in lines:
                self._take(line)
        now_s = time.monotonic()
        if self.checked is None and now_s - self._began_s > CHECK_S:
            raise Refused(f"did not pass its checks within {CHECK_S:g} s")
        if self.checked is not None and now_s - self._spoke_s > HUNG_S:
            raise Refused(f"hung: not a word for {HUNG_S:g} s")

    def finish(self) -> tuple[Figures, Figures]:
        """End the packets; the figures of the new and of the current model. Raises Refused."""
        with self._lock:
            self._ours.shutdown(socket.SHUT_WR)
        until_s = time.monotonic() + FINISH_S
        while self._figures is None:
            if time.monotonic() > until_s:
                raise Refused(f"hung: no figures within {FINISH_S:g} s")
            self.poll(0.5)
        try:
            new, current = (Figures.model_validate(self._figures[name]) for name in ("new", "current"))
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("the trial said what makes no sense") from error
        return new, current

    def close(self) -> None:
        """End the child, however it is."""
        self._child.kill()
        with self._lock:
            self._ours.close()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            if "refused" in said:
                raise Refused(str(said["refused"])[:500])
            if "checked" in said:
                self.checked = dict(said["checked"])
            elif "beside" in said:
                self.beside = Figures.model_validate(said["beside"])
            elif "figures" in said:
                self._figures = dict(said["figures"])
        except (ValueError, TypeError) as error:
            raise Refused("the trial said what makes no sense") from error

    def _how_it_died(self) -> str:
        try:
            code = self._child.wait(FINISH_S)
        except subprocess.TimeoutExpired:
            return "hung at its end"
        return f"crashed its trial (signal {-code})" if code < 0 else f"broke off its trial (exit code {code})"
