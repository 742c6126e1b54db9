"""Asks the repository, through the short-lived fetch process: the daemon itself never loads what that needs.

    answer = ask(request, settings, on_progress, go_on)
    answer.offer, answer.fetched, answer.errors

The child is ``python -m edge.updates.fetching.fetch``; what it says is checked line by line (``edge.updates.offer``).
"""

import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml
from pydantic import ValidationError

from edge.settings import EdgeSettings
from edge.updates.offer import Failure, Fetched, Line, Offer, Progress, Request

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "edge.updates.fetching.fetch")
LOOK_S = 0.5
LONGEST_LINE = 1 << 20
LAST_WORDS = 2000


@dataclass
class Answer:
    """What came of one look."""

    offer: Offer | None = None
    fetched: list[Fetched] = field(default_factory=list)
    errors: list[Failure] = field(default_factory=list)


def ask(
    request: Request,
    settings: EdgeSettings,
    on_progress: Callable[[Progress], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
    command: tuple[str, ...] = COMMAND,
) -> Answer:
    """Run the fetch process once, for ``updates.download_timeout_s`` at most; ``go_on`` false ends it.

    Never raises on what the child does: an answer always comes, with an error where there was one.
    """
    answer = Answer()
    until_s = time.monotonic() + settings.updates.download_timeout_s
    try:
        with os.fdopen(os.memfd_create("edge.yaml"), "wb") as config:
            # The settings as they hold now, environment and all. In memory: an address may hold a password.
            config.write(yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True)).encode())
            config.flush()
            child = subprocess.Popen(
                [*command, "--config", f"/proc/self/fd/{config.fileno()}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(config.fileno(),),
                env={name: value for name, value in os.environ.items() if not name.startswith("ECOSIGHT_")},
            )
    except OSError as error:
        answer.errors.append(Failure(code="disk", text=f"the fetch process cannot be started: {error}", retry=True))
        return answer
    try:
        _converse(child, request, answer, on_progress, go_on, until_s)
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()
    return answer


def _converse(
    child: "subprocess.Popen[bytes]",
    request: Request,
    answer: Answer,
    on_progress: Callable[[Progress], None],
    go_on: Callable[[], bool],
    until_s: float,
) -> None:
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    try:
        child.stdin.write(request.model_dump_json(exclude_none=True).encode() + b"\n")
        child.stdin.close()
    except BrokenPipeError:
        pass  # it died: the end of its output tells
    child.stdin = None
    text, words = b"", b""
    streams = [child.stdout, child.stderr]
    while streams:
        if not go_on():
            return
        if time.monotonic() > until_s:
            answer.errors.append(Failure(code="slow", text="the fetch process did not end in time", retry=True))
            return
        for stream in select.select(streams, [], [], LOOK_S)[0]:
            got = os.read(stream.fileno(), 65_536)
            if not got:
                streams.remove(stream)
            elif stream is child.stderr:
                words = (words + got)[-LAST_WORDS:]
            else:
                *lines, text = (text + got).split(b"\n")
                if len(text) > LONGEST_LINE or not all(_take(line, answer, on_progress) for line in lines):
                    answer.errors.append(_broken("said what makes no sense", words))
                    return
    try:
        code = child.wait(5.0)
    except subprocess.TimeoutExpired:
        code = -9
    if code != 0 and not answer.errors:
        answer.errors.append(_broken(f"died ({'signal' if code < 0 else 'exit code'} {abs(code)})", words))


def _take(line: bytes, answer: Answer, on_progress: Callable[[Progress], None]) -> bool:
    try:
        said = Line.model_validate_json(line)
    except ValidationError:
        return False
    if said.offer is not None:
        answer.offer = said.offer
    elif said.fetched is not None:
        answer.fetched.append(said.fetched)
    elif said.error is not None:
        answer.errors.append(said.error)
    elif said.progress is not None:
        on_progress(said.progress)
    return True


def _broken(what: str, words: bytes) -> Failure:
    last = words.decode(errors="replace").strip().splitlines()[-1:] or [""]
    return Failure(code="disk", text=f"the fetch process {what}: {last[0]}"[:500], retry=True)
