"""The sender killed at random moments, and its broker too: with receipts no alert is lost, and none counts twice."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.delivery.outbox import Outbox
from tests.integration.receiver import Receiver, wait_until
from tests.integration.sender import sending, settings
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server

SENDER = """
import itertools, sys, time
from pathlib import Path
from edge.delivery.mqtt import Mqtt
from edge.delivery.outbox import Outbox
from tests.edge.delivery.examples import alert, clip, moment
from tests.integration.sender import refuse, settings
outbox = Outbox.open(Path(sys.argv[1]))
outbox.interrupt_orphans(moment(), "killed")
mqtt = Mqtt(settings(int(sys.argv[2]), confirm="receipt", receipt_timeout_s=1.0), outbox, refuse)
mqtt.start()
for number in itertools.count():
    name = f"{sys.argv[3]}-{number}"
    for put, message in ((outbox.put_alert, alert(name)), (outbox.put_clip, clip(name)),
                         (outbox.put_alert, alert(name, phase="end"))):
        print(name, put(message).seq, flush=True)
        mqtt.wake()
        time.sleep(0.003)
"""


def survive(kills: int, broker: Mosquitto, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    promised: set[tuple[str, int]] = set()
    outbox_path = tmp_path / "outbox.sqlite3"
    receiver = Receiver(broker.port, tmp_path / "hub", receipts=True).start()
    try:
        for run in range(kills):
            sender = subprocess.Popen(
                [sys.executable, "-c", SENDER, outbox_path, str(broker.port), f"run{run}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert sender.stdout is not None
            first = sender.stdout.readline()  # it is up
            moment_s = chance.uniform(0, 0.5)
            if chance.random() < 0.4:
                time.sleep(moment_s / 2)
                broker.kill()
                broker.start()
                moment_s /= 2
            time.sleep(moment_s)
            sender.kill()
            rest, _ = sender.communicate()
            for line in [first, *rest.splitlines()]:
                name, _, seq = line.strip().partition(" ")
                if seq.isdigit():
                    promised.add((name, int(seq)))
        outbox = Outbox.open(outbox_path)
        with sending(outbox, settings(broker.port, confirm="receipt", receipt_timeout_s=1.0)):
            wait_until(lambda: outbox.depth == 0, "every message has its receipt", timeout_s=60)
        outbox.close()
    finally:
        receiver.stop()
    received = receiver.committed("alert") | receiver.committed("clip")
    assert len(promised) > kills
    assert promised - received == set()
    assert receiver.conflicts == [], "a repeat is the same message again"


def test_six_kills_lose_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    survive(6, mosquitto, tmp_path, seed=6)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_hundred_kills_lose_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    survive(100, mosquitto, tmp_path, seed=100)
