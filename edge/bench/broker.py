"""A Mosquitto of our own, for the bench and the demo."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class BrokerError(RuntimeError):
    """The private broker does not start."""


@contextmanager
def private_broker(folder: Path) -> Iterator[int | None]:
    """A Mosquitto of our own on a free loopback port; None where it is not installed. Its log lies in ``folder``.

    Raises:
        BrokerError: it does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest stdout\n")
    log = folder / "mosquitto.log"
    with log.open("w") as said:
        broker = subprocess.Popen([program, "-c", str(config)], stdout=said, stderr=said)
    try:
        if not _answers(port, broker):
            raise BrokerError(f"mosquitto did not start; its log is {log}")
        yield port
    finally:
        broker.terminate()
        broker.wait(timeout=5)


def _answers(port: int, broker: "subprocess.Popen[bytes]", timeout_s: float = 5.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s and broker.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return True
        time.sleep(0.02)
    return False
