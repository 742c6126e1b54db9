"""The short-lived child that looks at the repository and loads what it offers.

    python -m edge.updates.fetching.fetch

TUF and its cryptography take some 40 MiB; in a child they are paid for only while it looks. It is told what to load
and where to by one JSON line on stdin, and answers with JSON lines (``offer.py`` says which). It can be killed at any
moment: whatever it has is gone on with by the next run, and nothing is believed that was not looked at as a whole.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from edge import durable, heap, state_lock
from edge.audio.system_time import SystemTime
from edge.settings import EdgeSettings, load
from edge.settings_file import SettingsError
from edge.updates.fetching.bringing import Bringing
from edge.updates.fetching.choosing import Choosing
from edge.updates.fetching.client import Repository
from edge.updates.fetching.fetcher import fetcher_for
from edge.updates.fetching.limits import Limits
from edge.updates.fetching.pace import Pace
from edge.updates.fetching.refusal import Refusal, concerns_one_kind, explain
from edge.updates.offer import KINDS, Failure, Line, Request

NICENESS = 10
LOOK_EVERY_S = 5.0
LONGEST_REQUEST_BYTES = 1 << 20
UNREADABLE = 2


def metadata_folder(settings: EdgeSettings) -> Path:
    """Where what was seen is kept, where the request does not say otherwise."""
    return settings.state_dir / "updates" / "metadata"


class Run:
    """One request."""

    def __init__(self, settings: EdgeSettings, request: Request, answers: TextIO, limits: Limits) -> None:
        self._settings = settings
        self._request = request
        self._answers = answers
        self._limits = limits
        self._failed = False

    def run(self, pace: Pace) -> int:
        """Do all of it; the exit code. A defect of the program comes out as itself."""
        try:
            self._run(pace)
        except BrokenPipeError:
            raise
        except Exception as error:
            self._fail(explain(error))
        return int(self._failed)

    def _run(self, pace: Pace) -> None:
        synchronised = self._request.clock_synchronised
        if not (SystemTime().synchronised() if synchronised is None else synchronised):
            raise Refusal(
                "clock_not_synchronised",
                "the clock was not set since boot; without the time no signature can be judged",
            )
        metadata = self._request.metadata or metadata_folder(self._settings)
        with ExitStack() as held:
            for folder in (metadata, self._request.into):
                durable.make_folder(folder)
                held.enter_context(_alone(folder))
            fetcher = held.enter_context(fetcher_for(self._settings, pace, self._limits))
            repository = Repository(self._settings, fetcher, metadata, self._limits)
            repository.refresh()
            choosing = Choosing(repository, self._settings, self._limits)
            failures: list[Failure] = []
            offer = choosing.offer(self._request.highest_floor, failures.append)
            repository.keep()
            self._say(Line(offer=offer))
            for failure in failures:
                self._fail(failure)
            bringing = Bringing(
                self._settings,
                self._request,
                repository,
                choosing,
                fetcher,
                lambda progress: self._say(Line(progress=progress)),
            )
            for kind in KINDS:
                release = offer.of(kind)
                if release is None or kind not in self._request.kinds:
                    continue
                if release.target in self._request.downloaded.get(kind, []):
                    continue
                try:
                    self._say(Line(fetched=bringing.bring(release)))
                except Exception as error:
                    if not concerns_one_kind(error):
                        raise
                    self._fail(explain(error, kind))

    def _fail(self, failure: Failure) -> None:
        self._failed = True
        self._say(Line(error=failure))

    def _say(self, line: Line) -> None:
        print(line.to_json(), file=self._answers, flush=True)


def _alone(folder: Path) -> TextIO:
    try:
        return state_lock.hold(folder)
    except state_lock.AlreadyRunningError as error:
        raise Refusal("busy", f"another fetch is at work in {folder}; it ends by itself") from error


def main(arguments: Sequence[str] | None = None, limits: Limits | None = None) -> int:
    """The process, from its arguments to its exit code."""
    parser = argparse.ArgumentParser(prog="python -m edge.updates.fetching.fetch", description=__doc__)
    parser.add_argument("--config", type=Path, help="configuration file (YAML)")
    named = parser.parse_args(arguments)
    heap.keep_small()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        settings = load(named.config)
        request = Request.model_validate_json(sys.stdin.readline(LONGEST_REQUEST_BYTES))
    except (SettingsError, ValidationError) as error:
        print(f"edge.updates.fetching.fetch: {error}", file=sys.stderr)
        return UNREADABLE
    pace = Pace(limits or Limits(), settings.updates.download_timeout_s)
    # A server that drips its headers, a name that is looked up for ever: seen from outside, every few seconds.
    signal.signal(signal.SIGALRM, lambda *_: pace.check_waiting())
    signal.setitimer(signal.ITIMER_REAL, LOOK_EVERY_S, LOOK_EVERY_S)
    try:
        return Run(settings, request, answers, limits or Limits()).run(pace)
    except BrokenPipeError:  # whoever asked is gone
        return 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    os.nice(NICENESS)
    sys.exit(main())
