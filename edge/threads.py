"""The end of a thread."""

import threading


def joined(thread: threading.Thread, timeout_s: float) -> bool:
    """Wait for a thread that was told to stop. True: it has ended, or was never started."""
    if thread.is_alive():
        thread.join(timeout_s)
    return not thread.is_alive()
