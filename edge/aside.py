"""A task in a forked child, so that what it loads and allocates is gone when it is done.

    said = aside(lambda: SignedCopy(…).wanted()…, CopyError, deadline_s=600.0)

For processes that wait beside what they start: root's updater, the doctor that it asks. A child by fork shares the
pages of its parent, so that TUF, or an interpreter of models, costs only what it adds, and only as long as it lasts.
A crash costs the child. No thread may run in the parent.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable

log = logging.getLogger(__name__)

_GOOD, _FAILED, _FAULT = 0, 1, 2


def aside(task: Callable[[], str], failure: type[Exception], deadline_s: float) -> str:
    """What ``task`` returned in the child.

    Raises:
        failure: it raised that, or an OSError; or it did not end in time, or was killed. With the text for people.
        RuntimeError: it raised something else; the traceback is in the log.
    """
    told, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = _FAULT
        try:
            os.close(told)
            # Its default: the child is killed.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, deadline_s)
            text, code = _outcome(task, failure)
            with os.fdopen(tell, "w", encoding="utf-8", errors="replace") as pipe:
                pipe.write(text)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(tell)
    with os.fdopen(told, encoding="utf-8") as pipe:
        text = pipe.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended == _GOOD:
        return text
    if ended == _FAILED:
        raise failure(text)
    if ended == -signal.SIGALRM:
        raise failure("not done in time")
    if ended < 0:
        raise failure(f"killed by signal {-ended}")
    raise RuntimeError(text)


def _outcome(task: Callable[[], str], failure: type[Exception]) -> tuple[str, int]:
    try:
        return task(), _GOOD
    except (failure, OSError) as error:
        return str(error), _FAILED
    except Exception as error:
        log.exception("in a child")
        return repr(error), _FAULT
