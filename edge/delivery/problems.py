"""What is wrong now, as short codes for ``health``; logged when it changes, not every time it is seen."""

import logging
import threading


class Problems:
    """One code per matter (``connection``, ``alert``, …). Thread-safe."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._codes: dict[str, str] = {}

    @property
    def codes(self) -> list[str]:
        with self._lock:
            return sorted(set(self._codes.values()))

    def report(self, matter: str, code: str, text: str) -> bool:
        """``matter`` is in trouble; ``text`` is logged once, until the code changes or it is mended. True: new."""
        with self._lock:
            known, self._codes[matter] = self._codes.get(matter), code
        if known != code:
            self._log.warning("%s (%s)", text, code)
        return known != code

    def mended(self, matter: str, text: str) -> None:
        """``matter`` is well; logged if it was not."""
        with self._lock:
            known = self._codes.pop(matter, None)
        if known is not None:
            self._log.info("%s (was %s)", text, known)
