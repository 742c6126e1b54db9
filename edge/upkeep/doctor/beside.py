"""What a new program can show beside the one that runs, which holds the microphone and the broker's session.

Root's updater asks for it on a board whose memory the running detector needs: each check, and each library, has a child
of its own (`edge.aside`), one after the other, so that the most that is loaded at one time is what one of them needs.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edge.aside import aside
from edge.upkeep.doctor.configuration import CONFIGURATION, check_configuration
from edge.upkeep.doctor.examination import Check, Outcome, Result, bad, examine, good

if TYPE_CHECKING:
    from edge.detection.model import Model
    from edge.settings import EdgeSettings

DEADLINE_S = 250.0
"""Of one check; shorter than the updater waits for all of them."""
PARTS = ("edge.service", "edge.updates.fetching.fetch", "edge.updates.program.updater", "edge.delivery.uploader")
LIBRARIES = ("installer", "packaging.requirements", "sounddevice", "soundfile", "soxr", "tuf.ngclient", "cryptography")


class NotWellError(RuntimeError):
    """A check did not come to an end."""


def diagnose_beside(config: Path | None) -> list[Result]:
    """All of these checks, in their order."""
    first = (CONFIGURATION,)
    return examine(
        [
            Check(CONFIGURATION, lambda: _in_child(lambda: check_configuration(config)[0])),
            Check("libraries", check_libraries, needs=first),
            Check("model", lambda: _in_child(lambda: _check_model(config)), needs=(*first, "libraries")),
            Check("disk", lambda: _in_child(lambda: _check_disk(config)), needs=first),
        ]
    )


def check_libraries(names: tuple[str, ...] = (*PARTS, *LIBRARIES)) -> Outcome:
    """Everything that the daemon and its helpers load, loaded once; the updater too, or there is no next update."""
    for name in names:
        try:
            aside(lambda name=name: _load(name), NotWellError, DEADLINE_S)  # type: ignore[misc]
        except NotWellError as error:
            return bad(f"{name} cannot be loaded: {error}", "run script/install-device again")
    return good(f"{len(names)} parts of the program and their libraries load")


def _load(name: str) -> str:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise NotWellError(str(error)) from error
    return ""


def _in_child(check: Callable[[], Outcome]) -> Outcome:
    try:
        return Outcome(*json.loads(aside(lambda: json.dumps(astuple(check())), NotWellError, DEADLINE_S)))
    except NotWellError as error:
        return bad(str(error), "run script/install-device again")


def _settings(config: Path | None) -> "EdgeSettings":
    from edge.settings import load

    return load(config)


def _check_disk(config: Path | None) -> Outcome:
    from edge.upkeep.doctor.device import check_disk

    return check_disk(_settings(config))


def _check_model(config: Path | None) -> Outcome:
    from edge.upkeep.doctor.device import check_model

    # Before numpy is loaded: with a heap for each core there would be more of them than memory.
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    try:
        return check_model(_settings(config), verified=_verified_here)
    except MemoryError:
        return bad("the model needs more memory than a model may", "install another model")


def _verified_here(path: Path) -> "Model":
    """As `edge.detection.verify.verify` does it in its child, in this one, with the same limits."""
    from edge.detection.model_file import read_bytes
    from edge.detection.verify import DEADLINE_S as VERIFY_S
    from edge.detection.verify import check, limit_this_process

    limit_this_process()
    signal.setitimer(signal.ITIMER_REAL, VERIFY_S)
    return check(read_bytes(path), str(path))


def in_my_place(config: Path | None) -> NoReturn:
    """Go on as a process that has nothing loaded: reading a command line has taken 10 MiB."""
    module = [sys.executable, "-P", "-m", "edge.upkeep.doctor.beside"]
    os.execv(sys.executable, [*module, *([str(config)] if config else [])])  # noqa: S606


def main(arguments: Sequence[str]) -> int:
    from edge.upkeep.doctor import run_doctor

    return run_doctor(Path(arguments[0]) if arguments else None, beside=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
