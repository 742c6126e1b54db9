"""Children that can be interrupted, wherever the tests run."""

import signal


def may_be_interrupted() -> None:
    """For ``preexec_fn``: what a shell starts in the background ignores Ctrl-C, and so would all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
